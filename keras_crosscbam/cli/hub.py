"""Command that uploads a model to the Hugging Face Hub: push."""

from pathlib import Path


def add_commands(command):
    sub = command(
        _push,
        "push",
        "Upload weights or an exported file to the Hugging Face Hub, with a model card. Log in "
        "with `hf auth login` first.",
    )
    sub.add_argument(
        "path",
        type=Path,
        help="the model: .weights.h5, .keras, .onnx, .xml, .tflite, .engine, or a SavedModel "
        "folder",
    )
    sub.add_argument("repo", metavar="USER/NAME", help="the repository; created if necessary")
    sub.add_argument(
        "--private", action="store_true", default=None, help="create a private repository"
    )
    sub.add_argument(
        "--license", metavar="ID", help="license in the model card, such as apache-2.0"
    )
    sub.add_argument("--message", help="message of the commit")


def _push(args):
    from keras_crosscbam.hub import push

    print(push(args.path, args.repo, args.private, args.license, args.message))
