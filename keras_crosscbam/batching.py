"""Runs networks on batches of images, while other threads read the next images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from keras_crosscbam.confidence import assess
from keras_crosscbam.parallel import parallel_map
from keras_crosscbam.tiling import Tiled


@dataclass
class Item:
    """An image and the network's output for it.

    Attributes:
        source: the source of the image, such as a path.
        size: as in `Runtime.__call__`.
        image: uint8 RGB `(height, width, 3)`.
        output_size: `(height, width)` of the labels.
        resized: the resized image for the network, uint8 `(1, height, width, 3)`.
        output: the result of `Runtime.infer` for the image, with a batch axis; None for a `Tiled`
            network, which runs when the methods are called.
        error: the exception if reading or running failed, or None.
    """

    source: object
    size: tuple[int, int] | int | None = None
    image: np.ndarray | None = None
    output_size: tuple[int, int] | None = None
    resized: np.ndarray | None = None
    output: np.ndarray | None = None
    error: Exception | None = None

    def labels(self, run):
        """Returns uint8 labels `(height, width)`; `run` is the `Runtime` of the output."""
        if self.output is None:
            return run.predict(self.image, self.size, self.output_size)
        return run.labels_of(self.output, self.resized, self.output_size)[0]

    def scores(self, run):
        """Returns float32 scores `(height, width, classes)`; `run` is as in `labels`."""
        if self.output is None:
            return run.scores(self.image, self.size, self.output_size)
        return run.scores_of(self.output, self.resized, self.output_size)[0]

    def assess(self, run, threshold=None):
        """Returns the `keras_crosscbam.confidence.Prediction`; `run` is as in `labels`."""
        if self.output is None:
            return run.assess(self.image, self.size, threshold)
        return assess(self.scores(run), run.description.output, threshold)


def outputs(run, sources, read, size=None, batch=None, workers=1, live=False):
    """Runs a network on images, while other threads read and prepare the next images.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.batching import outputs
        >>> from keras_crosscbam.images import STREET, read_image
        >>> run = kc.runtime.load(kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3)))
        >>> [item.labels(run).shape for item in outputs(run, [STREET], read_image, size=64)]
        [(563, 751)]

    Consecutive images of the same input size are run as a batch. If a batch fails, its images are
    run one by one. Scores differ by rounding between different batch sizes.

    Args:
        run: the `Runtime`. Other threads use it until the iterator ends or is closed.
        sources: an iterable of the sources of images.
        read: a function from a source to the image, uint8 RGB `(height, width, 3)`, or to the image
            and the `(height, width)` of the labels, if that differs.
        size: as in a call of `run`.
        batch: batch size; None for the fixed batch size of the network, or else 1.
        workers: number of threads that read.
        live: whether the sources are live, so that only few of them are read in advance.

    Returns:
        An iterator over one `Item` for each source, in order. If an image fails, its `error` is
        set, and the other images are processed.

    Raises:
        ValueError: for a batch that is not positive or differs from the network's.
    """
    check_batch(run, batch)
    limit = run.batch or batch or 1
    if isinstance(run, Tiled):
        return parallel_map(partial(_read, read, size), sources, ahead=0)
    ahead = 0 if live else 2
    items = parallel_map(partial(_resized, run, read, size), sources, workers, ahead)
    prepared = parallel_map(partial(_prepare, run), _groups(items, limit), ahead=ahead)
    done = parallel_map(partial(_infer, run), prepared, ahead=1)
    return _flat(done)


def check_batch(run, batch):
    """Raises a `ValueError` for a batch size that the network does not support."""
    if batch is None:
        return
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"`batch` must be a positive number of images. Received: {batch}")
    if run.batch not in (None, batch):
        raise ValueError(f"{run.name} is fixed to batches of {run.batch}. Received: batch={batch}")


def _read(read, size, source):
    """Returns the `Item` of a source, with its image or its error."""
    item = Item(source, size)
    try:
        result = read(source)
        item.image, item.output_size = result if isinstance(result, tuple) else (result, None)
        item.output_size = tuple(item.output_size or item.image.shape[:2])
    except Exception as error:  # an error of one image does not affect the others
        item.error = error
    return item


def _resized(run, read, size, source):
    item = _read(read, size, source)
    if item.error is None:
        try:
            item.resized = run.resized(item.image[None], size)
        except Exception as error:  # as above
            item.error = error
    return item


def _groups(items, limit):
    """Yields lists of consecutive items, with up to `limit` images of one size in each."""
    group, count, shape = [], 0, None
    try:
        for item in items:
            if item.error is None:
                if shape not in (None, item.resized.shape):
                    yield group
                    group, count = [], 0
                count, shape = count + 1, item.resized.shape
            group.append(item)
            if count == limit:
                yield group
                group, count, shape = [], 0, None
        if group:
            yield group
    finally:
        items.close()


def _prepare(run, group):
    """Returns the group, its items without an error, and their prepared images."""
    intact = [item for item in group if item.error is None]
    try:
        return group, intact, _prepared(run, intact) if intact else None
    except Exception as error:  # such as a lack of memory
        for item in intact:
            item.error = error
        return group, [], None


def _prepared(run, items):
    return run.prepare(run.filled(np.concatenate([item.resized for item in items])))


def _infer(run, task):
    group, intact, prepared = task
    if not intact:
        return group
    try:
        _take(intact, run.infer(prepared))
    except Exception as error:  # each library raises its own exception classes
        for item in intact:
            item.error = error
        for item in intact if len(intact) > 1 else ():
            try:
                _take([item], run.infer(_prepared(run, [item])))
                item.error = None
            except Exception as own:  # as above
                item.error = own
    return group


def _take(items, output):
    for place, item in enumerate(items):
        item.output = output[place : place + 1]


def _flat(groups):
    try:
        for group in groups:
            yield from group
    finally:
        groups.close()
