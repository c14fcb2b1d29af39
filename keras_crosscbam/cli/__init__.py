"""The `crosscbam` command: reads arguments, calls the package, prints.

$ crosscbam segment street.jpg --out pictures
$ crosscbam evaluate --data CamVid
"""

import argparse
import sys

from keras_crosscbam.cli import deployment, information, training, use


def main(argv=None):
    """Runs the command; returns the exit status: 0, 1 for partial failure, 2 for an error."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"crosscbam {args.command}: {error}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="crosscbam", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, name, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    for group in (use, training, deployment, information):
        group.add_commands(command)
    return parser
