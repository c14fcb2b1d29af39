"""Command that converts annotations to a data set: convert."""

from pathlib import Path


def add_commands(command):
    sub = command(
        _convert, "convert", "Convert the annotations of a tool to a data set, and check it."
    )
    sub.add_argument("source", type=Path, help="folder of annotations and images, or one file")
    sub.add_argument("--out", type=Path, required=True, help="the folder to write; must be new")
    sub.add_argument("--format", metavar="NAME", help="format (default: detected)")
    sub.add_argument(
        "--unlabeled",
        choices=("background", "ignore"),
        help="meaning of pixels without annotation (default: that of the format)",
    )
    sub.add_argument(
        "--group",
        metavar="REGEX",
        help="keep images together in train or val if this matches the same text in their paths, "
        "for example a drive: 'drive[0-9]+'",
    )
    sub.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the images in val, if the source has no splits (default: 0.2)",
    )
    sub.add_argument("--seed", type=int, default=0, help="seed of the random split (default: 0)")
    sub.add_argument("--images", type=Path, metavar="DIR", help="folder of the images, if separate")
    sub.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="names of the classes in order, for LabelMe, Label Studio and masks without a list of "
        "classes",
    )


def _convert(args):
    from keras_crosscbam.datasets import convert
    from keras_crosscbam.doctor import inspect_dataset, report

    conversion = convert(
        args.source,
        args.out,
        format=args.format,
        unlabeled=args.unlabeled,
        group=args.group,
        val_share=args.val_share,
        seed=args.seed,
        images=args.images,
        classes=args.classes,
        progress=True,
    )
    print(f"{conversion}\n")
    findings = inspect_dataset(args.out)
    print(report(findings))
    return 0 if findings.ok else 1
