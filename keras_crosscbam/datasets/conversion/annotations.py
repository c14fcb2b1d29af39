"""Annotations of a folder, independent of their format: classes, images, shapes and masks."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_crosscbam.classes import BACKGROUND, IGNORE

UNLABELED = 254
"""The temporary label of pixels that no annotation covers."""

MOST_CLASSES = 253
"""The largest number of classes: labels 0..252, so that a background class can be added."""


class Shape(Protocol):
    """A shape that draws its label, or its labels, onto uint8 labels `(height, width)`."""

    def paint(self, canvas: np.ndarray) -> None: ...


class Mask(Protocol):
    """A mask that is read as uint8 labels `(height, width)`, including `UNLABELED` and 255."""

    def read(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Frame:
    """An image and its annotations: shapes, a mask, or neither for an image without annotations.

    Attributes:
        image: path of the image file.
        annotation: path of the annotation file, for messages.
        shapes: shapes to draw, in this order. Empty for an annotated image without objects, None
            for an image without annotation or with a mask.
        mask: mask with the labels of all pixels, or None.
        size: `(height, width)` of the annotations; None for the size of the upright image.
        split: `"train"`, `"val"` or `"test"`; None if the source does not specify it.
    """

    image: Path
    annotation: Path
    shapes: tuple[Shape, ...] | None = None
    mask: Mask | None = None
    size: tuple[int, int] | None = None
    split: str | None = None

    @property
    def is_annotated(self):
        """Whether the image was annotated, also if it contains no objects."""
        return self.shapes is not None or self.mask is not None


@dataclass(frozen=True)
class Annotations:
    """All annotations of a folder.

    Attributes:
        names: names of the classes, in the order of their labels.
        frames: images and their annotations.
        order: clause for the report that says which of several overlapping annotations is on top.
        unlabeled: usual meaning of pixels without annotation in the format, `"background"` or
            `"ignore"`; None if each pixel has a label.
        colors: dict from class names to `(red, green, blue)`, for classes that have a color in the
            source.
        notes: messages about omitted annotations and assumptions.
    """

    names: tuple[str, ...]
    frames: tuple[Frame, ...]
    order: str
    unlabeled: str | None
    colors: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class ClassList:
    """Collects the names of classes and assigns labels to them.

    >>> from keras_crosscbam.datasets.conversion.annotations import ClassList
    >>> classes = ClassList(["road", "car"])
    >>> classes.label("car"), classes.label("sky")
    (1, 2)

    Attributes:
        names: names of the classes, in the order of their labels. New names are appended.
        void: names of classes to ignore. The label of a class called unlabeled is `UNLABELED`.
    """

    names: list[str] = field(default_factory=list)
    void: frozenset[str] = frozenset()

    def label(self, name):
        """Returns the label of a class, which is added if it is new."""
        if not name.strip():
            raise ValueError("a class has an empty name")
        if is_unlabeled(name):
            return UNLABELED
        if name in self.void:
            return IGNORE
        if name not in self.names:
            self.names.append(name)
        if len(self.names) > MOST_CLASSES:
            raise ValueError(
                f"more than {MOST_CLASSES} classes, the largest number that masks can contain"
            )
        return self.names.index(name)


def found_classes(found, given, void=frozenset()):
    """Returns a `ClassList` for a format without a list of classes.

    Args:
        found: set of the names in the annotations.
        given: list of names in the order of their labels; None to sort the found names.
        void: as in `ClassList`.

    Raises:
        ValueError: if `given` does not contain all found names.
    """
    names = {name for name in found - void if not is_unlabeled(name)}
    if given is None:
        return ClassList(sorted(names, key=lambda name: (not is_background(name), name)), void)
    if lacking := sorted(names - set(given)):
        raise ValueError(
            f"`classes` must contain the names of all annotations, also {', '.join(lacking)}. "
            f"Received: {', '.join(given)}"
        )
    return ClassList(list(given), void)


def is_unlabeled(name):
    """Returns whether a class name means pixels without annotation."""
    return re.fullmatch(r"unlabell?ed", name.strip("_ ").lower()) is not None


def is_background(name):
    """Returns whether a class name means background, such as `_background_` of LabelMe."""
    return name.strip("_ ").lower() == BACKGROUND
