"""Several images in one run of a network, while other threads read the next ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from keras_crosscbam.confidence import assess
from keras_crosscbam.parallel import parallel_map
from keras_crosscbam.tiling import Tiled


@dataclass
class Item:
    """An image on its way through a network.

    Attributes:
        source: what it is read from.
        size: as in a call of a `Runtime`.
        image: uint8 RGB `(height, width, 3)`.
        output_size: `(height, width)` of the labels asked for.
        resized: the image as the network sees it, uint8 `(1, height, width, 3)`.
        output: what `Runtime.infer` returned for it, with its axis of batches; None of a network
            that sees the image in tiles, which runs when the methods are called.
        error: what went wrong on the way, or None.
    """

    source: object
    size: tuple[int, int] | int | None = None
    image: np.ndarray | None = None
    output_size: tuple[int, int] | None = None
    resized: np.ndarray | None = None
    output: np.ndarray | None = None
    error: Exception | None = None

    def labels(self, run):
        """The uint8 labels `(height, width)` by the `Runtime` that the item has gone through."""
        if self.output is None:
            return run.predict(self.image, self.size, self.output_size)
        return run.labels_of(self.output, self.resized, self.output_size)[0]

    def scores(self, run):
        """The float32 scores `(height, width, classes)`, likewise."""
        if self.output is None:
            return run.scores(self.image, self.size, self.output_size)
        return run.scores_of(self.output, self.resized, self.output_size)[0]

    def assess(self, run, threshold=None):
        """The `keras_crosscbam.confidence.Prediction`, likewise."""
        if self.output is None:
            return run.assess(self.image, self.size, threshold)
        return assess(self.scores(run), run.description.output, threshold)


def outputs(run, sources, read, size=None, batch=None, workers=1, live=False):
    """Runs a network on a stream of images; reading and preparing the next ones does not stop it.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.batching import outputs
        >>> from keras_crosscbam.images import STREET, read_image
        >>> run = kc.runtime.load(kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3)))
        >>> [item.labels(run).shape for item in outputs(run, [STREET], read_image, size=64)]
        [(563, 751)]

    Images that follow one another and have one size for the network are run together. Where a batch
    fails, its images are run one by one. By how they are grouped, scores differ by rounding.

    Args:
        run: the `Runtime`; it is used by other threads until the iterator ends or is closed.
        sources: an iterable of what the images are read from.
        read: a function from a source to the image, uint8 RGB `(height, width, 3)`, or to the image
            and the `(height, width)` of the labels, where that is another one.
        size: as in a call of `run`.
        batch: how many images to run at once; None for the number that the network is fixed to, or
            else 1.
        workers: how many threads read.
        live: whether the sources are of this moment, so that few of them are taken ahead of use.

    Returns:
        An iterator over one `Item` for each source, in their order. What goes wrong with one is its
        `error`, and the others go on.

    Raises:
        ValueError: for a batch that is not positive or not the network's.
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
    """Raises a `ValueError` for a number of images that a network cannot be run on at once."""
    if batch is None:
        return
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"`batch` must be a positive number of images. Received: {batch}")
    if run.batch not in (None, batch):
        raise ValueError(f"{run.name} is fixed to batches of {run.batch}. Received: batch={batch}")


def _read(read, size, source):
    """The `Item` of a source, with its image or its error."""
    item = Item(source, size)
    try:
        result = read(source)
        item.image, item.output_size = result if isinstance(result, tuple) else (result, None)
        item.output_size = tuple(item.output_size or item.image.shape[:2])
    except Exception as error:  # one image must not cost the others, whatever is wrong with it
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
    """Lists of items that follow one another, up to `limit` images of one size in each."""
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
    """The group, its intact items, and their images as the network takes them."""
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
    except Exception as error:  # every library raises classes of its own
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
