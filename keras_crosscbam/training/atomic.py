"""Writes files atomically: after a failure no incomplete file is left."""

import contextlib
import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of a full disk and of an exceeded disk quota."""


@contextlib.contextmanager
def writing(unfinished, what):
    """Context in which a file is written under a temporary name. Removes it after a failure.

    Args:
        unfinished: temporary path of the file. The caller renames it in the end.
        what: name of what is written, for the error message.

    Raises:
        RuntimeError: for an error of the file system, such as a full disk.
    """
    try:
        yield unfinished
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        # h5py raises RuntimeError with several lines of text for some write errors.
        if isinstance(error, OSError | RuntimeError):
            raise unwritable(what, error) from error
        raise


def unwritable(what, error):
    """Returns a `RuntimeError` that says why something cannot be written and what to do.

    >>> from keras_crosscbam.training.atomic import unwritable
    >>> str(unwritable("log.csv", PermissionError(13, "Permission denied")))[:45]
    'log.csv cannot be written (Permission denied)'
    """
    number = _number(error)
    reason = os.strerror(number) if number else " ".join(str(error).split())
    remedy = "Free some disk space" if number in FULL else "Fix this"
    return RuntimeError(
        f"{what} cannot be written ({reason}). {remedy} and run the same command again: it resumes "
        "from the last checkpoint."
    )


def _number(error):
    """Returns the `errno` of an error, or None. h5py may give it only in the text."""
    found = re.search(r"\berrno = (\d+)", str(error))
    return getattr(error, "errno", None) or (found and int(found[1]))


@contextlib.contextmanager
def replacing(path):
    """Context that yields a temporary path. The file written there replaces `path` at the end.

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
