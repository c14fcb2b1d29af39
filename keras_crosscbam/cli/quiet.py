"""Hides the messages that TensorFlow prints when it is imported."""

import contextlib
import functools
import os
import sys
import tempfile

from keras_crosscbam._import_hooks import around_import

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@functools.cache
def quiet_tensorflow():
    """Hides the output of the first import of TensorFlow, unless it fails.

    Later messages are printed from the level "error" on, also in child processes. If the
    environment variable `TF_CPP_MIN_LOG_LEVEL` is 0 or 1, all messages are printed.
    """
    if os.environ.setdefault(LEVEL, "2") not in ("0", "1"):
        around_import(("tensorflow",), stderr_held_back)


@contextlib.contextmanager
def stderr_held_back(_module=None):
    """Hides what Python, C and child processes write to stderr, unless an exception is raised."""
    # If stderr is closed, its file descriptor may belong to another file.
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
