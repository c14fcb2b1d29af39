"""Runs the `crosscbam` command for `python -m keras_crosscbam.cli`."""

import sys

from keras_crosscbam.cli import main

if __name__ == "__main__":
    sys.exit(main())
