"""`python -m keras_crosscbam.cli` is `crosscbam`."""

import sys

from keras_crosscbam.cli import main

sys.exit(main())
