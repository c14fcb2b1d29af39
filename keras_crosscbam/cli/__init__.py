"""The `crosscbam` command: reads arguments, calls the package, prints.

$ crosscbam segment street.jpg --out pictures
$ crosscbam evaluate --data CamVid
"""

import argparse
import os
import sys
import time
from pathlib import Path


def main(argv=None):
    """Runs the command; returns the exit status: 0, 1 for partial failure, 2 for an error."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"crosscbam {args.command}: {error}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="crosscbam", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, name, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command(_segment, "segment", "Segment an image or a folder of images.")
    sub.add_argument("path", type=Path, help="an image, or a folder of images")
    sub.add_argument("--out", type=Path, default=Path("segmented"), help="folder for the pictures")
    _add_model(sub)

    sub = command(_evaluate, "evaluate", "Measure mean IoU and pixel accuracy on a data set.")
    _add_data(sub, split="val")
    _add_model(sub)

    sub = command(_train, "train", "Train by a recipe; the same call resumes an interrupted run.")
    _add_data(sub)
    _add_recipe(sub, "camvid-m")

    sub = command(_pretrain, "pretrain", "Train an encoder as a classifier, for a later training.")
    sub.add_argument("--data", type=Path, required=True, help="folder with train/ and val/CLASS/")
    _add_recipe(sub, "imagenet20-stdc1")

    sub = command(_doctor, "doctor", "Look a data set through before training on it.")
    sub.add_argument("data", type=Path, help="folder of the data set")

    sub = command(_predict, "predict", "Write the labels of a split's images, for a test server.")
    _add_data(sub, split="test")
    sub.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    sub.add_argument("--label-ids", action="store_true", help="write Cityscapes' label ids")
    _add_model(sub)

    sub = command(_export, "export", "Write an ONNX file and compare it with the model.")
    sub.add_argument("--out", type=Path, required=True, help="the .onnx file")
    sub.add_argument("--layout", choices=("nchw", "nhwc"), default="nchw")
    sub.add_argument("--batch", type=int, default=1)
    sub.add_argument("--frames", type=Path, help="image or folder to compare on")
    _add_model(sub)

    sub = command(_flops, "flops", "Print parameters and multiply-accumulates per layer.")
    sub.add_argument("--variant", default="M1", help="M1, L1, M2, L2, M or L (default: M1)")
    sub.add_argument("--size", type=_size, help="HEIGHTxWIDTH; default: the variant's")

    sub = command(_pipeline, "benchmark-pipeline", "Measure how fast training batches are made.")
    _add_data(sub, split="train")
    sub.add_argument("--crop", type=_size, default=(360, 480), help="HEIGHTxWIDTH of the crops")
    sub.add_argument("--batch", type=int, default=8)
    sub.add_argument("--seconds", type=float, default=5.0, help="length of each of five rounds")

    command(_list, "list", "List the models and the shipped weights.")
    return parser


def _add_recipe(sub, default):
    sub.add_argument("--recipe", default=default, help=f"name of a recipe (default: {default})")
    sub.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    sub.add_argument("--weights", help="start from these weights")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="another value for a field of the recipe, for instance --set seed=1",
    )


def _add_data(sub, split=None):
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of the data set: CamVid, Cityscapes, or your own with a dataset.yaml",
    )
    if split is not None:
        sub.add_argument("--split", default=split, help=f"split of the data (default: {split})")


def _add_model(sub):
    sub.add_argument("--variant", default="M", help="M1, L1, M2, L2, M or L (default: M)")
    sub.add_argument("--weights", default="camvid", help="name, path or URL (default: camvid)")
    sub.add_argument("--model", type=Path, help="a .keras or .onnx file instead")
    sub.add_argument(
        "--size",
        type=_size,
        help="HEIGHTxWIDTH that images are resized to, or their shorter side; "
        "default: what the weights were trained at",
    )


def _size(text):
    sides = text.lower().split("x")
    if not all(side.isdigit() and int(side) for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH or one number, not {text!r}")
    return int(text) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _load_model(args):
    """The model that the arguments name, and the (height, width) that its weights are made for."""
    if args.model is not None:
        return args.model, None
    import keras_crosscbam as kc

    variant = _variant(args)
    build = getattr(kc, f"CrossCBAM_{variant.name}")
    model = build(weights=args.weights, input_shape=(None, None, 3))
    for entry in kc.list_weights().get(args.weights, []):
        if entry["architecture"] == f"cross_cbam_{variant.backbone}":
            return model, tuple(entry["input_size"])
    return model, None


def _variant(args):
    from keras_crosscbam.variants import VARIANTS

    if args.variant not in VARIANTS:
        raise ValueError(f"--variant must be one of {', '.join(VARIANTS)}; got {args.variant!r}")
    return VARIANTS[args.variant]


def _working_size(args, trained_at):
    """What images are resized to: as asked for, else to the weights' shorter side."""
    return args.size or (trained_at and min(trained_at))


def _segment(args):
    from keras_crosscbam.segment import segment_files

    model, trained_at = _load_model(args)
    started = time.perf_counter()
    results = segment_files(model, args.path, args.out, _working_size(args, trained_at))
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
    return 1 if failed else 0


def _evaluate(args):
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.evaluate import evaluate, report

    data = load_dataset(args.data, args.split)
    model, trained_at = _load_model(args)
    print(report(evaluate(model, data, _working_size(args, trained_at), progress=True)))


def _train(args):
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.training import RECIPES
    from keras_crosscbam.training.fit import train

    recipe, out = _recipe(args, RECIPES)
    splits = [load_dataset(args.data, split) for split in ("train", "val")]
    best = _rejoining(lambda: train(*splits, recipe, out))
    print(f"Best weights: {best}")


def _pretrain(args):
    from keras_crosscbam.datasets.classification import load_image_folders
    from keras_crosscbam.training import PRETRAINING_RECIPES
    from keras_crosscbam.training.pretrain import pretrain

    recipe, out = _recipe(args, PRETRAINING_RECIPES)
    splits = [load_image_folders(args.data, split) for split in ("train", "val")]
    best = _rejoining(lambda: pretrain(*splits, recipe, out))
    print(f"Best weights, for backbone_weights=: {best}")


def _rejoining(training):
    """Runs a training; when another worker dies, this one starts anew and waits for its return."""
    from keras_crosscbam.training.workers import WorkerLostError

    try:
        return training()
    except WorkerLostError as error:
        print(f"crosscbam: {error} Waiting for it.", file=sys.stderr, flush=True)
        # TensorFlow cannot leave a broken cluster and enter it again within one process.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _recipe(args, recipes):
    """The effective recipe and the folder of its run."""
    from keras_crosscbam.training import with_settings

    if args.recipe not in recipes:
        raise ValueError(f"--recipe must be one of {', '.join(recipes)}; got {args.recipe!r}")
    settings = args.set + ([f"weights={args.weights}"] if args.weights else [])
    recipe = with_settings(recipes[args.recipe], settings)
    return recipe, args.out or Path("runs") / recipe.name


def _doctor(args):
    from keras_crosscbam.doctor import examine, report

    findings = examine(args.data)
    print(report(findings))
    return 0 if findings.ok else 1


def _predict(args):
    from keras_crosscbam.datasets import split_images
    from keras_crosscbam.datasets.cityscapes import LABEL_IDS
    from keras_crosscbam.predictions import write_predictions

    images = split_images(args.data, args.split)
    model, trained_at = _load_model(args)
    size, ids = _working_size(args, trained_at), LABEL_IDS if args.label_ids else None
    written = write_predictions(model, images, args.out, ids, size, progress=True)
    print(f"{len(written)} files in {args.out}")


def _export(args):
    import keras

    from keras_crosscbam.export import to_onnx
    from keras_crosscbam.segment import image_files

    if args.model is not None and args.model.suffix != ".keras":
        raise ValueError(f"--model must be a .keras file to export; got {args.model}")
    model, size = _load_model(args)
    if isinstance(model, Path):
        model = keras.saving.load_model(model, compile=False)
    size = args.size or size
    if isinstance(size, int):
        raise ValueError("an ONNX file has one fixed size: pass --size HEIGHTxWIDTH")
    frames = image_files(args.frames) if args.frames else None
    parity = to_onnx(model, args.out, size, batch=args.batch, layout=args.layout, frames=frames)
    print(f"{args.out}: {parity}")


def _flops(args):
    import keras_crosscbam as kc

    variant = _variant(args)
    if isinstance(args.size, int):
        raise ValueError("multiply-accumulates need the whole size: pass --size HEIGHTxWIDTH")
    model = kc.CrossCBAM(
        variant.backbone,
        input_shape=(None, None, 3),
        num_classes=variant.num_classes,
    )
    print(kc.flops.table(model, args.size or variant.input_size))


def _pipeline(args):
    from keras_crosscbam.benchmark import pipeline_throughput
    from keras_crosscbam.datasets import load_dataset

    rounds = pipeline_throughput(
        load_dataset(args.data, args.split), args.crop, args.batch, args.seconds
    )
    print(
        f"training batches {args.batch}x{args.crop[0]}x{args.crop[1]}: images/s "
        f"{min(rounds):.0f} min, {sorted(rounds)[len(rounds) // 2]:.0f} median, "
        f"{max(rounds):.0f} max of {len(rounds)} rounds, {os.cpu_count()} cores"
    )


def _list(args):
    import keras_crosscbam as kc

    print("Models:", ", ".join(kc.list_models()))
    print("Weights:")
    for name, entries in kc.list_weights().items():
        for entry in entries:
            miou = f"val mIoU {100 * entry['val_mean_iou']:.2f} %"
            print(f"  {name} for {entry['architecture']}: {miou}, {entry['data']}")


if __name__ == "__main__":
    sys.exit(main())
