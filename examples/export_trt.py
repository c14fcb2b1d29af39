"""Builds a TensorRT engine from weights, compares it with ONNX Runtime, and measures its speed.

$ python examples/export_trt.py --variant M --precision fp16 --out cross_cbam_m.engine

Without TensorRT, a driver or a GPU, the ONNX file is still written and verified, the exit status is
3, and the last line reports what is missing.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import keras_crosscbam as kc
from keras_crosscbam.cli.arguments import add_engine
from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.export.quantization.int8 import quantize
from keras_crosscbam.export.tensorrt.engine import build_engine
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.variants import VARIANTS


def main():
    args = parse()
    settings = {"weights": None if args.weights == "none" else args.weights}
    if args.size:
        settings["input_shape"] = (*map(int, args.size.split("x")), 3)
    model = getattr(kc, f"CrossCBAM_{args.variant}")(**settings)
    graph = write_onnx(args, model)
    try:
        print(build_engine(graph, args.out, **builder_settings(args)))
        run = kc.runtime.load(args.out)
    except (ImportError, RuntimeError) as error:
        print(f"{graph} was written, but not timed. {error}", file=sys.stderr)
        sys.exit(3)
    compare(run, kc.runtime.load(graph), args.frames)
    measure(run, args)


def parse():
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    network = parser.add_argument_group("network")
    network.add_argument("--variant", default="M", choices=VARIANTS)
    network.add_argument("--weights", default="camvid", help="name, path or URL; 'none' for random")
    network.add_argument("--size", help="HEIGHTxWIDTH (default: the variant's)")
    network.add_argument(
        "--input",
        default="float",
        choices=("float", "uint8"),
        help="type of the input: uint8 reduces the copy to the GPU to a quarter",
    )
    network.add_argument(
        "--output",
        default="logits",
        choices=("logits", "labels"),
        help="kind of the output: labels are computed on the GPU and need a smaller copy",
    )
    network.add_argument(
        "--frames", type=Path, nargs="+", default=[STREET], help="for the comparison"
    )
    network.add_argument(
        "--data",
        type=Path,
        help="for int8: folder of a data set, to calibrate on the training frames and to evaluate "
        "on the validation frames",
    )
    engine = parser.add_argument_group("engine")
    engine.add_argument("--out", type=Path, default=Path("cross_cbam.engine"))
    add_engine(engine)
    engine.add_argument(
        "--batch",
        type=int,
        nargs="+",
        default=[1],
        help="one batch size, or three: smallest, optimal, largest",
    )
    engine.add_argument(
        "--level", type=int, choices=range(6), help="optimization level (default: 3)"
    )
    engine.add_argument(
        "--compute-capability",
        metavar="X.Y",
        help="compute capability of another GPU, such as 8.9, for TensorRT-RTX",
    )
    engine.add_argument(
        "--runs", type=int, default=1000, help="number of timed runs (default: 1000)"
    )
    args = parser.parse_args()
    if len(args.batch) not in (1, 3):
        parser.error(f"--batch takes one size or three. Received: {args.batch}")
    if "int8" in args.precision and args.data is None:
        parser.error("--precision int8 needs real frames: --data FOLDER")
    return args


def write_onnx(args, model):
    """Writes the ONNX file for the engine, verified against Keras, and returns its path."""
    path = args.out.with_suffix(".onnx")
    parity = kc.export.to_onnx(
        model,
        path,
        batch=args.batch[0] if len(args.batch) == 1 else None,
        input=args.input,
        output=args.output,
        optimize_for="tensorrt",
        frames=args.frames,
    )
    print(f"{path}: {parity}")
    if "int8" not in args.precision:
        return path
    quantized = args.out.with_suffix(".int8.onnx")
    train, val = (load_dataset(args.data, split) for split in ("train", "val"))
    print(quantize(path, quantized, train, runtime="tensorrt", dataset=val))
    return quantized


def builder_settings(args):
    capability = args.compute_capability
    return {
        "precision": args.precision,
        "workspace_gib": args.workspace,
        "timing_cache": args.timing_cache,
        "profile": tuple(args.batch) if len(args.batch) == 3 else None,
        "builder_optimization_level": args.level,
        "compute_capability": capability and tuple(map(int, capability.split("."))),
    }


def compare(run, reference, frames):
    equal = [np.mean(run(image) == reference(image)) for image in map(read_image, frames)]
    print(f"labels equal to ONNX Runtime's on {100 * np.mean(equal):.3f} % of the pixels")


def measure(run, args):
    """Times the network alone with the GPU's clock, then with copies with the host's clock."""
    batch = args.batch[len(args.batch) // 2]
    report(run.time_device(args.runs, batch), batch, "network alone, CUDA events")
    prepared = run.prepare(np.zeros((batch, *run.size, 3), np.uint8))
    times = []
    for _ in range(args.runs):
        started = time.perf_counter()
        run.run(prepared)
        times.append(1000 * (time.perf_counter() - started))
    report(times, batch, "with copies to and from the GPU, host clock")
    print(f"{run.memory / 2**20:.0f} MiB of GPU memory")


def report(milliseconds, batch, scope):
    p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
    print(
        f"{scope}: {1000 * batch / p50:.1f} frames/s, batch {batch}, "
        f"ms p50 {p50:.3f}, p90 {p90:.3f}, p99 {p99:.3f}, {len(milliseconds)} runs"
    )


if __name__ == "__main__":
    main()
