"""Frames that are decoded once and kept, as long as there is memory for them."""

import logging
import math
import threading
from pathlib import Path

import numpy as np

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

    @property
    def channels(self):
        """The number of channels of the images."""
        return getattr(self.dataset, "channels", 3)

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


def available_memory(root="/"):
    """Bytes that this process may still take without the system or its container running out.

        >>> from keras_crosscbam.datasets.cache import available_memory
        >>> available_memory() > 0
        True

    It is the smallest of Linux' own estimate and of what each control group around the process has
    left (version 1 or 2: Docker, Kubernetes, Slurm, systemd). Files that are merely cached count
    as free.

    Args:
        root: folder that holds `proc` and `sys`.

    Returns:
        A number; infinity where the system does not tell, as on macOS and Windows.
    """
    root = Path(root)
    system = _fields(root / "proc/meminfo").get("MemAvailable:", math.inf)
    return min([1024 * system, *_left_in_groups(root)])


def _left_in_groups(root):
    """What is left under the limit of each control group around the process."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = "memory.max", "memory.current", "inactive_file"
            mount = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            mount = root / "sys/fs/cgroup/memory"
        else:
            continue
        # Every group above limits as well; from within a container only some of them are seen.
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit():
                cached = _fields(folder / "memory.stat").get(names[2], 0)
                yield max(int(limit) - int(used) + cached, 0)
            if folder == mount:
                break


def _fields(path):
    """The numbers of a file of lines `name number ...`."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
