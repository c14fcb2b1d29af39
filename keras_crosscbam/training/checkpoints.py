"""Checkpoints of a training, with checksums that detect damaged files."""

import logging
import os
import re

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.training.atomic import writing

logger = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.weights\.h5")


class Checkpoints:
    """The newest states of a training: `.weights.h5` files with the state of the optimizer.

        >>> from pathlib import Path
        >>> from keras_crosscbam.training.checkpoints import Checkpoints
        >>> Checkpoints(Path("runs/new")).newest()  # none yet: no step, no file
        (0, None)

    The name of a file contains the step and the start of its SHA-256. A file gets this name only
    after it is completely written to the disk. A file whose contents do not match its name is
    damaged and is skipped.

    Args:
        folder: `pathlib.Path` of the folder of the checkpoints.
        keep: number of files to keep.
    """

    def __init__(self, folder, keep=2):
        self.folder = folder
        self.keep = keep

    def save(self, model, step):
        """Writes the state of a model after `step` steps, then removes the oldest files.

        Raises:
            RuntimeError: if the file cannot be written, for example on a full disk. Existing files
                are not changed.
        """
        what = f"{self.folder}: the checkpoint of step {step}"
        with writing(self.folder / "unfinished.weights.h5", what) as unfinished:
            self.folder.mkdir(parents=True, exist_ok=True)
            model.save_weights(unfinished)
            _flush_to_disk(unfinished)
            digest = file_sha256(unfinished)[:16]
            written = unfinished.replace(self.folder / f"step-{step:09d}-{digest}.weights.h5")
            _flush_to_disk(self.folder)
        # Other files of this or a later step are damaged: `newest` has skipped them.
        damaged = [file for at, file in self._files() if at >= step and file != written]
        for file in damaged + [file for _, file in self._files()[self.keep + len(damaged) :]]:
            file.unlink()

    def any(self):
        """Returns whether there is a checkpoint, intact or damaged."""
        return bool(self._files())

    def newest(self):
        """Finds the newest intact checkpoint.

        Returns:
            Its step and path; `(0, None)` if there is none.
        """
        for step, file in self._files():
            if file_sha256(file)[:16] == _NAME.fullmatch(file.name)[2]:
                return step, file
            logger.warning("%s is damaged: using the previous checkpoint", file)
        return 0, None

    def intact(self, count):
        """Returns the files of up to `count` newest intact checkpoints, newest first."""
        found = []
        for _, file in self._files():
            if len(found) < count and file_sha256(file)[:16] == _NAME.fullmatch(file.name)[2]:
                found.append(file)
        return found

    def _files(self):
        """Returns pairs of step and file, newest first."""
        files = self.folder.glob("step-*") if self.folder.is_dir() else ()
        named = [(int(m[1]), file) for file in files if (m := _NAME.fullmatch(file.name))]
        return sorted(named, reverse=True)


def _flush_to_disk(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
