"""Class tables: names, colors, and how masks on disk encode them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IGNORE = 255
"""The label of pixels that count neither in training nor in evaluation, everywhere inside."""


BACKGROUND = "background"
BACKGROUND_COLOR = (64, 64, 64)
"""Name and color of label 0 where there is one object class; black is what does not count."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set: what its labels 0, 1, ... stand for.

    Attributes:
        names: one name per label, no two alike.
        colors: one `(red, green, blue)` of 0..255 per label, for pictures.
        one_logit: whether a network for them gives one logit for the second label, the object, and
            none for the first, the background, instead of one logit per label. Tables that differ
            in nothing else are equal: the labels mean the same.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    one_logit: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors):
            raise ValueError(
                f"A class table needs one color per name. Received: {len(self.names)} names, "
                f"{len(self.colors)} colors"
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"The names of a class table must differ. Received twice: {twice}")
        if self.one_logit and len(self.names) != 2:
            raise ValueError(
                "One logit tells two labels apart, background and object. "
                f"Received: {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """The `num_classes` of a network for these labels: 1 for one logit, else their number."""
        return 1 if self.one_logit else len(self)

    def find(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names of classes as the table writes them, whatever their case: a tuple.

        Raises:
            ValueError: for one that is not in the table.
        """
        known = {name.lower(): name for name in self.names}
        unknown = [name for name in names if name not in self.names and name.lower() not in known]
        if unknown:
            raise ValueError(
                f"No class is called {', '.join(map(repr, unknown))}. The classes are "
                f"{', '.join(self.names)}"
            )
        return tuple(name if name in self.names else known[name.lower()] for name in names)

    @property
    def is_named(self) -> bool:
        """Whether somebody named the classes: false for "class 0", "class 1" and so on."""
        return self.names != unnamed_classes(self.num_classes).names

    def to_json(self) -> dict[str, Any]:
        """The table as values that JSON can hold; `from_json` reads them."""
        entries = {"names": list(self.names), "colors": [list(c) for c in self.colors]}
        return entries | ({"one_logit": True} if self.one_logit else {})

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> ClassTable:
        """The table that `to_json` wrote."""
        colors = tuple(map(tuple, entries["colors"]))
        return cls(tuple(entries["names"]), colors, entries.get("one_logit", False))


def class_table(classes):
    """The `ClassTable` of a table, or of names alone, which get the colors of numbered classes.

        >>> from keras_crosscbam.classes import class_table
        >>> class_table(["background", "road"]).names
        ('background', 'road')

    A single name is that of one kind of object, beside which there is the background.

    Raises:
        ValueError: for anything else, and for a name that is there twice.
    """
    if isinstance(classes, ClassTable):
        return object_classes(*classes.names, *classes.colors) if len(classes) == 1 else classes
    names = () if isinstance(classes, str) or not isinstance(classes, Sequence) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"`classes` must be a ClassTable or a list of names. Received: {classes!r}"
        )
    if len(names) == 1:
        return object_classes(*names)
    return ClassTable(names, numbered_classes(len(names)).colors)


def count_labels(num_classes):
    """How many labels a network of so many classes gives: one class has the background beside it.

    >>> from keras_crosscbam.classes import count_labels
    >>> count_labels(1), count_labels(2), count_labels(19)
    (2, 2, 19)
    """
    return max(num_classes, 2)


def object_classes(name="object", color=(128, 0, 0)):
    """The table of one object class: label 0 is the background, label 1 the object."""
    return ClassTable((BACKGROUND, name), (BACKGROUND_COLOR, color), one_logit=True)


def unnamed_classes(num_classes):
    """The table of a network of so many classes that nobody has named."""
    return object_classes() if num_classes == 1 else numbered_classes(num_classes)


def numbered_classes(count):
    """A table for classes that nobody has named: "class 0", ..., in well separated colors.

    The colors are those of PASCAL VOC: the bits of the number, spread over the three channels.
    """
    colors = []
    for number in range(1, count + 1):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colors.append(tuple(channels))
    return ClassTable(_numbers(count), tuple(colors))


def _numbers(count):
    return tuple(f"class {i}" for i in range(count))


@dataclass(frozen=True)
class IndexEncoding:
    """Masks of one channel that hold ids.

    Attributes:
        ids: which label each id on disk stands for.
        stored: whether the ids are the numbers that a file stores, such as the indices of a
            palette, whatever grays it shows; see `keras_crosscbam.datasets.masks.read_mask`.
        rest: ids that are background only since they are named nowhere else.
    """

    ids: dict[int, int]
    stored: bool = False
    rest: frozenset[int] = frozenset()

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Turns ids `(height, width)` into uint8 labels; `ValueError` names an unknown id."""
        if mask.ndim != 2:
            raise ValueError(
                "expected one channel of class ids; received a color image of shape "
                f"{mask.shape}. Convert it to ids, or use the data set's color layout."
            )
        lookup = np.full(256, -1, np.int16)
        for disk_id, label in self.ids.items():
            lookup[disk_id] = label
        labels = lookup[mask]
        if (labels < 0).any():
            unknown = sorted(set(np.unique(mask).tolist()) - set(self.ids))
            raise ValueError(f"expected ids {_ranges(self.ids)}; received also {unknown[:10]}")
        return labels.astype(np.uint8)

    def count_values(self, pixels: np.ndarray) -> dict[int, int]:
        """The number of pixels of each id that occurs, a dict."""
        counts = np.bincount(pixels.ravel(), minlength=256).tolist()
        return {value: count for value, count in enumerate(counts) if count}


@dataclass(frozen=True)
class ColorEncoding:
    """Masks that hold colors: `colors` says which label each `(r, g, b)` stands for.

    `rest` is the label of all other colors; None refuses them.
    """

    colors: dict[tuple[int, int, int], int]
    rest: int | None = None

    def decode(self, mask: np.ndarray) -> np.ndarray:
        """Turns RGB `(height, width, 3)` into uint8 labels; `ValueError` names a stray color."""
        if mask.ndim != 3:
            raise ValueError(
                "expected a color image; received a single channel. Is this the index layout?"
            )
        packed = _pack(mask[..., :3])
        values, inverse = np.unique(packed, return_inverse=True)
        known = {int(_pack(np.array(c))): label for c, label in self.colors.items()}
        unknown = [v for v in values.tolist() if v not in known]
        if unknown and self.rest is None:
            colors = [(v >> 16, v >> 8 & 255, v & 255) for v in unknown[:5]]
            raise ValueError(
                f"{len(unknown)} colors stand for no class, for instance {colors} "
                "(lossy compression or resizing of a mask makes such colors)"
            )
        labels = np.array([known.get(v, self.rest) for v in values.tolist()], np.uint8)
        return labels[inverse].reshape(mask.shape[:2])

    def count_values(self, pixels: np.ndarray) -> dict[tuple[int, int, int], int]:
        """The number of pixels `(..., 3)` of each `(r, g, b)` that occurs, a dict."""
        values, counts = np.unique(_pack(pixels[..., :3]), return_counts=True)
        colors = [(value >> 16, value >> 8 & 255, value & 255) for value in values.tolist()]
        return dict(zip(colors, counts.tolist(), strict=True))


def _pack(rgb):
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _ranges(ids):
    return f"{min(ids)}..{max(ids)}" if len(ids) == max(ids) - min(ids) + 1 else sorted(ids)


CAMVID_CLASSES = ClassTable(
    names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)

# Name, color, and the id that masks and results on disk have; in the order of the train ids.
_CITYSCAPES = (
    ("road", (128, 64, 128), 7),
    ("sidewalk", (244, 35, 232), 8),
    ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12),
    ("fence", (190, 153, 153), 13),
    ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19),
    ("traffic sign", (220, 220, 0), 20),
    ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22),
    ("sky", (70, 130, 180), 23),
    ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25),
    ("car", (0, 0, 142), 26),
    ("truck", (0, 0, 70), 27),
    ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31),
    ("motorcycle", (0, 0, 230), 32),
    ("bicycle", (119, 11, 32), 33),
)

CITYSCAPES_CLASSES = ClassTable(
    names=tuple(name for name, _, _ in _CITYSCAPES),
    colors=tuple(color for _, color, _ in _CITYSCAPES),
)

CITYSCAPES_IDS = tuple(label_id for _, _, label_id in _CITYSCAPES)
"""The id on disk of each class, which the benchmark's server and scripts want results in."""

CLASS_TABLES = {"camvid": CAMVID_CLASSES, "cityscapes": CITYSCAPES_CLASSES}
"""Class tables by the name that the manifest of weights and the command line use."""
