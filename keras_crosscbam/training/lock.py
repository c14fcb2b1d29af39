"""One process at a time in the folder of a training."""

import contextlib
import fcntl
import logging
import os
import socket

from keras_crosscbam.training.atomic import unwritable

LOCK = "lock"
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def only_process(folder):
    """Within this context no other process gets into the context for the same folder.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_crosscbam.training.lock import only_process
        >>> with only_process(Path(tempfile.mkdtemp())):
        ...     pass  # train

    The lock is the operating system's, on the file `lock`, and ends with the process, however that
    ends. The file stays; without a process that holds it, it means nothing.

    Args:
        folder: `pathlib.Path` of a folder; made if need be.

    Raises:
        RuntimeError: if another process is in there, with its number and machine, or if the folder
            cannot be written to.
    """
    path = folder / LOCK
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+"))
            if _try_lock(file):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
        except BlockingIOError as error:
            file.seek(0)
            raise RuntimeError(
                f"{folder}: {file.read() or 'another process'} is training in this folder. Wait "
                f"for its end or choose another folder. If that machine is lost, remove {path}."
            ) from error
        except OSError as error:
            raise unwritable(folder, error) from error
        yield


def _try_lock(file):
    """Takes the lock of a file, or raises `BlockingIOError`; False where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        logger.warning(
            "%s: this file system has no locks (%s): start no second training in the folder",
            file.name,
            error.strerror,
        )
        return False
    return True
