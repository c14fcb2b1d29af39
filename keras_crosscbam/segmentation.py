"""Segmentation of images and folders: from files to labels, overlays and class shares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.batching import check_batch, outputs
from keras_crosscbam.classes import ClassTable
from keras_crosscbam.confidence import (
    assess,
    check_threshold,
    confidence_pictures,
    probabilities_of,
)
from keras_crosscbam.image_channels import array_to_channels, read_channels, to_channels
from keras_crosscbam.image_files import image_files
from keras_crosscbam.images import check_value_range, failure, save_image
from keras_crosscbam.parallel import parallel_map
from keras_crosscbam.progress import progress
from keras_crosscbam.tiling import Tiled
from keras_crosscbam.visualize import class_shares, overlay

if TYPE_CHECKING:
    from keras_crosscbam.types import ImageLike, ModelLike, Size, ValueRange


def segment(
    model: ModelLike,
    images: ImageLike | Sequence[ImageLike],
    size: Size | int | None = None,
    value_range: ValueRange | None = None,
    batch: int | None = None,
    threshold: float | None = None,
    return_probabilities: bool = False,
) -> np.ndarray | tuple | list:
    """Segments one image or several, each at its own size.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> kc.segment(model, STREET, size=128).shape
        (563, 751)

    Large images go through a network in tiles: `kc.segment(kc.Tiled(model, (720, 960)), image)`.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        images: an image, or a list or tuple of them. An image is a path, a `PIL.Image.Image` of
            any mode, or a uint8 array `(height, width)` or `(height, width, 1, 3 or 4)`. For a
            network of one channel it becomes gray, for one of three RGB; for one of another number
            it must have that number, see `keras_crosscbam.image_channels.read_channels`.
        size: what to resize an image to for the network: `(height, width)`, or one number, the
            shorter side; None for the network's size, or the image's own if the network takes any.
        value_range: `(low, high)`, the values that are black and white in images of more than 8
            bits a channel; None for `(0, 65535)`.
        batch: how many images of a list to run at once, where they have one size for the network
            and follow one another; None for the number that the network is fixed to, or else 1.
        threshold: a probability of 0..1; labels of a smaller one become 255. None for none.
        return_probabilities: whether to return the probabilities of the classes too.

    Returns:
        uint8 labels `(height, width)` of the image's own size, or a list of them for a list; of a
        network of one class, 1 for the object and 0 for background. With `return_probabilities` a
        pair instead of the labels: labels, and float32 probabilities `(height, width, classes)`,
        of which a network of one class has two.

    Raises:
        ValueError: for what is no image, with the name of the file, for an image of more than
            8 bits that would turn almost black or uniform without a `value_range`, and for
            a `threshold` or `return_probabilities` with a network that gives labels alone.
    """
    run = runtime.load(model)
    check_threshold(threshold)
    if threshold is not None or return_probabilities:
        run.check_scores()
    several = isinstance(images, (list, tuple))
    read = partial(_as_array, channels=run.channels, value_range=value_range)
    results = []
    for item in outputs(run, images if several else [images], read, size, batch):
        if item.error is not None:
            raise item.error
        if return_probabilities:
            scores = item.scores(run)
            labels = assess(scores, run.description.output, threshold).labels
            results.append((labels, probabilities_of(scores, run.description.output)))
        elif threshold is not None:
            results.append(item.assess(run, threshold).labels)
        else:
            results.append(item.labels(run))
    return results if several else results[0]


def _as_array(image, channels, value_range):
    if isinstance(image, (str, os.PathLike)):
        return read_channels(image, channels, value_range)
    if isinstance(image, Image.Image):
        return to_channels(image, channels, value_range)
    return array_to_channels(image, channels)


@dataclass(frozen=True)
class SegmentedFile:
    """What `segment_files` made of one file.

    Attributes:
        path: the image.
        error: why it could not be segmented, or None; then the rest is empty.
        overlay: the picture written.
        shares: share of the pixels by class name.
    """

    path: Path
    error: str | None = None
    overlay: Path | None = None
    shares: dict[str, float] | None = None


def segment_files(
    model,
    source,
    out,
    size=None,
    classes: ClassTable | None = None,
    value_range=None,
    batch=None,
    threshold=None,
    confidence=False,
    shown=None,
):
    """Segments an image file, or all images of a folder, and writes pictures.

    For each `NAME.EXT` the folder `out` receives `NAME_overlay.png`, the image under the colors of
    its classes with a legend, and `NAME_labels.png`, the labels as indices. Names that differ in
    their extension alone keep it (`NAME.EXT_overlay.png`). A file that cannot be read, segmented or
    written is reported in its place, whatever the error, and the others are still done. Files are
    read and pictures are written by other threads while the network runs.

    Args:
        model: as in `segment`. A `keras_crosscbam.Tiled` takes one image at a time.
        source: path of an image or a folder, or a list of paths of images.
        out: folder for the results; made if need be.
        size: as in `segment`.
        classes: as in `keras_crosscbam.runtime.load`.
        value_range: as in `segment`.
        batch: as in `segment`.
        threshold: as in `segment`.
        confidence: whether to write `NAME_probability.png`, `NAME_entropy.png` and
            `NAME_confidence.png` too; see `keras_crosscbam.confidence.confidence_pictures`.
        shown: names of the classes that the overlay draws, in any case; None for all.

    Returns:
        A list of `SegmentedFile`, one for each image in the order of their names.

    Raises:
        ValueError: if the source does not exist, is a folder without images, if the model carries
            other classes, and for arguments that do not fit the network.
    """
    check_value_range(value_range)
    check_threshold(threshold)
    run = runtime.load(model, classes)
    run.check_size(size)
    check_batch(run, batch)
    assessed = confidence or threshold is not None
    if assessed:
        run.check_scores()
    shown = None if shown is None else run.classes.find(shown)
    files = source if isinstance(source, list) else image_files(source, arrays=run.channels != 3)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    names = result_names(files)
    read = partial(read_channels, channels=run.channels, value_range=value_range)

    def write(item):
        try:
            if item.error is not None:
                raise item.error
            prediction = item.assess(run, threshold) if assessed else None
            labels = prediction.labels if assessed else item.labels(run)
            target = out / names[item.source]
            pictures = confidence_pictures(prediction) if confidence else {}
            return _write(item, labels, run.classes, target, pictures, shown)
        except Exception as error:  # one file must not cost the others, whatever is wrong with it
            return SegmentedFile(item.source, error=failure(item.source, error))

    items = outputs(run, files, read, size, batch, workers=2)
    # A network that sees an image in tiles runs where its labels are asked for, one at a time.
    workers = 1 if isinstance(run, Tiled) else 2
    results = parallel_map(write, items, workers, ahead=1)
    return [next(results) for _ in progress(files, "images", show=len(files) > 1)]


def _write(item, labels, classes, target, pictures, shown):
    picture = target.with_name(f"{target.name}_overlay.png")
    save_image(overlay(item.image, labels, classes, shown=shown), picture)
    for kind, image in {"labels": Image.fromarray(labels), **pictures}.items():
        save_image(image, target.with_name(f"{target.name}_{kind}.png"))
    return SegmentedFile(item.source, overlay=picture, shares=class_shares(labels, classes))


def result_names(files):
    """What the results of each file are called: its stem, or its whole name.

    The stems are taken only where they tell all files of the folder apart; `a.jpg.png` has the stem
    `a.jpg`, which may be the whole name of another file.
    """
    stems = Counter(file.stem for file in files)
    whole = {file.name for file in files if stems[file.stem] > 1}
    clear = {file for file in files if stems[file.stem] == 1 and file.stem not in whole}
    return {file: file.stem if file in clear else file.name for file in files}
