"""Exports weights to ONNX, verifies the file against Keras, and measures its speed.

$ python examples/export_onnx.py --out cross_cbam_m.onnx --size 360x480 --frames street.jpg
"""

import argparse
import statistics
import time
from pathlib import Path

import keras_crosscbam as kc
from keras_crosscbam.images import STREET
from keras_crosscbam.variants import VARIANTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="M", choices=VARIANTS)
    parser.add_argument("--weights", default="camvid", help="name, path or URL; 'none' for random")
    parser.add_argument("--size", default="360x480", help="HEIGHTxWIDTH of the network's input")
    parser.add_argument(
        "--frames", type=Path, nargs="*", default=[STREET], help="for the comparison"
    )
    parser.add_argument("--out", type=Path, default=Path("cross_cbam.onnx"))
    args = parser.parse_args()

    size = tuple(map(int, args.size.split("x")))
    weights = None if args.weights == "none" else args.weights
    model = getattr(kc, f"CrossCBAM_{args.variant}")(weights=weights, input_shape=(*size, 3))
    print(f"{args.out}: {kc.export.to_onnx(model, args.out, frames=args.frames)}")

    run = kc.runtime.load(args.out)
    labels = kc.segment(run, args.frames[0])
    print(f"labels of {args.frames[0]}: {labels.shape[1]}x{labels.shape[0]} pixels")

    keras_run = kc.runtime.load(model)
    ratio = statistics.median(
        seconds(keras_run, args.frames[0]) / seconds(run, args.frames[0]) for _ in range(10)
    )
    print(f"ONNX Runtime is {ratio:.1f} times as fast as Keras, file to labels, median of 10")


def seconds(run, frame):
    started = time.perf_counter()
    kc.segment(run, frame)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
