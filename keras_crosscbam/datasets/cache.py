"""Frames that are decoded once and kept, as long as there is memory for them."""

import logging
import threading

import numpy as np

from keras_crosscbam.datasets.memory import available_memory

logger = logging.getLogger(__name__)


class Cached:
    """A data set whose frames stay in memory once they are read.

        >>> from keras_crosscbam.datasets.cache import Cached
        >>> from keras_crosscbam.datasets import load_camvid
        >>> frames = Cached(load_camvid("CamVid", "train"))  # doctest: +SKIP
        >>> image, labels = frames[0]  # doctest: +SKIP

    They take no more memory than they leave free. Frames beyond that are read from their files each
    time, and a warning says so, once.

    Args:
        dataset: a `SegmentationDataset` or `ClassificationDataset`.
    """

    def __init__(self, dataset):
        self.dataset = dataset
        self._frames = {}
        self._bytes = 0
        self._full = False
        self._lock = threading.Lock()

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        frame = self._frames.get(index)
        if frame is None:
            frame = self.dataset[index]
            with self._lock:
                self._keep(index, frame)
        return frame

    def _keep(self, index, frame):
        """Adds a frame, unless the memory is full or another thread has added it."""
        if self._full or index in self._frames:
            return
        size = sum(np.asarray(part).nbytes for part in frame)
        free = available_memory()
        if self._bytes + size > free:
            self._full = True
            logger.warning(
                "%s: %d of %d decoded frames are kept in memory (%.2f GB, with %.2f GB free); the "
                "others are read from their files each time, which is slower",
                self.dataset.name,
                len(self._frames),
                len(self),
                self._bytes / 1e9,
                free / 1e9,
            )
            return
        self._frames[index] = frame
        self._bytes += size
