"""Class tables: names, colours, and how masks on disk encode them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

IGNORE = 255
"""The label of pixels that count neither in training nor in evaluation, everywhere inside."""


BACKGROUND = "background"
BACKGROUND_COLOUR = (64, 64, 64)
"""Name and colour of label 0 where there is one object class; black is what does not count."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set: what its labels 0, 1, ... stand for.

    Attributes:
        names: one name per label, no two alike.
        colours: one `(red, green, blue)` of 0..255 per label, for pictures.
        one_logit: whether a network for them gives one logit for the second label, the object, and
            none for the first, the background, instead of one logit per label. Tables that differ
            in nothing else are equal: the labels mean the same.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    one_logit: bool = field(default=False, compare=False)

    def __post_init__(self):
        if len(self.names) != len(self.colours):
            raise ValueError(
                f"A class table needs one colour per name. Received: {len(self.names)} names, "
                f"{len(self.colours)} colours"
            )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"The names of a class table must differ. Received twice: {twice}")
        if self.one_logit and len(self.names) != 2:
            raise ValueError(
                "One logit tells two labels apart, background and object. "
                f"Received: {len(self.names)} names"
            )

    def __len__(self):
        return len(self.names)

    @property
    def num_classes(self):
        """The `num_classes` of a network for these labels: 1 for one logit, else their number."""
        return 1 if self.one_logit else len(self)

    def find(self, names):
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
    def is_named(self):
        """Whether somebody named the classes: false for "class 0", "class 1" and so on."""
        return self.names != unnamed_classes(self.num_classes).names

    def to_json(self):
        """The table as values that JSON can hold; `from_json` reads them."""
        entries = {"names": list(self.names), "colours": [list(c) for c in self.colours]}
        return entries | ({"one_logit": True} if self.one_logit else {})

    @classmethod
    def from_json(cls, entries):
        """The table that `to_json` wrote."""
        colours = tuple(map(tuple, entries["colours"]))
        return cls(tuple(entries["names"]), colours, entries.get("one_logit", False))


def class_table(classes):
    """The `ClassTable` of a table, or of names alone, which get the colours of numbered classes.

        >>> from keras_crosscbam.datasets.labels import class_table
        >>> class_table(["background", "road"]).names
        ('background', 'road')

    A single name is that of one kind of object, beside which there is the background.

    Raises:
        ValueError: for anything else, and for a name that is there twice.
    """
    if isinstance(classes, ClassTable):
        return object_classes(*classes.names, *classes.colours) if len(classes) == 1 else classes
    names = () if isinstance(classes, str) or not isinstance(classes, Sequence) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"`classes` must be a ClassTable or a list of names. Received: {classes!r}"
        )
    if len(names) == 1:
        return object_classes(*names)
    return ClassTable(names, numbered_classes(len(names)).colours)


def count_labels(num_classes):
    """How many labels a network of so many classes gives: one class has the background beside it.

    >>> from keras_crosscbam.datasets.labels import count_labels
    >>> count_labels(1), count_labels(2), count_labels(19)
    (2, 2, 19)
    """
    return max(num_classes, 2)


def object_classes(name="object", colour=(128, 0, 0)):
    """The table of one object class: label 0 is the background, label 1 the object."""
    return ClassTable((BACKGROUND, name), (BACKGROUND_COLOUR, colour), one_logit=True)


def unnamed_classes(num_classes):
    """The table of a network of so many classes that nobody has named."""
    return object_classes() if num_classes == 1 else numbered_classes(num_classes)


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
    """Masks of one channel that hold ids.

    Attributes:
        ids: which label each id on disk stands for.
        stored: whether the ids are the numbers that a file stores, such as the indices of a
            palette, whatever greys it shows; see `keras_crosscbam.datasets.masks.read_mask`.
        rest: ids that are background only since they are named nowhere else.
    """

    ids: dict[int, int]
    stored: bool = False
    rest: frozenset[int] = frozenset()

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

    def count_values(self, pixels):
        """The number of pixels of each id that occurs, a dict."""
        counts = np.bincount(pixels.ravel(), minlength=256).tolist()
        return {value: count for value, count in enumerate(counts) if count}


@dataclass(frozen=True)
class ColourEncoding:
    """Masks that hold colours: `colours` says which label each `(r, g, b)` stands for.

    `rest` is the label of all other colours; None refuses them.
    """

    colours: dict[tuple[int, int, int], int]
    rest: int | None = None

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
        if unknown and self.rest is None:
            colours = [(v >> 16, v >> 8 & 255, v & 255) for v in unknown[:5]]
            raise ValueError(
                f"{len(unknown)} colours stand for no class, for instance {colours} "
                "(lossy compression or resizing of a mask makes such colours)"
            )
        labels = np.array([known.get(v, self.rest) for v in values.tolist()], np.uint8)
        return labels[inverse].reshape(mask.shape[:2])

    def count_values(self, pixels):
        """The number of pixels `(..., 3)` of each `(r, g, b)` that occurs, a dict."""
        values, counts = np.unique(_pack(pixels[..., :3]), return_counts=True)
        colours = [(value >> 16, value >> 8 & 255, value & 255) for value in values.tolist()]
        return dict(zip(colours, counts.tolist(), strict=True))


def _pack(rgb):
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _ranges(ids):
    return f"{min(ids)}..{max(ids)}" if len(ids) == max(ids) - min(ids) + 1 else sorted(ids)
