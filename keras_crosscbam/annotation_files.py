"""Predictions as annotations: what a network says, for people to correct in their tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam import runtime
from keras_crosscbam.batching import check_batch
from keras_crosscbam.classes import class_table
from keras_crosscbam.datasets.class_mapping import relabeling
from keras_crosscbam.datasets.conversion.prelabels import PRELABELS
from keras_crosscbam.label_files import check_failures, predict_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.types import ModelLike, Size, StrPath, ValueRange


def write_annotations(
    model: ModelLike,
    images: Sequence[StrPath],
    out: StrPath,
    format: str,
    size: Size | int | None = None,
    progress: bool = False,
    root: StrPath | None = None,
    classes: ClassTable | None = None,
    value_range: ValueRange | None = None,
    batch: int | None = None,
) -> list[Path]:
    """Writes the predicted labels of images as annotations that a tool can import.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.annotation_files import write_annotations
        >>> images = kc.datasets.split_images("mydata", "test")  # doctest: +SKIP
        >>> write_annotations("m.onnx", images, "prelabels", "cvat")  # doctest: +SKIP

    `crosscbam convert prelabels --images DIR` reads the corrected files. Images are not copied.
    Pixels of a class called background stay without annotation.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        images: paths of images.
        out: folder for the files; made if need be.
        format: `"coco"`, `"yolo"`, `"labelstudio"` or `"cvat"`.
        size: as in `keras_crosscbam.segment`.
        progress: whether to print how far it is.
        root: a folder that all images are in; annotations name images by their path below it, or
            else by their name alone.
        classes: the `ClassTable` whose order and names are written; None for the model's own.
        value_range, batch: as in `keras_crosscbam.segment`.

    Returns:
        The paths written, a list.

    Raises:
        ValueError: before anything is written, for an unknown format, two images of one name, a
            model whose classes have other names, and a size that is not the model's.
        keras_crosscbam.label_files.PredictionError: in the end, for images that could not be
            predicted on, with their names; the others are written.
        ModuleNotFoundError: if COCO is written without the extra `convert`.
    """
    if format not in PRELABELS:
        raise ValueError(f"`format` must be one of {', '.join(PRELABELS)}. Received: {format!r}")
    run = runtime.load(model)
    run.check_size(size)
    check_batch(run, batch)
    lookup = relabeling(run.classes, classes, run.name, "the data set")
    prelabels = PRELABELS[format](class_table(classes or run.classes))
    named: dict[str, Path] = {}
    stems: dict[str, Path] = {}
    for image in map(Path, images):
        name = (image.relative_to(root) if root else Path(image.name)).as_posix()
        # YOLO's files of labels have no other extension.
        stem = name.rpartition(".")[0]
        if stem in stems:
            raise ValueError(f"{stems[stem]} and {image} would have the same name, {stem}")
        named[name], stems[stem] = image, image

    def add(name, labels):
        prelabels.add(name, np.asarray(lookup[labels]))

    failures = predict_each(run, named, add, size, value_range, progress, batch)
    Path(out).mkdir(parents=True, exist_ok=True)
    written = prelabels.save(Path(out))
    check_failures(failures, len(named))
    return written
