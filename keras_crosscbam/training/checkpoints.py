"""Checkpoints that no kill, full disk or flipped bit can make a training trust wrongly."""

import logging
import os
import re

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.training.atomic import writing

logger = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.weights\.h5")


class Checkpoints:
    """The newest states of a training in a folder, each a Keras `.weights.h5` with the optimizer's.

        >>> from pathlib import Path
        >>> from keras_crosscbam.training.checkpoints import Checkpoints
        >>> Checkpoints(Path("runs/new")).newest()  # none yet: no step, no file
        (0, None)

    A file gets its name, which holds the step and the start of its SHA-256, only once it lies
    whole on the disk. So a file of the right name is complete, and one whose contents do not match
    the name is damaged and passed over for the one before.

    Args:
        folder: `pathlib.Path` of the checkpoints.
        keep: number of files to keep.
    """

    def __init__(self, folder, keep=2):
        self.folder = folder
        self.keep = keep

    def save(self, model, step):
        """Writes the state of a model after so many steps, then removes the oldest files.

        Raises:
            RuntimeError: if it cannot be written, for instance on a full disk; what was there
                before is left as it was.
        """
        what = f"{self.folder}: the checkpoint of step {step}"
        with writing(self.folder / "unfinished.weights.h5", what) as unfinished:
            self.folder.mkdir(parents=True, exist_ok=True)
            model.save_weights(unfinished)
            _flush_to_disk(unfinished)
            digest = file_sha256(unfinished)[:16]
            written = unfinished.replace(self.folder / f"step-{step:09d}-{digest}.weights.h5")
            _flush_to_disk(self.folder)
        # What claims to be as new was passed over as damaged.
        damaged = [file for at, file in self._files() if at >= step and file != written]
        for file in damaged + [file for _, file in self._files()[self.keep + len(damaged) :]]:
            file.unlink()

    def any(self):
        """Whether there is a checkpoint, intact or damaged."""
        return bool(self._files())

    def newest(self):
        """Finds the newest intact checkpoint.

        Returns:
            Its step and path; `(0, None)` if there is none.
        """
        for step, file in self._files():
            if file_sha256(file)[:16] == _NAME.fullmatch(file.name)[2]:
                return step, file
            logger.warning("%s is damaged: going back to the checkpoint before it", file)
        return 0, None

    def intact(self, count):
        """The newest intact checkpoints, newest first, up to so many."""
        found = []
        for _, file in self._files():
            if len(found) < count and file_sha256(file)[:16] == _NAME.fullmatch(file.name)[2]:
                found.append(file)
        return found

    def _files(self):
        """Steps and files, newest first."""
        files = self.folder.glob("step-*") if self.folder.is_dir() else ()
        named = [(int(m[1]), file) for file in files if (m := _NAME.fullmatch(file.name))]
        return sorted(named, reverse=True)


def _flush_to_disk(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
