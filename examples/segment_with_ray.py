"""Segments a folder of images with Ray Data: several networks at the same time, also on a cluster.

    $ pip install "keras-crosscbam[runtime]" "ray[data]"
    $ python examples/segment_with_ray.py m.onnx frames --out labels --actors 2

Writes `NAME.png` with the labels of each image `NAME.EXT`. Each actor is a process with its own
network. A file that cannot be processed is reported, the others are processed, and the exit status
is 1. Images whose labels exist are skipped, so that the same command continues after an
interruption; use another folder for another network. On a cluster, all machines must have the
same paths.
"""

import argparse
import math
import os
from pathlib import Path

# Prevents Ray from sending usage statistics.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.image_files import image_files
from keras_crosscbam.images import save_image
from keras_crosscbam.label_files import predict_each
from keras_crosscbam.segmentation import result_names


class Segmenter:
    """An actor: a network that writes the labels of chunks of images.

    It reads the files itself, and not `ray.data.read_images`, which ignores EXIF orientations and
    ends with the first damaged file.
    """

    def __init__(self, model, size, threads):
        self._run, self._size = kc.runtime.load(model, threads=threads), size

    def __call__(self, chunk):
        images = {Path(t): i for t, i in zip(chunk["target"], chunk["image"], strict=True)}
        failures = predict_each(self._run, images, write, self._size)
        return {"images": [len(images)], "failures": ["\n".join(failures)]}


def write(target, labels):
    # The file only appears when it is complete.
    save_image(Image.fromarray(labels), target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="exported file: .onnx, .xml, .tflite or .engine")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the labels")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="cores for each actor")
    parser.add_argument("--size", type=int, help="shorter side, for networks of any size")
    parser.add_argument("--chunk", type=int, default=16, help="images in one call of an actor")
    args = parser.parse_args()

    try:
        run = kc.runtime.load(args.model)
        run.check_size(args.size)
        names = result_names(image_files(args.images, arrays=run.channels != 3))
    except (ValueError, RuntimeError, ImportError) as error:
        parser.error(str(error))
    # Actors may have another working directory.
    model, out = os.path.abspath(args.model), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    targets = {image.resolve(): out / f"{name}.png" for image, name in names.items()}
    left = [
        {"image": str(image), "target": str(target)}
        for image, target in targets.items()
        if not target.exists()
    ]
    print(f"{len(targets) - len(left)} of {len(targets)} images have labels")
    if not left:
        return 0

    chunks = ray.data.from_items(left, override_num_blocks=math.ceil(len(left) / args.chunk))
    results = chunks.map_batches(
        Segmenter,
        batch_size=None,  # all images of a chunk
        compute=ray.data.ActorPoolStrategy(size=args.actors),
        fn_constructor_args=(model, args.size, args.threads),
        num_cpus=args.threads,
    ).take_all()
    failures = [line for result in results for line in result["failures"].splitlines()]
    print(*failures, f"{len(left) - len(failures)} files in {args.out}", sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
