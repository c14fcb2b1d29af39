"""Command that converts weights files of other implementations: convert-weights."""

from pathlib import Path

from keras_crosscbam.variants import VARIANTS


def add_commands(command):
    sub = command(
        _convert,
        "convert-weights",
        "Convert weights of STDC or Cross-CBAM from PyTorch or Paddle, or to PyTorch.",
    )
    sub.add_argument("file", type=Path, help=".pth, .tar, .pdparams, .safetensors or .weights.h5")
    sub.add_argument(
        "--to",
        required=True,
        help=f"stdc1 or stdc2 for the encoder, {', '.join(VARIANTS)} for Cross-CBAM, or torch",
    )
    sub.add_argument("--out", type=Path, required=True, help="the file to write")
    sub.add_argument(
        "--count-include-pad",
        choices=("yes", "no"),
        help="whether average pooling includes padding (default: no for Paddle's files, else yes)",
    )
    sub.add_argument(
        "--epsilon",
        type=float,
        help="epsilon of batch normalization (default: the value in the file, or 1e-5)",
    )
    sub.add_argument(
        "--gate-activation",
        choices=("relu", "none"),
        default="relu",
        help="activation before the gates in the authors' configuration (default: relu)",
    )
    sub.add_argument(
        "--dilation-rates",
        type=int,
        nargs="+",
        default=(1, 3),
        metavar="RATE",
        help="dilation rates of SE-ASPP in the authors' configuration (default: 1 3)",
    )


def _convert(args):
    from keras_crosscbam.weight_conversion import convert_weights

    conversion = convert_weights(
        args.file,
        args.to,
        args.out,
        count_include_pad={"yes": True, "no": False}.get(args.count_include_pad),
        epsilon=args.epsilon,
        gate_activation=None if args.gate_activation == "none" else args.gate_activation,
        aspp_dilation_rates=tuple(args.dilation_rates),
    )
    print(conversion)
