"""Cache of decoded frames in memory."""

import logging
import math
import threading
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)


class Cached:
    """A data set that keeps its frames in memory after they are read.

        >>> from keras_crosscbam.datasets.cache import Cached
        >>> from keras_crosscbam.datasets import load_camvid
        >>> frames = Cached(load_camvid("CamVid", "train"))  # doctest: +SKIP
        >>> image, labels = frames[0]  # doctest: +SKIP

    The cached frames use at most as much memory as remains free. Further frames are read from
    their files each time, and one warning is logged.

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
        """Number of channels of the images."""
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
        """Adds a frame, except if the memory is full or another thread has added the frame."""
        if self._full or index in self._frames:
            return
        size = sum(np.asarray(part).nbytes for part in frame)
        free = available_memory()
        if self._bytes + size > free:
            self._full = True
            logger.warning(
                "%s: %d of %d decoded frames are kept in memory (%.2f GB, with %.2f GB free). The "
                "other frames are read from their files each time, which is slower",
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
    """Returns the number of bytes that are available to this process.

        >>> from keras_crosscbam.datasets.cache import available_memory
        >>> available_memory() > 0
        True

    It is the minimum of the estimate of Linux and of the memory that is left in each control group
    of the process (version 1 or 2: Docker, Kubernetes, Slurm, systemd). The memory of cached files
    counts as available.

    Args:
        root: folder that contains `proc` and `sys`.

    Returns:
        A number; infinity if the system provides no value, as on macOS and Windows.
    """
    root = Path(root)
    system = _fields(root / "proc/meminfo").get("MemAvailable:", math.inf)
    return min([1024 * system, *_left_in_groups(root)])


def _left_in_groups(root):
    """Yields the memory that is left in each control group of the process, in bytes."""
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
        # Every parent group has a limit, too. In a container only some of them are visible.
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            limit, used = (_text(folder / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit():
                cached = _fields(folder / "memory.stat").get(names[2], 0)
                yield max(int(limit) - int(used) + cached, 0)
            if folder == mount:
                break


def _fields(path):
    """Returns the numbers in a file with lines `name number ...`, as a dict."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
