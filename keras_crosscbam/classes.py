"""Class tables: the names and colors of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IGNORE = 255
"""The label of pixels that are ignored in training and in evaluation."""


BACKGROUND = "background"
BACKGROUND_COLOR = (64, 64, 64)
"""Color of label 0 in tables of one object class. Black is the color of ignored pixels."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set: the names and colors of its labels 0, 1, ...

    Attributes:
        names: one name per label, all different.
        colors: one `(red, green, blue)` of 0..255 per label, for pictures.
        one_logit: whether a network for these classes outputs a single logit, that of the object
            (label 1), instead of one logit per label. It is ignored when tables are compared.
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
            raise ValueError(
                f"The names of a class table must differ. Received duplicates: {twice}"
            )
        if self.one_logit and len(self.names) != 2:
            raise ValueError(
                "A table with one logit must have two names, background and object. "
                f"Received: {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """The `num_classes` of a network for these labels: 1 for one logit, else their count."""
        return 1 if self.one_logit else len(self)

    def find(self, names: Iterable[str]) -> tuple[str, ...]:
        """Returns the names of classes in the spelling of the table, ignoring case.

        Raises:
            ValueError: for a name that is not in the table.
        """
        known = {name.lower(): name for name in self.names}
        unknown = [name for name in names if name not in self.names and name.lower() not in known]
        if unknown:
            raise ValueError(
                f"No class is named {', '.join(map(repr, unknown))}. The classes are "
                f"{', '.join(self.names)}"
            )
        return tuple(name if name in self.names else known[name.lower()] for name in names)

    @property
    def is_named(self) -> bool:
        """Whether the classes have names other than the default "class 0", "class 1", ..."""
        return self.names != unnamed_classes(self.num_classes).names

    def to_json(self) -> dict[str, Any]:
        """Returns the table as a dict of JSON values, which `from_json` reads."""
        entries = {"names": list(self.names), "colors": [list(c) for c in self.colors]}
        return entries | ({"one_logit": True} if self.one_logit else {})

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> ClassTable:
        """Returns the table that `to_json` wrote."""
        colors = tuple(map(tuple, entries["colors"]))
        return cls(tuple(entries["names"]), colors, entries.get("one_logit", False))


def class_table(classes):
    """Returns a `ClassTable`, built from class names if necessary.

        >>> from keras_crosscbam.classes import class_table
        >>> class_table(["background", "road"]).names
        ('background', 'road')

    A list of names gets the colors of `numbered_classes`. A single name is that of an object class;
    the background is added as label 0.

    Raises:
        ValueError: for other arguments, and for a duplicate name.
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
    """Returns the number of labels for a `num_classes`: 2 for one class and its background.

    >>> from keras_crosscbam.classes import count_labels
    >>> count_labels(1), count_labels(2), count_labels(19)
    (2, 2, 19)
    """
    return max(num_classes, 2)


def object_classes(name="object", color=(128, 0, 0)):
    """Returns the table of one object class: label 0 is the background, label 1 the object."""
    return ClassTable((BACKGROUND, name), (BACKGROUND_COLOR, color), one_logit=True)


def unnamed_classes(num_classes):
    """Returns the default table for a network whose classes have no names."""
    return object_classes() if num_classes == 1 else numbered_classes(num_classes)


def numbered_classes(count):
    """Returns a table for classes without names: "class 0", "class 1", ..., in distinct colors.

    The colors are those of PASCAL VOC: the bits of the number, distributed over the three channels.
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

# Name, color, and id in mask and result files, in the order of the train ids.
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
"""The id of each class in mask files and in results for the Cityscapes benchmark server."""

CLASS_TABLES = {"camvid": CAMVID_CLASSES, "cityscapes": CITYSCAPES_CLASSES}
"""Class tables by the names that the weights manifest and the command line use."""
