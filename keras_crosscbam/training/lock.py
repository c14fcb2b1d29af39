"""Lock on the folder of a training, so that only one process uses it."""

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
    """Context that only one process at a time can enter for a folder.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_crosscbam.training.lock import only_process
        >>> with only_process(Path(tempfile.mkdtemp())):
        ...     pass  # train

    The operating system locks the file `lock` and releases it when the process ends, also after a
    crash. The file is not removed. It has no effect if no process has locked it.

    Args:
        folder: `pathlib.Path` of a folder, which is created if needed.

    Raises:
        RuntimeError: if another process has the lock, with its process ID and machine, or if the
            folder is not writable.
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
                "until it ends or choose another folder. If that machine does not exist any more, "
                f"remove {path}."
            ) from error
        except OSError as error:
            raise unwritable(folder, error) from error
        yield


def _try_lock(file):
    """Locks a file or raises `BlockingIOError`. Returns False if locks are not supported."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        logger.warning(
            "%s: this file system has no locks (%s). Do not start a second training in this folder",
            file.name,
            error.strerror,
        )
        return False
    return True
