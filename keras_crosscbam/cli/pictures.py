"""Commands that show what a network sees: segment, explain."""

import sys
import time
from contextlib import closing
from pathlib import Path

from keras_crosscbam.cli.arguments import (
    add_batch,
    add_model,
    add_normalization,
    image_size,
    load_model,
    load_runtime,
    working_size,
)


def add_commands(command):
    sub = command(_segment, "segment", "Segment images, videos, cameras or streams.")
    sub.add_argument(
        "path",
        help="an image, a video, a folder of them, the address of a stream (rtsp://, http://), or "
        "the number of a webcam",
    )
    sub.add_argument("--out", type=Path, default=Path("segmented"), help="folder for the results")
    sub.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that are black and white in images of more than 8 bits (default: 0 65535)",
    )
    sub.set_defaults(next="What was done is in the folder of the results.")
    add_model(sub)
    add_normalization(sub)
    add_batch(sub)
    sub.add_argument(
        "--classes", type=_names, metavar="NAME,...", help="draw these classes only (road,car)"
    )
    sub.add_argument(
        "--threshold", type=float, help="leave pixels unlabeled (255) below this probability"
    )
    sub.add_argument(
        "--confidence",
        action="store_true",
        help="write maps of each image's largest probabilities and entropies too",
    )
    sub.add_argument(
        "--tile",
        type=image_size,
        metavar="HEIGHTxWIDTH",
        help="see large images through tiles of this size, at their own size unless --size says so",
    )
    sub.add_argument(
        "--overlap", type=int, default=64, help="pixels that tiles have in common (default: 64)"
    )
    video = sub.add_argument_group("videos")
    video.add_argument("--every", type=int, default=1, help="take every N-th frame (default: 1)")
    video.add_argument("--start", type=float, default=0.0, help="seconds to leave out first")
    video.add_argument("--duration", type=float, help="seconds to segment (default: all)")
    video.add_argument(
        "--smoothing",
        type=float,
        default=0.0,
        help="weight of earlier frames in the scores, 0 to below 1 (default: 0)",
    )
    video.add_argument("--labels", action="store_true", help="write the labels of each frame too")
    video.add_argument("--no-overlay", action="store_true", help="write no video of the overlay")
    video.add_argument("--show", action="store_true", help="show the overlay in a window")

    sub = command(_explain, "explain", "Show what a network looks at in an image.")
    sub.add_argument("path", type=Path, help="an image, or a folder of images")
    sub.add_argument("--out", type=Path, default=Path("explained"), help="folder for the sheets")
    sub.add_argument("--class", dest="target", metavar="NAME", help="class for Grad-CAM")
    sub.add_argument("--layer", help="layer for Grad-CAM (default: se_aspp)")
    add_model(sub)


def _names(text):
    return [name.strip() for name in text.split(",")]


def _segment(args):
    from keras_crosscbam.tiling import Tiled

    run, made_for = load_runtime(args)
    if args.tile is None:
        size = working_size(args, made_for)
    else:
        if isinstance(args.tile, int):
            raise ValueError("tiles have two sides: pass --tile HEIGHTxWIDTH")
        run, size = Tiled(run, args.tile, args.overlap, args.batch or 1), args.size
    images, videos = _sorted_out(args.path)
    failed = [_segment_images(run, images, args, size)] if images else []
    failed += [_segment_video(run, video, args, size) for video in videos]
    return 1 if any(failed) else 0


def _sorted_out(source):
    """The images and the videos that a path, an address or a number stands for."""
    from keras_crosscbam.image_files import image_files, visible_files
    from keras_crosscbam.video import is_video

    if is_video(source):
        return [], [source]
    if not Path(source).is_dir():
        return image_files(source), []
    videos = [path for path in visible_files(Path(source)) if is_video(path) and path.is_file()]
    try:
        return image_files(source), videos
    except ValueError:
        if not videos:
            raise
        return [], videos


def _segment_images(run, images, args, size):
    """Segments images and prints what came out; returns whether any of them failed."""
    from keras_crosscbam.segmentation import segment_files

    started = time.perf_counter()
    results = segment_files(
        run,
        images,
        args.out,
        size,
        value_range=args.range,
        batch=None if args.tile else args.batch,
        threshold=args.threshold,
        confidence=args.confidence,
        shown=args.classes,
    )
    seconds = time.perf_counter() - started
    failed = [result for result in results if result.error]
    for result in results:
        if not result.error:
            print(f"\n{result.path} -> {result.overlay}")
            for name, share in result.shares.items():
                print(f"  {name:<12} {100 * share:5.1f} %")
    done = len(results) - len(failed)
    print(f"\n{done} of {len(results)} images in {seconds:.1f} s, file to picture")
    for result in failed:
        print(f"crosscbam segment: {result.error}", file=sys.stderr)
    return bool(failed)


def _segment_video(run, source, args, size):
    """Segments a video and prints what came out; returns whether its source was lost."""
    from keras_crosscbam.video import SourceLostError, segment_video
    from keras_crosscbam.video.sources import result_name

    name, lost = result_name(source), None
    overlay = None if args.no_overlay else args.out / f"{name}_overlay.mp4"
    shares = args.out / f"{name}_shares.csv"
    frames = segment_video(
        run,
        source,
        overlay,
        labels=args.out / f"{name}_labels" if args.labels else None,
        shares=shares,
        size=size,
        every=args.every,
        start=args.start,
        duration=args.duration,
        smoothing=args.smoothing,
        threshold=args.threshold,
        shown=args.classes,
        batch=None if args.tile else args.batch,
        progress=True,
        show=args.show,
    )
    started, count = time.perf_counter(), 0
    try:
        with closing(frames):
            for _ in frames:
                count += 1
    except SourceLostError as error:
        lost = error
    seconds = time.perf_counter() - started
    for path in filter(None, (overlay, shares)):
        print(f"{source} -> {path}")
    print(f"{count} frames in {seconds:.1f} s, {count / max(seconds, 1e-9):.2f} frames/s")
    if lost:
        print(f"crosscbam segment: {lost}", file=sys.stderr)
    return bool(lost)


def _explain(args):
    import keras

    from keras_crosscbam.explanation import explain
    from keras_crosscbam.image_files import image_files
    from keras_crosscbam.images import failure, save_image
    from keras_crosscbam.segmentation import result_names

    model, made_for = load_model(args)
    if isinstance(model, Path):
        if model.suffix != ".keras":
            raise ValueError(f"an explanation needs a .keras file or weights; got {model}")
        model = keras.saving.load_model(model, compile=False)
    size, failures = working_size(args, made_for), []
    args.out.mkdir(parents=True, exist_ok=True)
    files = image_files(args.path)
    for file, name in result_names(files).items():
        try:
            explanation = explain(model, file, args.target, size, args.layer)
            target = args.out / f"{name}_explained.png"
            save_image(explanation.sheet(), target)
            print(f"{file} -> {target}, Grad-CAM for {explanation.target}")
        except Exception as error:  # one file must not cost the others, whatever is wrong with it
            failures.append(failure(file, error))
    for text in failures:
        print(f"crosscbam explain: {text}", file=sys.stderr)
    return 1 if failures else 0
