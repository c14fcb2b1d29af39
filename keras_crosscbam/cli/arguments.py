"""Arguments that are shared by several commands."""

import argparse
from fractions import Fraction
from pathlib import Path

from keras_crosscbam.hub.address import PREFIX, is_address
from keras_crosscbam.hub.download import download_network
from keras_crosscbam.manifest import find_file
from keras_crosscbam.variants import VARIANTS

VARIANT_NAMES = ", ".join(VARIANTS)


def add_data(sub, split=None, hold_out=None, several=False):
    """Adds the arguments of a data set.

    Args:
        sub: the parser of the command.
        split: default of `--split`; None for no such argument.
        hold_out: help of `--hold-out`, which excludes `--split`; None for no such argument.
        several: whether `--data` takes several folders.

    Returns:
        The group of arguments of which at most one may be given, to add others to it.
    """
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+" if several else None,
        metavar="DIR",
        help="folder of the data set: CamVid, Cityscapes, or your own with a dataset.yaml",
    )
    part = sub.add_mutually_exclusive_group()
    if split is not None:
        part.add_argument("--split", default=split, help=f"split of the data (default: {split})")
    if hold_out is not None:
        part.add_argument(
            "--hold-out",
            metavar="GROUP",
            help=f"{hold_out}: a drive of CamVid such as 0006R0, a city of Cityscapes, or a folder "
            "in images/SPLIT/ of your own data set",
        )
    return part


def add_model(sub):
    sub.add_argument("--variant", default="M", help=f"{VARIANT_NAMES} (default: M)")
    sub.add_argument(
        "--weights",
        default="camvid",
        help="name, path, URL, or hf://USER/NAME of the Hugging Face Hub (default: camvid)",
    )
    sub.add_argument(
        "--model",
        help="a file to run instead: .keras, .onnx, .xml, .tflite, .engine, or a SavedModel "
        "folder, or its address on the Hugging Face Hub, hf://USER/NAME/FILE, with an optional "
        "engine as a prefix, as in openvino:m.onnx",
    )
    sub.add_argument(
        "--size",
        type=image_size,
        help="HEIGHTxWIDTH that images are resized to, or their shorter side; "
        "default: the size that the weights were trained at",
    )


def add_input_and_output(sub):
    sub.add_argument(
        "--input", choices=("float", "uint8"), default="float", help="pixel type (default: float)"
    )
    sub.add_argument(
        "--output",
        choices=("logits", "probabilities", "labels", "coarse_logits"),
        default="logits",
        help="output of the network (default: logits)",
    )


def add_engine(sub):
    sub.add_argument(
        "--precision", choices=("fp32", "tf32", "fp16", "int8", "int8+fp16"), default="fp32"
    )
    sub.add_argument("--workspace", type=float, metavar="GIB", help="default: all GPU memory")
    sub.add_argument("--timing-cache", type=Path, help="file that makes the next build faster")


def add_normalization(sub):
    for name, example in (("mean", "0.485 0.456 0.406"), ("std", "0.229 0.224 0.225")):
        sub.add_argument(
            f"--{name}",
            type=number,
            nargs="+",
            metavar="NUMBER",
            help="for a file from another tool that takes (pixels / 255 - mean) / std: one number, "
            f"or three for R, G and B, such as {example}",
        )


def add_views(sub):
    sub.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="FACTOR",
        help="average over these scales of the image, for example 0.75 1 1.25",
    )
    sub.add_argument("--flip", action="store_true", help="also average over the mirror image")


def add_batch(sub):
    sub.add_argument(
        "--batch",
        type=int,
        help="batch size for consecutive images of the same input size (default: 1, or the fixed "
        "batch size of the file)",
    )


def number(text):
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"expected a number or a fraction, not {text!r}") from None


def image_size(text):
    sides = text.lower().split("x")
    if not all(side.isdigit() and int(side) for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH or one number, not {text!r}")
    return int(text) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def load_model(args):
    """Returns the model of the arguments, and the (height, width) of its weights or None."""
    if args.model is not None:
        return _local(args.model), None
    import keras_crosscbam as kc
    from keras_crosscbam.models.weights import find_weights

    variant = named_variant(args)
    build = getattr(kc, f"CrossCBAM_{variant.name}")
    channels = find_weights(args.weights, variant.architecture).channels or 3
    model = build(weights=args.weights, input_shape=(None, None, channels))
    return model, trained_at(args.weights, variant.architecture)


def _local(model):
    """Returns the path of `--model`, after downloading it if it is an address on the Hub."""
    engine, prefix, address = model.partition(PREFIX)
    return Path(f"{engine}{download_network(prefix + address)}" if prefix else model)


def load_runtime(args):
    """Returns the model of `load_model` as a `Runtime`, and the size of its weights or None."""
    from keras_crosscbam import runtime

    model, made_for = load_model(args)
    return runtime.load(model, mean=args.mean, std=args.std), made_for


def has_views(args):
    return args.flip or args.scales != [1.0]


def with_views(run, args):
    """Returns a `Runtime` that averages over the views of the arguments."""
    from keras_crosscbam import runtime

    return runtime.TTARuntime(run, args.scales, args.flip) if has_views(args) else run


def trained_at(weights, architecture):
    """Returns the (height, width) of named weights; None for other weights."""
    size = (manifest_entry(weights, architecture) or {}).get("input_size")
    return size and tuple(size)


def manifest_entry(weights, architecture):
    """Returns the manifest entry of named weights or of weights on the Hub; None for others."""
    import keras_crosscbam as kc

    if is_address(weights):
        return find_file(weights, architecture)[1] or None
    entries = kc.list_weights().get(weights, [])
    return next((entry for entry in entries if entry["architecture"] == architecture), None)


def named_variant(args):
    if args.variant not in VARIANTS:
        raise ValueError(f"--variant must be one of {VARIANT_NAMES}; got {args.variant!r}")
    return VARIANTS[args.variant]


def working_size(args, made_for):
    """Returns the size that images are resized to: `--size`, or the weights' shorter side."""
    return args.size or (made_for and min(made_for))
