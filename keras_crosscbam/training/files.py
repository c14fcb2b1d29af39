"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os


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
    # h5py reports some failures to write as RuntimeError, over several lines.
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else " ".join(str(error).split())
        raise RuntimeError(
            f"{what} cannot be written ({reason}). Free some space and run the same command again: "
            "it resumes from the last checkpoint."
        ) from error


@contextlib.contextmanager
def replacing(path):
    """The path to write a file to that then takes the place of `path`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from keras_crosscbam.training.files import replacing
    >>> path = Path(tempfile.mkdtemp()) / "run.json"
    >>> with replacing(path) as unfinished:
    ...     characters = unfinished.write_text("{}")
    >>> path.read_text()
    '{}'
    """
    with writing(path.with_name(f"unfinished-{path.name}"), path) as unfinished:
        yield unfinished
        unfinished.replace(path)
