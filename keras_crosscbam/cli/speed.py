"""Commands on the speed of a network: estimate, profile."""

from pathlib import Path

from keras_crosscbam.cli.arguments import VARIANT_NAMES, image_size, named_variant


def add_commands(command):
    sub = command(_estimate, "estimate", "Estimate the latency on a card that is not available.")
    sub.add_argument("file", type=Path, nargs="?", metavar="FILE.onnx", help="default: --variant")
    sub.add_argument("--variant", help=f"{VARIANT_NAMES} (default: M1)")
    sub.add_argument(
        "--card", required=True, help="such as gtx-1080-ti or t4; an unknown one prints the list"
    )
    sub.add_argument("--precision", default="fp32", help="fp32, fp16 or int8 (default: fp32)")
    sub.add_argument(
        "--size", type=image_size, help="HEIGHTxWIDTH; default: the file's, or variant's"
    )
    sub.add_argument("--json", type=Path, help="write the estimate of each kernel to this file")

    sub = command(_profile, "profile", "Show where the time of a network goes, by stage.")
    sub.add_argument("file", metavar="FILE", help=".onnx, or .xml of OpenVINO")
    sub.add_argument(
        "--runtime",
        choices=("onnxruntime", "openvino", "openvino-bf16"),
        help="default: that of the file",
    )
    sub.add_argument("--runs", type=int, default=20, help="number of runs (default: 20)")
    sub.add_argument("--threads", type=int, help="number of threads (default: all cores)")
    sub.add_argument("--size", type=image_size, help="HEIGHTxWIDTH for networks of any size")
    sub.add_argument("--batch", type=int, default=1)
    sub.add_argument("--json", type=Path, help="write the time of each node to this file")


def _estimate(args):
    from keras_crosscbam.benchmark import estimate
    from keras_crosscbam.benchmark.cards import find_card

    _check_size(args)
    if args.file and args.variant:
        raise ValueError("pass either a file or --variant, not both")
    # Before a model is built, which takes half a minute.
    find_card(args.card, args.precision)
    model, size = (args.file, args.size) if args.file else _variant(args)
    found = estimate(model, args.card, args.precision, size)
    print(found.table())
    if args.json:
        args.json.write_text(found.to_json())


def _variant(args):
    """Returns the model of `--variant` with random weights, and its size."""
    import keras_crosscbam as kc

    args.variant = args.variant or "M1"
    variant = named_variant(args)
    build = getattr(kc, f"CrossCBAM_{variant.name}")
    size = args.size or variant.input_size
    return build(weights=None, input_shape=(*size, 3)), None


def _profile(args):
    from keras_crosscbam.benchmark import profile

    _check_size(args)
    found = profile(
        args.file,
        args.runtime,
        runs=args.runs,
        threads=args.threads,
        size=args.size,
        batch=args.batch,
    )
    print(found.table())
    if args.json:
        args.json.write_text(found.to_json())


def _check_size(args):
    if isinstance(args.size, int):
        raise ValueError("both sides are needed: pass --size HEIGHTxWIDTH")
