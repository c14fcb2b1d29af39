"""The `crosscbam` command: segmentation, evaluation, training and export with Cross-CBAM.

$ crosscbam segment street.jpg --out pictures
$ crosscbam evaluate --data CamVid
"""

import argparse
import sys

from keras_crosscbam.cli import (
    conversion,
    demo,
    deployment,
    hub,
    inference,
    information,
    pictures,
    speed,
    training,
    weights,
)
from keras_crosscbam.cli.quiet import quiet_tensorflow


def main(argv=None):
    """Runs the command and returns the exit status.

    The status is 0 for success, 1 for partial failure, 2 for an error, and 130 after Ctrl-C, as in
    shells.
    """
    args = _parser().parse_args(argv)
    quiet_tensorflow()
    try:
        return args.run(args) or 0
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"crosscbam {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # In a terminal, the current line contains ^C and possibly a progress line.
        start = "\n" if sys.stderr.isatty() else ""
        print(f"{start}crosscbam {args.command}: interrupted. {args.next}", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="crosscbam", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(run, name, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, next="The same command starts from the beginning.")
        return sub

    for group in (
        pictures,
        inference,
        training,
        conversion,
        deployment,
        speed,
        information,
        weights,
        demo,
        hub,
    ):
        group.add_commands(command)
    return parser
