"""Fits the constant of `crosscbam estimate` on published figures, and checks it on others.

    $ python benchmarks/calibrate_estimate.py --graphs graphs

Exports the networks of the Cross-CBAM paper's Tables 2, 3, 5 and 6 that TensorRT ran on a GTX
1080 Ti, counts the work of their graphs, and writes the constant with all figures into the package.
The fit uses STDC-Seg and PP-LiteSeg. Cross-CBAM is left out of the fit and is the check. Exported
graphs in the folder are used again.
"""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from peers import PEERS
from peers.parts import draw_weights

import keras_crosscbam as kc
from keras_crosscbam.benchmark.calibration import CALIBRATION, PublishedFigure, calibrate
from keras_crosscbam.benchmark.cards import CARDS
from keras_crosscbam.benchmark.graph_file import read_graph
from keras_crosscbam.benchmark.kernels import kernels_of
from keras_crosscbam.benchmark.roofline import ideal_seconds

CARD, PRECISION = "gtx-1080-ti", "fp32"
SMALL, LARGE, CAMVID = (512, 1024), (768, 1536), (720, 960)

PEERS_FPS = {
    "stdc1-seg": {SMALL: 250.4, LARGE: 126.7, CAMVID: 197.6},
    "stdc2-seg": {SMALL: 188.6, LARGE: 97.0, CAMVID: 152.2},
    "pp-liteseg-t": {SMALL: 273.6, LARGE: 143.6, CAMVID: 222.3},
    "pp-liteseg-b": {SMALL: 195.3, LARGE: 102.6, CAMVID: 154.8},
}
"""FPS of the peers by size, Tables 2 and 3 (CamVid). The constant is fitted on them."""

CROSS_CBAM_FPS = {
    "cross-cbam-m": {SMALL: 240.9, LARGE: 119.7, CAMVID: 185.3},
    "cross-cbam-l": {SMALL: 187.9, LARGE: 88.6, CAMVID: 146.8},
}
"""FPS of Cross-CBAM, Tables 2 and 3. They are left out of the fit, as are the ablations."""

ABLATIONS = {
    "cross-cbam-m rates (2, 4)": (229.5, 5, {"aspp_dilation_rates": (2, 4)}),
    "cross-cbam-m rates (3, 5)": (229.4, 5, {"aspp_dilation_rates": (3, 5)}),
    "cross-cbam-m rates (1, 3, 5)": (226.4, 5, {"aspp_dilation_rates": (1, 3, 5)}),
    "cross-cbam-m rates (2, 4, 6)": (225.1, 5, {"aspp_dilation_rates": (2, 4, 6)}),
    "cross-cbam-m width 512": (235.7, 6, {"aspp_filters": 512}),
    "cross-cbam-m width 128": (245.6, 6, {"aspp_filters": 128}),
}
"""FPS, table, and arguments of Cross-CBAM-M's ablations at 512x1024."""


def cross_cbam(input_shape, num_classes, backbone="stdc1", **ablation):
    return kc.CrossCBAM(backbone, input_shape=input_shape, num_classes=num_classes, **ablation)


def published():
    """Yields network, builder, size, FPS, table, and whether the constant is fitted on it."""
    builders = {
        **PEERS,
        "cross-cbam-m": cross_cbam,
        "cross-cbam-l": partial(cross_cbam, backbone="stdc2"),
    }
    for rates in (PEERS_FPS, CROSS_CBAM_FPS):
        for network, by_size in rates.items():
            for size, fps in by_size.items():
                table = 3 if size == CAMVID else 2
                yield network, builders[network], size, fps, table, rates is PEERS_FPS
    for network, (fps, table, arguments) in ABLATIONS.items():
        yield network, partial(cross_cbam, **arguments), SMALL, fps, table, False


def graph(folder, network, build, size):
    """Returns the path of the exported network, and exports it if there is no file."""
    words = "".join(c if c.isalnum() else " " for c in network).split()
    path = folder / f"{'-'.join([*words, 'x'.join(map(str, size))])}.onnx"
    if not path.exists():
        model = build((*size, 3), num_classes=11 if size == CAMVID else 19)
        draw_weights(model)
        kc.export.to_onnx(model, path, optimize_for="tensorrt")
    return path


def main(args):
    args.graphs.mkdir(parents=True, exist_ok=True)
    figures = []
    for network, build, size, fps, table, fitted in published():
        path = graph(args.graphs, network, build, size)
        kernels = kernels_of(read_graph(path))
        ideal = sum(ideal_seconds(kernel, CARDS[CARD], PRECISION) for kernel in kernels)
        figures.append(PublishedFigure(network, size, fps, table, fitted, len(kernels), ideal))
        print(f"{path}: {len(kernels)} kernels, {1e3 * ideal:.2f} ms at peak rates", flush=True)
    calibration = calibrate(CARD, PRECISION, figures)
    args.out.write_text(json.dumps(asdict(calibration), indent=1) + "\n")
    print(markdown(calibration))


def markdown(calibration):
    """Returns the table of docs/deployment.md."""
    lines = [
        "| network | table | published ms | estimated ms | error | |",
        "|---|---|---|---|---|---|",
    ]
    for figure in calibration.figures:
        lines.append(
            f"| {figure.network} {figure.size[0]}x{figure.size[1]} | {figure.table} | "
            f"{1e3 / figure.fps:.2f} | {1e3 * calibration.estimated(figure):.2f} | "
            f"{100 * calibration.error(figure):+.0f} % | "
            f"{'fitted' if figure.fitted else 'left out'} |"
        )
    summary = (
        f"Efficiency {calibration.efficiency:.3f}; on the figures left out: median error "
        f"{100 * calibration.median_error:.0f} %, worst {100 * calibration.worst_error:.0f} %"
    )
    return "\n".join([*lines, "", summary])


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=Path, required=True, help="folder of the ONNX files")
    parser.add_argument("--out", type=Path, default=CALIBRATION, help="default: in the package")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(parse())
