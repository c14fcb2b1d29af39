"""Reads `dataset.yaml`, which describes a user's data set."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import yaml

from keras_crosscbam.classes import (
    BACKGROUND,
    BACKGROUND_COLOR,
    IGNORE,
    ClassTable,
    numbered_classes,
)
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.images import EXTENSIONS

CLASS_FILE = "dataset.yaml"
REST = "rest"
"""The value of `background` if all ids or colors that the file does not list are background."""


@dataclass(frozen=True)
class ClassFile:
    """The contents of a `dataset.yaml`."""

    name: str
    classes: ClassTable
    encoding: IndexEncoding | ColorEncoding
    value_range: tuple[float, float] | None = None
    mask_suffix: str = ""
    channels: int = 3


def read_class_file(path):
    """Reads and checks a `dataset.yaml`.

        >>> from keras_crosscbam.datasets.dataset_yaml import read_class_file
        >>> read_class_file("mydata/dataset.yaml").classes.names  # doctest: +SKIP
        ('background', 'road')

    Fields of the file:

    - `name`: name of the data set.
    - `masks`: `ids` for masks with one channel (the default); `indices` for masks whose ids are
      always the indices of their palette, also if the palette shows grays (see
      `keras_crosscbam.datasets.masks.read_mask`); `colors` for masks in which the color is the
      class.
    - `mask_suffix`: text that the name of a mask has after the name of its image, such as `_mask`.
    - `ignore`: list of the ids or colors to ignore. The default is none for colors and `[255]` for
      ids, except if 255 is used elsewhere in the file.
    - `background`: only for data sets with one class: list of the ids or colors of the background,
      by default `[0]` and `[[0, 0, 0]]`, or `rest` for all ids or colors that are not used
      elsewhere in the file.
    - `range`: `[low, high]`, the values of black and white in images with more than 8 bits; by
      default `[0, 65535]`.
    - `channels`: number of channels of the images, by default 3 for RGB. With 1, images are
      converted to gray. With any other number, the files must have this number of channels.
    - `classes`: list of 2 to 254 classes in the order of the network's outputs. A list of one class
      contains the object, which is label 1; the background is then label 0. Fields of a class:
        - `name`: name of the class.
        - `color`: `[red, green, blue]`, for pictures and for masks of colors. It is optional for
          masks of ids.
        - `id`: id of the class in masks of ids. The default is the position in the list, counted
          from 0, and 1 for a single class. Or `ids`, a list of the ids that belong to the class.
        - `also`: list of further colors of the class in masks of colors.

    Args:
        path: path of the file.

    Returns:
        A `ClassFile`.

    Raises:
        ValueError: for an invalid file, with the file, the field and its value.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: cannot be read as YAML ({' '.join(str(error).split())})"
        ) from error
    try:
        return _parse(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """Raises an error for a mapping with a duplicate key. YAML would use the last one."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is a duplicate key", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _american(content):
    """Returns the content with the British spelling of keys and of `masks` replaced."""
    if isinstance(content, list):
        return [_american(entry) for entry in content]
    if not isinstance(content, dict):
        return content
    if "color" in content and "colour" in content:
        raise ValueError("a class must have either color or colour, not both")
    content = {{"colour": "color"}.get(key, key): _american(v) for key, v in content.items()}
    return {**content, "masks": "colors"} if content.get("masks") == "colours" else content


def _parse(content):
    content = _american(content)
    optional = ("masks", "mask_suffix", "ignore", "background", "range", "channels")
    _check_fields(content, "the file", ("name", "classes"), optional)
    name = _text(content["name"], "name")
    said = content.get("masks", "ids")
    if said not in ("ids", "indices", "colors"):
        raise ValueError(f"masks must be ids, indices or colors. Received: {said!r}")
    masks = "colors" if said == "colors" else "ids"
    read_value = _id if masks == "ids" else _color
    mask_suffix = _name_ending(content["mask_suffix"]) if "mask_suffix" in content else ""
    entries = _list(content["classes"], "classes")
    if not 1 <= len(entries) <= 254:
        raise ValueError(f"classes must be a list of 1 to 254. Received: {len(entries)}")
    one = len(entries) == 1
    if "background" in content and not one:
        raise ValueError(
            "background is only for data sets with one class. With several classes, background is "
            f"one of them. Received: {len(entries)} classes"
        )

    names, colors, values = _Register(), _Register(), _Register()
    for position, value in enumerate(_list(content.get("ignore", []), "ignore")):
        values.add(read_value(value, f"ignore[{position}]"), IGNORE, f"ignore[{position}]")
    if one:
        names.add(BACKGROUND, 0, "the background, label 0")
    for label, entry in enumerate(entries, start=int(one)):
        field = f"classes[{label - one}]"
        optional = ("color", "id", "ids") if masks == "ids" else ("also",)
        required = ("name",) if masks == "ids" else ("name", "color")
        _check_fields(entry, field, required, optional)
        names.add(_text(entry["name"], f"{field}.name"), label, f"{field}.name")
        if "color" in entry:
            color = _color(entry["color"], f"{field}.color")
            colors.add(color, label, f"{field}.color")
        for where, value in _disk_values(entry, field, label, masks):
            values.add(read_value(value, where), label, where)
    rest = one and _add_background(content, values, read_value)
    if masks == "ids" and "ignore" not in content:
        values.labels.setdefault(255, IGNORE)

    if masks == "ids":
        others = frozenset(range(256)) - values.labels.keys() if rest else frozenset()
        ids = dict.fromkeys(others, 0) | values.labels
        encoding = IndexEncoding(ids, said == "indices", others)
    else:
        encoding = ColorEncoding(values.labels, rest=0 if rest else None)
    classes = ClassTable(tuple(names.labels), _palette(colors, len(names.labels), one), one)
    channels = content.get("channels", 3)
    if type(channels) is not int or channels < 1:
        raise ValueError(f"channels must be a positive whole number. Received: {channels!r}")
    value_range = _range(content.get("range"))
    if value_range and channels not in (1, 3):
        raise ValueError(f"range requires 1 or 3 channels. Received: channels {channels}")
    return ClassFile(name, classes, encoding, value_range, mask_suffix, channels)


def _add_background(content, values, read_value):
    """Adds the background of a data set with one class. Returns whether it is `rest`."""
    default = 0 if read_value is _id else [0, 0, 0]
    listed = content.get("background", [default])
    if listed == REST:
        return True
    if not _list(listed, "background"):
        raise ValueError("background must be a non-empty list, or rest. Received: []")
    for position, value in enumerate(listed):
        said = "background" in content
        field = f"background[{position}]" if said else "the default of background"
        values.add(read_value(value, field), 0, field)
    return False


def _disk_values(entry, field, label, masks):
    """Returns pairs of a field and an id or color that the class has in masks."""
    if masks == "colors":
        further, name = _list(entry.get("also", []), f"{field}.also"), "also"
        first = [(f"{field}.color", entry["color"])]
    elif "ids" in entry:
        if "id" in entry:
            raise ValueError(f"{field} must have either id or ids, not both")
        further, name, first = _list(entry["ids"], f"{field}.ids"), "ids", []
        if not further:
            raise ValueError(f"{field}.ids must contain at least one id. Received: []")
    else:
        return [(f"{field}.id", entry.get("id", label))]
    return first + [(f"{field}.{name}[{i}]", value) for i, value in enumerate(further)]


def _palette(colors, count, one):
    """Returns a color for each label: that in the file, otherwise one that is not used in it."""
    said = {label: color for color, label in colors.labels.items()}
    choice = (*[BACKGROUND_COLOR] * one, *numbered_classes(255).colors)
    free = (color for color in choice if color not in colors.labels)
    return tuple(said.get(label) or next(free) for label in range(count))


class _Register:
    """Values and their labels. A value may occur in only one field."""

    def __init__(self):
        self.labels = {}
        self.fields = {}

    def add(self, value, label, field):
        if value in self.labels:
            shown = list(value) if isinstance(value, tuple) else repr(value)
            raise ValueError(f"{field} is {shown}, which is already used for {self.fields[value]}")
        self.labels[value] = label
        self.fields[value] = field


def _check_fields(mapping, where, required, optional):
    if not isinstance(mapping, dict):
        raise ValueError(f"{where} must be a mapping of fields. Received: {mapping!r}")
    known = (*required, *optional)
    for key in mapping:
        if key not in known:
            raise ValueError(
                f"{where} has an unknown field {key!r}. Known fields: {', '.join(known)}"
            )
    for key in required:
        if key not in mapping:
            raise ValueError(f"{where} must have the field {key}")


def _list(value, field):
    if not isinstance(value, list):
        raise ValueError(f"{field} must be a list. Received: {value!r}")
    return value


def _text(value, field):
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} must be text (in quotes, if needed). Received: {value!r}")
    return value


def _name_ending(value):
    """Checks the end of a file name, which has no folders and no image extension."""
    text = _text(value, "mask_suffix")
    if "/" in text or "\\" in text or Path(text).suffix.lower() in EXTENSIONS:
        raise ValueError(
            "mask_suffix must be the end of the names of the masks, without extension, such as "
            f"_mask. Received: {value!r}"
        )
    return text


def _id(value, field):
    # YAML's yes and no are booleans, which are integers in Python.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise ValueError(f"{field} must be a whole number in 0..255. Received: {value!r}")
    return value


def _range(value):
    if value is None:
        return None
    numbers = isinstance(value, list) and all(type(number) in (int, float) for number in value)
    if not numbers or len(value) != 2 or not -inf < value[0] < value[1] < inf:
        raise ValueError(f"range must be [low, high] with low < high. Received: {value!r}")
    return tuple(value)


def _color(value, field):
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"{field} must be [red, green, blue]. Received: {value!r}")
    return tuple(_id(channel, f"{field}[{i}]") for i, channel in enumerate(value))
