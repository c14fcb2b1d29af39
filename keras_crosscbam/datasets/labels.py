"""Class tables: names, colours, and how masks on disk encode them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

IGNORE = 255
"""The label of pixels that count neither in training nor in evaluation, everywhere inside."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, in the order of the network's outputs.

    Attributes:
        names: one name per class, no two alike.
        colours: one `(red, green, blue)` of 0..255 per class, for pictures.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        if len(self.names) != len(self.colours):
            raise ValueError(
                f"A class table needs one colour per name. Received: {len(self.names)} names, "
                f"{len(self.colours)} colours"
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"The names of a class table must differ. Received twice: {twice}")

    def __len__(self):
        return len(self.names)

    @property
    def is_named(self):
        """Whether somebody named the classes: false for "class 0", "class 1" and so on."""
        return self.names != _numbers(len(self))

    def to_json(self):
        """The table as values that JSON can hold; `from_json` reads them."""
        return {"names": list(self.names), "colours": [list(c) for c in self.colours]}

    @classmethod
    def from_json(cls, entries):
        """The table that `to_json` wrote."""
        return cls(tuple(entries["names"]), tuple(map(tuple, entries["colours"])))


def class_table(classes):
    """The `ClassTable` of a table, or of names alone, which get the colours of numbered classes.

        >>> from keras_crosscbam.datasets.labels import class_table
        >>> class_table(["background", "road"]).names
        ('background', 'road')

    Raises:
        ValueError: for anything else, and for a name that is there twice.
    """
    if isinstance(classes, ClassTable):
        return classes
    names = () if isinstance(classes, str) or not isinstance(classes, Sequence) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"`classes` must be a ClassTable or a list of names. Received: {classes!r}"
        )
    return ClassTable(names, numbered_classes(len(names)).colours)


def numbered_classes(count):
    """A table for classes that nobody has named: "class 0", ..., in well separated colours.

    The colours are those of PASCAL VOC: the bits of the number, spread over the three channels.
    """
    colours = []
    for number in range(1, count + 1):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colours.append(tuple(channels))
    return ClassTable(_numbers(count), tuple(colours))


def _numbers(count):
    return tuple(f"class {i}" for i in range(count))


@dataclass(frozen=True)
class IndexEncoding:
    """Masks of one channel that hold ids: `ids` says which label each id on disk stands for."""

    ids: dict[int, int]

    def decode(self, mask):
        """Turns ids `(height, width)` into uint8 labels; `ValueError` names an unknown id."""
        if mask.ndim != 2:
            raise ValueError(
                "expected one channel of class ids; received a colour image of shape "
                f"{mask.shape}. Convert it to ids, or use the data set's colour layout."
            )
        lookup = np.full(256, -1, np.int16)
        for disk_id, label in self.ids.items():
            lookup[disk_id] = label
        labels = lookup[mask]
        if (labels < 0).any():
            unknown = sorted(set(np.unique(mask).tolist()) - set(self.ids))
            raise ValueError(f"expected ids {_ranges(self.ids)}; received also {unknown[:10]}")
        return labels.astype(np.uint8)


@dataclass(frozen=True)
class ColourEncoding:
    """Masks that hold colours: `colours` says which label each `(r, g, b)` stands for."""

    colours: dict[tuple[int, int, int], int]

    def decode(self, mask):
        """Turns RGB `(height, width, 3)` into uint8 labels; `ValueError` names a stray colour."""
        if mask.ndim != 3:
            raise ValueError(
                "expected a colour image; received a single channel. Is this the index layout?"
            )
        packed = _pack(mask[..., :3])
        values, inverse = np.unique(packed, return_inverse=True)
        known = {int(_pack(np.array(c))): label for c, label in self.colours.items()}
        unknown = [v for v in values.tolist() if v not in known]
        if unknown:
            colours = [(v >> 16, v >> 8 & 255, v & 255) for v in unknown[:5]]
            raise ValueError(
                f"{len(unknown)} colours stand for no class, for instance {colours} "
                "(lossy compression or resizing of a mask makes such colours)"
            )
        labels = np.array([known[v] for v in values.tolist()], np.uint8)
        return labels[inverse].reshape(mask.shape[:2])


def _pack(rgb):
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _ranges(ids):
    return f"{min(ids)}..{max(ids)}" if len(ids) == max(ids) - min(ids) + 1 else sorted(ids)
