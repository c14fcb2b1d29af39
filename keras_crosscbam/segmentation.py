"""Segments images and folders of images, and writes labels, overlays and class shares."""

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
    """Segments one or several images and returns labels at the size of each image.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> kc.segment(model, STREET, size=128).shape
        (563, 751)

    Large images can be segmented in tiles: `kc.segment(kc.Tiled(model, (720, 960)), image)`.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        images: an image, or a list or tuple of them. An image is a path, a `PIL.Image.Image` of
            any mode, or a uint8 array `(height, width)` or `(height, width, 1, 3 or 4)`. It is
            converted to gray for a network of one channel and to RGB for one of three. For another
            number it must have that number of channels, see
            `keras_crosscbam.image_channels.read_channels`.
        size: the size that images are resized to for the network: `(height, width)`, or the shorter
            side as an int; None for the network's size, or the image's if the network takes any.
        value_range: `(low, high)`, the values of black and white in images of more than 8 bits per
            channel; None for `(0, 65535)`.
        batch: batch size for consecutive images of a list with the same input size; None for the
            fixed batch size of the network, or else 1.
        threshold: labels with a smaller probability than this, 0..1, are set to 255. None for no
            threshold.
        return_probabilities: whether to also return the probabilities of the classes.

    Returns:
        uint8 labels `(height, width)` at the size of the image, or a list for a list of images. For
        a network of one class, 1 is the object and 0 the background. With `return_probabilities`, a
        pair of labels and float32 probabilities `(height, width, classes)`, with two classes for a
        network of one class.

    Raises:
        ValueError: for a file that is not an image, for an image of more than 8 bits that would
            become almost black or uniform without a `value_range`, and for a `threshold` or
            `return_probabilities` with a network that outputs labels only. The message names the
            file.
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
    """The result of `segment_files` for one file.

    Attributes:
        path: path of the image.
        error: the error message if the image could not be segmented, or None.
        overlay: path of the overlay picture; None after an error.
        shares: dict from class name to share of the pixels; None after an error.
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
    """Segments an image file, or all images in a folder, and writes pictures.

    For each `NAME.EXT` it writes to the folder `out`: `NAME_overlay.png`, the image with the colors
    of its classes and a legend, and `NAME_labels.png`, the labels as indices. If names differ only
    in their extension, the extension is kept (`NAME.EXT_overlay.png`). If a file cannot be read,
    segmented or written, its error is reported, and the other files are processed. Other threads
    read files and write pictures while the network runs.

    Args:
        model: as in `segment`. A `keras_crosscbam.Tiled` processes one image at a time.
        source: path of an image or a folder, or a list of paths of images.
        out: folder for the results; created if it does not exist.
        size: as in `segment`.
        classes: as in `keras_crosscbam.runtime.load`.
        value_range: as in `segment`.
        batch: as in `segment`.
        threshold: as in `segment`.
        confidence: whether to also write `NAME_probability.png`, `NAME_entropy.png` and
            `NAME_confidence.png`; see `keras_crosscbam.confidence.confidence_pictures`.
        shown: names of the classes in the overlay, ignoring case; None for all.

    Returns:
        A list of `SegmentedFile`, one for each image, sorted by name.

    Raises:
        ValueError: if the source does not exist or is a folder without images, if the model
            contains other classes, and for arguments that the network does not support.
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
        except Exception as error:  # an error of one file does not affect the others
            return SegmentedFile(item.source, error=failure(item.source, error))

    items = outputs(run, files, read, size, batch, workers=2)
    # A `Tiled` network runs when its labels are computed, so only one thread may do that.
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
    """Returns a dict from file to the name of its results: the stem or the complete file name.

    The stem is used if it is unique in the folder. It must also differ from complete names, because
    `a.jpg.png` has the stem `a.jpg`, which may be the name of another file.
    """
    stems = Counter(file.stem for file in files)
    whole = {file.name for file in files if stems[file.stem] > 1}
    clear = {file for file in files if stems[file.stem] == 1 and file.stem not in whole}
    return {file: file.stem if file in clear else file.name for file in files}
