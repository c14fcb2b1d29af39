"""A loaded network and the timing of its calls."""

import contextlib
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam import runtime
from keras_crosscbam.benchmark.machine import memory, reset_peak, versions
from keras_crosscbam.benchmark.paper_protocols import PROTOCOLS, measure
from keras_crosscbam.benchmark.statistics import is_settled
from keras_crosscbam.benchmark.timing import stopwatch
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.image_channels import read_channels
from keras_crosscbam.runtime.loading import ENGINES, split
from keras_crosscbam.runtime.resize import bilinear

WARM_UP_SECONDS, WARM_UP_CALLS = 20.0, 2000
"""Limits of a warm-up that does not become stable."""

FEWEST_CALLS, MOST_CALLS = 3, 500
"""Limits of the number of calls in a turn."""


@dataclass(frozen=True)
class Task:
    """The work that every contender does.

    Attributes:
        image: path of the image file.
        size: `(height, width)` for networks of any size; None for the size of the image.
        batch: batch size for networks of any batch size.
        threads: number of threads of the runtime; None for its default.
    """

    image: str
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int | None = None


class Contender:
    """A network in this process.

        >>> import keras
        >>> from keras_crosscbam.benchmark.contender import Contender, Task
        >>> from keras_crosscbam.images import STREET
        >>> image = keras.Input((64, 96, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(11, 1)(image))
        >>> contender = Contender(model, Task(str(STREET)))
        >>> contender.load()["size"]
        [64, 96]
        >>> calls = contender.warm_up("network", turn_seconds=0.01)["turn_calls"]
        >>> len(contender.turn("network", calls)) == calls
        True

    The arguments and results of its methods are JSON values, so that `worker_process.Worker` can
    have the same methods.

    Args:
        model: a model of `keras_crosscbam.runtime.load`.
        task: a `Task`.
    """

    def __init__(self, model, task):
        self._model, self._task = model, task

    def load(self):
        """Loads the network and the image.

        Returns:
            A dict of properties of the network: `size`, the (height, width) of the timed images,
            and `batch`; `pixels`, `output` and `extra` from its description; the number of
            `classes`; the `clock` that times the network alone; `file_bytes` and `sha256`, None for
            a model that is not a file; `versions` of the libraries that this process has imported.

        Raises:
            ValueError, RuntimeError, ImportError: if the model cannot be loaded or run, or the
                image cannot be read.
        """
        reset_peak()
        self._memory_before = memory("VmRSS")
        self._runtime = run = runtime.load(self._model, threads=self._threads())
        size, batch = run.size or self._task.size, run.batch or self._task.batch
        frame = read_channels(self._task.image, run.channels)
        if size is not None:
            frame = bilinear(frame, tuple(size))
        self._images = np.repeat(frame[None], batch, axis=0)
        self._stopwatches = {}
        # `labels` checks the images and raises clear errors; the network alone does not.
        run.labels(self._images)
        path = Path(run.name)
        return {
            "runtime": type(run).__name__,
            "size": list(self._images.shape[1:3]),
            "batch": batch,
            "pixels": run.dtype.name,
            "output": run.description.output,
            "extra": run.description.extra,
            "classes": run.num_classes,
            "clock": "device" if hasattr(run, "time_device") else "wall",
            "file_bytes": sum(file.stat().st_size for file in _files(path)) or None,
            "sha256": file_sha256(path) if path.is_file() else None,
            "versions": versions(),
        }

    def warm_up(self, scope, turn_seconds):
        """Calls the network until the time of its calls is stable.

        Returns:
            A dict of the number of `calls`, their `seconds`, whether the time became `stable`, and
            `turn_calls`, the number of calls in a turn of about `turn_seconds`.
        """
        size = None if self._runtime.size else self._task.size
        time_calls = stopwatch(scope, self._runtime, self._images, self._task.image, size)
        self._stopwatches[scope] = time_calls
        seconds = []
        while (
            not is_settled(seconds)
            and sum(seconds) < WARM_UP_SECONDS
            and len(seconds) < WARM_UP_CALLS
        ):
            seconds += time_calls(1)
        wanted = math.ceil(turn_seconds / max(np.median(seconds[-5:]), 1e-9))
        return {
            "calls": len(seconds),
            "seconds": sum(seconds),
            "stable": is_settled(seconds),
            "turn_calls": min(max(wanted, FEWEST_CALLS), MOST_CALLS),
        }

    def turn(self, scope, calls):
        """Returns the seconds of each of a number of calls, after one call that is not counted.

        The first call is slower, because the data is no longer in the caches and the threads are
        asleep after the turns of other contenders.
        """
        time_calls = self._stopwatches[scope]
        time_calls(1)
        return time_calls(calls)

    def protocol(self, name, limit):
        """Repeats a published loop; returns a `paper_protocols.Published` as a dict."""
        return asdict(measure(PROTOCOLS[name], self._runtime, self._images, limit))

    def usage(self):
        """Returns the processor time in seconds and the memory in bytes of this process."""
        return {
            "cpu_seconds": time.process_time(),
            "memory_before": self._memory_before,
            "memory_peak": memory("VmHWM"),
        }

    def close(self):
        """Releases the network."""
        self._runtime = self._stopwatches = None

    def _threads(self):
        """Returns the number of threads, if the engine has that option; others use the affinity."""
        if not isinstance(self._model, str | Path):
            return None
        _, engine = split(self._model)
        return self._task.threads if "threads" in ENGINES[engine].options else None


def _files(path):
    """Returns the files of a model: those in a folder, or a file and OpenVINO's weights."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    weights = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    return [file for file in (path, *weights) if file.is_file()]


def allowed_cores():
    """Returns the numbers of the cores that this process may use, or None if unknown."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@contextlib.contextmanager
def pinned(threads):
    """Limits the number of cores of threads and processes that start inside the context.

        >>> import os
        >>> from keras_crosscbam.benchmark.contender import allowed_cores, pinned
        >>> with pinned(1):
        ...     print(len(allowed_cores() or [0]))
        1

    Running threads keep their cores, except for the calling thread.

    Args:
        threads: number of cores; None for no limit.

    Raises:
        ValueError: if this process may not use that many cores.
    """
    before = allowed_cores()
    if threads is None or before is None:
        yield
        return
    if not 1 <= threads <= len(before):
        raise ValueError(
            f"`threads` must be between 1 and the {len(before)} cores that this process may use. "
            f"Received: {threads}"
        )
    os.sched_setaffinity(0, sorted(before, key=_sibling_rank)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _sibling_rank(core):
    """Returns the rank of a logical processor among those that share its core."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if not siblings.is_file():
        return 0
    text = siblings.read_text().strip().replace("-", ",")
    return text.split(",").index(str(core)) if str(core) in text.split(",") else len(text)
