"""The command that turns annotations of tools into one's own data: convert."""

from pathlib import Path


def add_commands(command):
    sub = command(
        _convert, "convert", "Turn annotations of a tool into a data set to train on, and check it."
    )
    sub.add_argument("source", type=Path, help="folder of annotations and images, or one file")
    sub.add_argument("--out", type=Path, required=True, help="the folder to write, a new one")
    sub.add_argument("--format", metavar="NAME", help="format (default: told by the folder)")
    sub.add_argument(
        "--unlabeled",
        choices=("background", "ignore"),
        help="what pixels without annotation are (default: the custom of the format)",
    )
    sub.add_argument(
        "--group",
        metavar="REGEX",
        help="keep images together in train or val in whose path this finds the same text, for "
        "instance a drive: 'drive[0-9]+'",
    )
    sub.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the images to judge by, where the source has no splits (default: 0.2)",
    )
    sub.add_argument("--seed", type=int, default=0, help="of that choice (default: 0)")
    sub.add_argument("--images", type=Path, metavar="DIR", help="folder of the images if elsewhere")
    sub.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="names of the classes in their order, for LabelMe, Label Studio and masks that have "
        "no list of them",
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
