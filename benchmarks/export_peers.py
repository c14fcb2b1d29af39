"""Exports Cross-CBAM and the published networks for comparison to ONNX, for speed benchmarks.

    $ python benchmarks/export_peers.py --size 512x1024 --out onnx
    $ python benchmarks/export_peers.py --size 720x960 --classes 11 --output labels --out onnx

All networks use the same layers, random weights of the same distribution, and
`keras_crosscbam.export.to_onnx`, which verifies each file against the Keras model.
"""

import argparse
from functools import partial
from pathlib import Path

from peers import PEERS
from peers.parts import draw_weights

import keras_crosscbam as kc
from keras_crosscbam.export.onnx import RUNTIMES

NETWORKS = {
    "cross-cbam-m": partial(kc.CrossCBAM, "stdc1"),
    "cross-cbam-l": partial(kc.CrossCBAM, "stdc2"),
    **PEERS,
}


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=_size, default=(512, 1024), help="HEIGHTxWIDTH in pixels")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    for option in ("output", "input", "layout"):
        parser.add_argument(f"--{option}", help="as in keras_crosscbam.export.to_onnx")
    parser.add_argument(
        "--optimize-for", choices=(*RUNTIMES, "none"), default="none", help="default: none"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    return parser.parse_args(arguments)


def _size(text):
    height, width = map(int, text.split("x"))
    return height, width


def main(args):
    given = {name: getattr(args, name) for name in ("output", "input", "layout")}
    options = {name: value for name, value in given.items() if value is not None}
    options["optimize_for"] = None if args.optimize_for == "none" else args.optimize_for
    for name in args.networks:
        model = NETWORKS[name]((*args.size, 3), num_classes=args.classes)
        draw_weights(model)
        path = args.out / f"{name}.onnx"
        print(f"{path}: {kc.export.to_onnx(model, path, **options)}", flush=True)


if __name__ == "__main__":
    main(parse())
