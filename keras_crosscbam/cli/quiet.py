"""Keeps the lines that TensorFlow prints when it starts off the terminal."""

import contextlib
import functools
import os
import sys
import tempfile

from keras_crosscbam._import_hooks import around_import

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@functools.cache
def quiet_tensorflow():
    """Lets the first import of TensorFlow, whoever does it, print nothing unless it fails.

    Later lines are printed from the level "error" on, in child processes too. Where the
    environment variable `TF_CPP_MIN_LOG_LEVEL` asks for more, with 0 or 1, all is printed.
    """
    if os.environ.setdefault(LEVEL, "2") not in ("0", "1"):
        around_import(("tensorflow",), stderr_held_back)


@contextlib.contextmanager
def stderr_held_back(_module=None):
    """Holds back what Python, C and child processes write to stderr; an exception shows it."""
    # Where stderr is closed, its file descriptor may be that of another file.
    if sys.__stderr__ is None:
        yield
        return
    sys.__stderr__.flush()
    stderr = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held_back:
            os.dup2(held_back.fileno(), 2)
            try:
                yield
            except Exception:
                _restore(stderr)
                held_back.seek(0)
                sys.__stderr__.write(held_back.read().decode(errors="replace"))
                raise
            finally:
                _restore(stderr)
    finally:
        os.close(stderr)


def _restore(stderr):
    sys.__stderr__.flush()
    os.dup2(stderr, 2)
