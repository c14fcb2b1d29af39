"""The YAML file that says what people's own masks hold."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import yaml

from keras_crosscbam.classes import (
    BACKGROUND,
    BACKGROUND_COLOR,
    IGNORE,
    ClassTable,
    ColorEncoding,
    IndexEncoding,
    numbered_classes,
)
from keras_crosscbam.images import EXTENSIONS

CLASS_FILE = "dataset.yaml"
REST = "rest"
"""What `background` says where all ids or colors that stand nowhere else are background."""


@dataclass(frozen=True)
class ClassFile:
    """What a `dataset.yaml` says: name, classes, masks' encoding and names, range and channels."""

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

    Its fields:

    - `name`: of the data set.
    - `masks`: `ids` for masks of one channel (the default), `indices` for those whose ids are the
      indices of their palette whatever grays it shows (see
      `keras_crosscbam.datasets.masks.read_mask`), `colors` for masks whose colors count.
    - `mask_suffix`: what the name of a mask has behind that of its image, such as `_mask`.
    - `ignore`: list of the ids or colors that do not count; by default none for colors, and
      `[255]` for ids, unless 255 stands elsewhere in the file.
    - `background`: for one class alone: list of the ids or colors that are its background, by
      default `[0]` and `[[0, 0, 0]]`, or `rest` for all that stand nowhere else in the file.
    - `range`: `[low, high]`, the values that are black and white in images of more than 8 bits;
      by default `[0, 65535]`.
    - `channels`: number of channels of the images, by default 3, RGB. With 1 they become gray; with
      any other number the files must have it.
    - `classes`: list of 2 to 254 classes, in the order of the network's outputs, or of one, the
      object, which is label 1, the background being label 0; each with
        - `name`;
        - `color`: `[red, green, blue]`, for pictures, and in masks of colors the class's color
          there; only those of ids may leave it out;
        - `id`: the class's id in masks of ids, by default its position in the list, counted
          from 0, and 1 for one class alone; or `ids`, a list of several that make one class;
        - `also`: list of further colors of the class, in masks of colors.

    Args:
        path: the file.

    Returns:
        A `ClassFile`.

    Raises:
        ValueError: for each mistake, with the file, the field and what stands there.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: not readable as YAML ({' '.join(str(error).split())})"
        ) from error
    try:
        return _parse(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping with a key that stands twice, where YAML would keep the last one."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _american(content):
    """The content with the keys and values of `masks` that have a British spelling respelled."""
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
            "background goes with one class alone; of several it is one. "
            f"Received: {len(entries)} classes"
        )

    names, colors, values = _Register(), _Register(), _Register()
    for position, value in enumerate(_list(content.get("ignore", []), "ignore")):
        values.add(read_value(value, f"ignore[{position}]"), IGNORE, f"ignore[{position}]")
    if one:
        names.add(BACKGROUND, 0, "label 0, all that is not the class,")
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
        raise ValueError(f"range is for 1 or 3 channels. Received: channels {channels}")
    return ClassFile(name, classes, encoding, value_range, mask_suffix, channels)


def _add_background(content, values, read_value):
    """Enters the background of one class alone; whether it is all that stands nowhere else."""
    default = 0 if read_value is _id else [0, 0, 0]
    listed = content.get("background", [default])
    if listed == REST:
        return True
    if not _list(listed, "background"):
        raise ValueError("background must be a list that is not empty, or rest. Received: []")
    for position, value in enumerate(listed):
        said = "background" in content
        field = f"background[{position}]" if said else "the default of background"
        values.add(read_value(value, field), 0, field)
    return False


def _disk_values(entry, field, label, masks):
    """The ids or colors that a class has in masks, each with the field it comes from."""
    if masks == "colors":
        further, name = _list(entry.get("also", []), f"{field}.also"), "also"
        first = [(f"{field}.color", entry["color"])]
    elif "ids" in entry:
        if "id" in entry:
            raise ValueError(f"{field} must have either id or ids, not both")
        further, name, first = _list(entry["ids"], f"{field}.ids"), "ids", []
        if not further:
            raise ValueError(f"{field}.ids must hold at least one id. Received: []")
    else:
        return [(f"{field}.id", entry.get("id", label))]
    return first + [(f"{field}.{name}[{i}]", value) for i, value in enumerate(further)]


def _palette(colors, count, one):
    """A color per label: what the file says, else the numbered classes' that are still free."""
    said = {label: color for color, label in colors.labels.items()}
    choice = (*[BACKGROUND_COLOR] * one, *numbered_classes(255).colors)
    free = (color for color in choice if color not in colors.labels)
    return tuple(said.get(label) or next(free) for label in range(count))


class _Register:
    """Values and the labels they stand for; each may stand in one field alone."""

    def __init__(self):
        self.labels = {}
        self.fields = {}

    def add(self, value, label, field):
        if value in self.labels:
            shown = list(value) if isinstance(value, tuple) else repr(value)
            raise ValueError(f"{field} is {shown}, as {self.fields[value]} is already")
        self.labels[value] = label
        self.fields[value] = field


def _check_fields(mapping, where, required, optional):
    if not isinstance(mapping, dict):
        raise ValueError(f"{where} must be a mapping of fields. Received: {mapping!r}")
    known = (*required, *optional)
    for key in mapping:
        if key not in known:
            raise ValueError(f"{where} has an unknown field {key!r}; known are {', '.join(known)}")
    for key in required:
        if key not in mapping:
            raise ValueError(f"{where} lacks the field {key}")


def _list(value, field):
    if not isinstance(value, list):
        raise ValueError(f"{field} must be a list. Received: {value!r}")
    return value


def _text(value, field):
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} must be text (in quotes, if need be). Received: {value!r}")
    return value


def _name_ending(value):
    """The end of a file's name, without folders and without the extension of an image."""
    text = _text(value, "mask_suffix")
    if "/" in text or "\\" in text or Path(text).suffix.lower() in EXTENSIONS:
        raise ValueError(
            "mask_suffix must be the end of the masks' names without their extension, such as "
            f"_mask. Received: {value!r}"
        )
    return text


def _id(value, field):
    # YAML's yes and no are numbers to Python.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise ValueError(f"{field} must be a whole number of 0..255. Received: {value!r}")
    return value


def _range(value):
    if value is None:
        return None
    numbers = isinstance(value, list) and all(type(number) in (int, float) for number in value)
    if not numbers or len(value) != 2 or not -inf < value[0] < value[1] < inf:
        raise ValueError(f"range must be [low, high], two rising numbers. Received: {value!r}")
    return tuple(value)


def _color(value, field):
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"{field} must be [red, green, blue]. Received: {value!r}")
    return tuple(_id(channel, f"{field}[{i}]") for i, channel in enumerate(value))
