"""Segmentation of images and folders: from files to labels, overlays and class shares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.classes import ClassTable
from keras_crosscbam.image_channels import array_to_channels, read_channels, to_channels
from keras_crosscbam.image_files import image_files
from keras_crosscbam.images import check_value_range, failure, save_image
from keras_crosscbam.progress import progress
from keras_crosscbam.visualize import class_shares, overlay

if TYPE_CHECKING:
    from keras_crosscbam.types import ImageLike, ModelLike, Size, ValueRange


def segment(
    model: ModelLike,
    images: ImageLike | Sequence[ImageLike],
    size: Size | int | None = None,
    value_range: ValueRange | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Segments one image or several, each at its own size.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> kc.segment(model, STREET, size=128).shape
        (563, 751)

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

    Returns:
        uint8 labels `(height, width)` of the image's own size, or a list of them for a list; of a
        network of one class, 1 for the object and 0 for background.

    Raises:
        ValueError: for what is no image, with the name of the file, and for an image of more than
            8 bits that would turn almost black or uniform without a `value_range`.
    """
    run = runtime.load(model)
    if isinstance(images, (list, tuple)):
        return [run(_as_array(image, run.channels, value_range), size) for image in images]
    return run(_as_array(images, run.channels, value_range), size)


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
    model, source, out, size=None, classes: ClassTable | None = None, value_range=None
):
    """Segments an image file, or all images of a folder, and writes pictures.

    For each `NAME.EXT` the folder `out` receives `NAME_overlay.png`, the image under the colors of
    its classes with a legend, and `NAME_labels.png`, the labels as indices. Names that differ in
    their extension alone keep it (`NAME.EXT_overlay.png`). A file that cannot be read, segmented or
    written is reported in its place, whatever the error, and the others are still done.

    Args:
        model: as in `segment`.
        source: path of an image or a folder.
        out: folder for the results; made if need be.
        size: as in `segment`.
        classes: as in `keras_crosscbam.runtime.load`.
        value_range: as in `segment`.

    Returns:
        A list of `SegmentedFile`, one for each image in the order of their names.

    Raises:
        ValueError: if the source does not exist, is a folder without images, or if the model
            carries other classes.
    """
    check_value_range(value_range)
    run = runtime.load(model, classes)
    run.check_size(size)
    files = image_files(source, arrays=run.channels != 3)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    names = _result_names(files)
    return [
        _segment_file(run, file, out / names[file], size, value_range)
        for file in progress(files, "images", show=len(files) > 1)
    ]


def _result_names(files):
    """What the results of each file are called: its stem, or its whole name.

    The stems are taken only where they tell all files of the folder apart; `a.jpg.png` has the stem
    `a.jpg`, which may be the whole name of another file.
    """
    stems = Counter(file.stem for file in files)
    whole = {file.name for file in files if stems[file.stem] > 1}
    clear = {file for file in files if stems[file.stem] == 1 and file.stem not in whole}
    return {file: file.stem if file in clear else file.name for file in files}


def _segment_file(run, file, target, size, value_range):
    picture = target.with_name(f"{target.name}_overlay.png")
    try:
        image = read_channels(file, run.channels, value_range)
        labels = run(image, size)
        save_image(overlay(image, labels, run.classes), picture)
        save_image(Image.fromarray(labels), target.with_name(f"{target.name}_labels.png"))
    except Exception as error:  # one file must not cost the others, whatever is wrong with it
        return SegmentedFile(file, error=failure(file, error))
    return SegmentedFile(file, overlay=picture, shares=class_shares(labels, run.classes))
