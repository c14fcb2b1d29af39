"""What a folder's annotations say, whatever their format: classes, images and what is drawn."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from keras_crosscbam.classes import BACKGROUND, IGNORE

UNLABELED = 254
"""The label of pixels that no annotation covers, until it is known what becomes of them."""

MOST_CLASSES = 253
"""Labels 0..252, so that there is room for a background."""


class Shape(Protocol):
    """Anything that paints its label, or its labels, onto uint8 labels `(height, width)`."""

    def paint(self, canvas: np.ndarray) -> None: ...


class Mask(Protocol):
    """Anything that reads uint8 labels `(height, width)`, with `UNLABELED` and 255."""

    def read(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Frame:
    """One image and what was annotated in it: shapes, or a mask, or nothing where it was not.

    Attributes:
        image: the image file.
        annotation: the file that the annotations stand in, for messages.
        shapes: what is painted, one over the other in this order; empty where the image was
            annotated and holds nothing.
        mask: what reads the labels of all pixels, instead of shapes.
        size: `(height, width)` that the annotations are made for; None for that of the upright
            image.
        split: `"train"`, `"val"` or `"test"`; None where the source does not say.
    """

    image: Path
    annotation: Path
    shapes: tuple[Shape, ...] | None = None
    mask: Mask | None = None
    size: tuple[int, int] | None = None
    split: str | None = None

    @property
    def is_annotated(self):
        """Whether there are annotations, if only to say that the image holds nothing."""
        return self.shapes is not None or self.mask is not None


@dataclass(frozen=True)
class Annotations:
    """All of a folder.

    Attributes:
        names: of the classes, in the order of their labels.
        frames: the images.
        order: which annotation lies on top where several overlap, a clause for the report.
        unlabeled: what pixels without annotation are by custom of the format, `"background"` or
            `"ignore"`; None where each pixel has a label.
        colors: the `(red, green, blue)` of classes by their names, where the source has some.
        notes: what was left out or assumed, a sentence each.
    """

    names: tuple[str, ...]
    frames: tuple[Frame, ...]
    order: str
    unlabeled: str | None
    colors: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class ClassList:
    """Collects the names of classes and gives each a label.

    >>> from keras_crosscbam.datasets.conversion.annotations import ClassList
    >>> classes = ClassList(["road", "car"])
    >>> classes.label("car"), classes.label("sky")
    (1, 2)

    Attributes:
        names: those that the source lists, in order; others come behind them.
        void: names whose pixels do not count. What is called unlabeled is `UNLABELED`.
    """

    names: list[str] = field(default_factory=list)
    void: frozenset[str] = frozenset()

    def label(self, name):
        """The label of a class, which is entered if it is new."""
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
                f"more than {MOST_CLASSES} classes, which is as many as masks can hold"
            )
        return self.names.index(name)


def found_classes(found, given, void=frozenset()):
    """The `ClassList` of names in files that list none: in the order given, or sorted.

    Args:
        found: a set of names.
        given: a list of names, or None.
        void: as in `ClassList`.

    Raises:
        ValueError: if a list is given that lacks some of them.
    """
    names = {name for name in found - void if not is_unlabeled(name)}
    if given is None:
        return ClassList(sorted(names, key=lambda name: (not is_background(name), name)), void)
    if lacking := sorted(names - set(given)):
        raise ValueError(
            f"`classes` must hold the names of all annotations, also {', '.join(lacking)}. "
            f"Received: {', '.join(given)}"
        )
    return ClassList(list(given), void)


def is_unlabeled(name):
    """Whether a class stands for pixels without annotation."""
    return re.fullmatch(r"unlabell?ed", name.strip("_ ").lower()) is not None


def is_background(name):
    """Whether a class is called background, as in `_background_` of LabelMe."""
    return name.strip("_ ").lower() == BACKGROUND
