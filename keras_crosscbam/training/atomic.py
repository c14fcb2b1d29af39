"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a disk without space, or of a user who may not have more of it."""


@contextlib.contextmanager
def writing(unfinished, what):
    """While a file is written under another name: no failure leaves it, or goes unexplained.

    Args:
        unfinished: its path for the time being; who writes it renames it in the end.
        what: what cannot be written, for the message.

    Raises:
        RuntimeError: for an error of the file system, such as a full disk.
    """
    try:
        yield unfinished
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        # h5py reports some failures to write as RuntimeError, over several lines.
        if isinstance(error, OSError | RuntimeError):
            raise unwritable(what, error) from error
        raise


def unwritable(what, error):
    """The `RuntimeError` that says why something cannot be written, and what helps.

    >>> from keras_crosscbam.training.atomic import unwritable
    >>> str(unwritable("log.csv", PermissionError(13, "Permission denied")))[:45]
    'log.csv cannot be written (Permission denied)'
    """
    number = _number(error)
    reason = os.strerror(number) if number else " ".join(str(error).split())
    remedy = "Free some space" if number in FULL else "Put that right"
    return RuntimeError(
        f"{what} cannot be written ({reason}). {remedy} and run the same command again: it resumes "
        "from the last checkpoint."
    )


def _number(error):
    """The `errno` of an error; h5py may have it within the text alone."""
    found = re.search(r"\berrno = (\d+)", str(error))
    return getattr(error, "errno", None) or (found and int(found[1]))


@contextlib.contextmanager
def replacing(path):
    """The path to write a file to that then takes the place of `path`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from keras_crosscbam.training.atomic import replacing
    >>> path = Path(tempfile.mkdtemp()) / "run.json"
    >>> with replacing(path) as unfinished:
    ...     characters = unfinished.write_text("{}")
    >>> path.read_text()
    '{}'
    """
    with writing(path.with_name(f"unfinished-{path.name}"), path) as unfinished:
        yield unfinished
        unfinished.replace(path)
