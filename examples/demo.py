"""Segments a street photograph with the shipped weights, and prints the results and the speed.

$ python examples/demo.py --out demo-out
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import keras_crosscbam as kc
from keras_crosscbam.cli.quiet import quiet_tensorflow
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.segmentation import segment_files


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, nargs="?", default=STREET)
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    args = parser.parse_args()
    quiet_tensorflow()
    import keras

    (weights,) = (w for w in kc.list_weights()["camvid"] if w["architecture"].endswith("stdc1"))
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))
    size = min(weights["input_size"])
    (result,) = segment_files(model, args.image, args.out, size)
    if result.error:
        raise SystemExit(result.error)

    image = read_image(args.image)
    print(f"Image    {args.image}, {image.shape[1]}x{image.shape[0]} pixels")
    print(
        f"Network  Cross-CBAM-M, {model.count_params() / 1e6:.2f} M parameters, weights 'camvid' "
        f"(mean IoU {100 * weights['val_mean_iou']:.2f} % on CamVid's validation split)"
    )
    for name, share in result.shares.items():
        print(f"         {100 * share:5.1f} % {name}")
    seconds = [time_once(model, image, size) for _ in range(10)]
    print(
        f"Speed    {1000 * statistics.median(seconds):.0f} ms from image to labels, median of 10 "
        f"({1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}), shorter side {size}, "
        f"Keras {keras.__version__} on {keras.backend.backend()}, {os.cpu_count()} cores; "
        "exported files are faster"
    )
    print(f"Picture  {result.overlay}")


def time_once(model, image, size):
    started = time.perf_counter()
    kc.segment(model, image, size)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
