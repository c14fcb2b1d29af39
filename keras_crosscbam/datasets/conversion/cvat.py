"""Reader of CVAT for images 1.1: one XML file for all images of a task.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/.
"""

import math

import numpy as np

from keras_crosscbam.datasets.conversion.annotations import Annotations, ClassList, Frame
from keras_crosscbam.datasets.conversion.drawing import Ellipse, Filled, Pasted, box, check_ring
from keras_crosscbam.datasets.conversion.extra import safe_xml
from keras_crosscbam.datasets.conversion.source import check_images, check_size, split_named

_WITH_AREA = ("polygon", "box", "ellipse", "mask")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")


def is_cvat(source):
    """Returns whether the source has an XML file of CVAT."""
    return bool(_files(source))


def _files(source):
    found = []
    for path in source.files(".xml"):
        with open(path, "rb") as file:
            start = file.read(4096)
        if b"<annotations" in start:
            found.append(path)
    return found


def read(source):
    """Reads all XML files. Shapes are drawn in the order of `z_order`, then of the file."""
    classes, frames, colors, skipped = ClassList(), [], {}, 0
    for path in _files(source):
        root = _parse(path)
        if root.find("track") is not None:
            raise ValueError(f"{path}: is CVAT for video. Export the task as CVAT for images 1.1")
        listed = []
        for label in root.iterfind("meta//label"):
            name, color = label.findtext("name", ""), _color(label.findtext("color"))
            listed.append(name)
            classes.label(name)
            colors |= {name: color} if color else {}
        missing = []
        for element in root.iterfind("image"):
            name = element.get("name", "")
            where = f"{path}: image {name}"
            split = split_named(element.get("subset") or "")
            image = source.image(name, path, split, folder="images")
            if image is None:
                missing.append(name)
                continue
            shapes = []
            for number, child in enumerate(element):
                if child.tag in _WITH_AREA:
                    place = f"{where}: {child.tag} {number}"
                    label = child.get("label", "")
                    if listed and label not in listed:
                        raise ValueError(f"{place}: {label!r} is not among the labels in <meta>")
                    shape = _shape(child, classes.label(label), place)
                    shapes.append((_number(child, "z_order", place, 0.0), shape))
                else:
                    skipped += child.tag in _WITHOUT_AREA
            shapes.sort(key=lambda shape: shape[0])
            size = tuple(int(_number(element, side, where)) for side in ("height", "width"))
            shapes = tuple(shape for _, shape in shapes)
            frames.append(Frame(image, path, shapes, size=size, split=split or source.split(image)))
        check_images(path, missing, source.images_root)
    notes = [f"{skipped} lines, points, cuboids and tags are left out"] if skipped else []
    order = "higher z_order is drawn over lower, and later shapes over earlier ones"
    return Annotations(
        tuple(classes.names), tuple(frames), order, "background", colors, tuple(notes)
    )


def _parse(path):
    xml = safe_xml()
    from defusedxml.common import DefusedXmlException

    try:
        return xml.parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise ValueError(
            f"{path}: has a document type or entities, which are not supported"
        ) from error
    except (xml.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: cannot be read as XML ({error})") from error


def _color(text):
    if not text or len(text) != 7 or not text.startswith("#"):
        return None
    try:
        return tuple(bytes.fromhex(text[1:]))
    except ValueError:
        return None


def _number(element, key, where, default=None):
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {key} must be a number. Received: {text!r}")
    return number


def _shape(element, label, where):
    def numbers(*keys):
        return [_number(element, key, where) for key in keys]

    angle = _number(element, "rotation", where, 0.0)
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points", "").split(";") if pair.strip()]
        return Filled(label, (check_ring(pairs, where),))
    if element.tag == "box":
        return Filled(label, (box(*numbers("xtl", "ytl", "xbr", "ybr"), angle),))
    if element.tag == "ellipse":
        cx, cy, rx, ry = numbers("cx", "cy", "rx", "ry")
        if min(rx, ry) <= 0:
            raise ValueError(f"{where}: rx and ry must be above 0. Received: {rx}, {ry}")
        return Ellipse(label, (cx, cy), (rx, ry), angle)
    left, top, width, height = map(int, numbers("left", "top", "width", "height"))
    return Pasted(label, _bitmap(element.get("rle", ""), height, width, where), left, top)


def _bitmap(text, height, width, where):
    """Decodes alternating run lengths of pixels outside and inside, row by row."""
    try:
        runs = [int(run) for run in text.split(",")]
    except ValueError:
        raise ValueError(f"{where}: rle must be whole numbers. Received: {text[:40]!r}") from None
    check_size((height, width), where)
    if min(runs) < 0 or sum(runs) != height * width:
        raise ValueError(
            f"{where}: the runs must add up to {width}x{height} pixels. Received: {sum(runs)}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
