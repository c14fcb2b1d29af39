"""Networks that the demo page offers."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keras_crosscbam import runtime
from keras_crosscbam.classes import CLASS_TABLES, ClassTable
from keras_crosscbam.manifest import list_weights
from keras_crosscbam.runtime.loading import split
from keras_crosscbam.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import numpy as np

    from keras_crosscbam.runtime import Runtime
    from keras_crosscbam.types import ModelLike, Size, StrPath

WEIGHTS = "camvid"
"""The shipped weights that the page offers."""


class DemoNetwork:
    """A network that is loaded when it is first used, and runs in one thread at a time.

        >>> from keras_crosscbam.demo import DemoNetwork
        >>> network = DemoNetwork("ours", lambda: "m.onnx", size=600)
        >>> with network.loaded() as run:  # doctest: +SKIP
        ...     labels = run(image, network.size_for(run))

    Args:
        name: name in the list of the page.
        open_model: a function that returns what `keras_crosscbam.runtime.load` takes.
        size: as in `keras_crosscbam.segment`, for a network that takes images of any size.
        classes: the `ClassTable`, if it is known before the network is loaded.
    """

    def __init__(
        self,
        name: str,
        open_model: Callable[[], ModelLike],
        size: Size | int,
        classes: ClassTable | None = None,
    ) -> None:
        self.name, self.classes = name, classes
        self._open, self._size = open_model, size
        self._lock = threading.Lock()
        self._run: Runtime | None = None
        self._warm: set[tuple[int, ...]] = set()

    @contextmanager
    def loaded(self) -> Generator[Runtime, None, None]:
        """Returns a context with the `Runtime`, which no other thread uses."""
        with self._lock:
            if self._run is None:
                self._run = runtime.load(self._open())
            yield self._run

    def size_for(self, run: Runtime) -> Size | int | None:
        """Returns the size that images are resized to, or None if the network's is fixed."""
        return None if run.size else self._size

    def warm_up(self, run: Runtime, prepared: np.ndarray) -> None:
        """Runs the network once for each new input shape, so that compilation is not timed."""
        if prepared.shape not in self._warm:
            run.infer(prepared)
            self._warm.add(prepared.shape)


def networks(
    files: Iterable[StrPath] = (), size: Size | int | None = None
) -> dict[str, DemoNetwork]:
    """Returns the networks of the page by name: the files, then those of the shipped weights.

        >>> from keras_crosscbam.demo import networks
        >>> list(networks())
        ['Cross-CBAM-M, camvid (Keras)', 'Cross-CBAM-L, camvid (Keras)']

    Args:
        files: paths, or addresses on the Hugging Face Hub, that `keras_crosscbam.runtime.load`
            takes.
        size: as in `keras_crosscbam.segment`, for networks that take images of any size. None for
            the shorter side that the shipped weights were trained at, 600.

    Raises:
        ValueError: for a file that does not exist or that no engine runs.
    """
    shipped = [_shipped(variant, size) for variant in ("M", "L")]
    default = size or _trained_side("M")
    found = [_from_file(file, default) for file in files]
    return {network.name: network for network in (*found, *shipped)}


def _from_file(file, size):
    engine = split(file)[1]
    name = str(file).removeprefix(f"{engine}:")
    return DemoNetwork(f"{name} ({engine})", lambda: file, size)


def _shipped(variant, size):
    def build():
        import keras_crosscbam as kc

        return getattr(kc, f"CrossCBAM_{variant}")(weights=WEIGHTS, input_shape=(None, None, 3))

    name = f"Cross-CBAM-{variant}, {WEIGHTS} (Keras)"
    return DemoNetwork(name, build, size or _trained_side(variant), CLASS_TABLES[WEIGHTS])


def _trained_side(variant):
    """Returns the shorter side that the shipped weights of a variant were trained at."""
    architecture = VARIANTS[variant].architecture
    entries = list_weights()[WEIGHTS]
    return next(min(e["input_size"]) for e in entries if e["architecture"] == architecture)
