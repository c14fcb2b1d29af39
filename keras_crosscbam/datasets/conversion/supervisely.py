"""Reader of Supervisely: meta.json, and folders of images `img/` and of JSON files `ann/`.

Source: https://docs.supervisely.com/customization-and-integration/00_ann_format_navi.
"""

import base64
import binascii
import zlib

from keras_crosscbam.datasets.conversion.annotations import Annotations, ClassList, Frame
from keras_crosscbam.datasets.conversion.drawing import Outlined, Pasted, box, check_ring
from keras_crosscbam.datasets.conversion.labelme import bitmap_of_png
from keras_crosscbam.datasets.conversion.source import check_images, get, size_of

_WITHOUT_AREA = ("point", "line", "polyline", "graph", "cuboid", "any")
_MOST_BYTES = 2**28


def is_supervisely(source):
    """Returns whether the source has a meta.json with classes."""
    path = source.root / "meta.json"
    if source.file is not None or not path.is_file():
        return False
    content = source.json(path)
    return isinstance(content, dict) and isinstance(content.get("classes"), list)


def read(source):
    """Reads `ann/IMAGE.json` of each data set in the project. Later objects are on top."""
    meta = source.root / "meta.json"
    classes, colors, frames, skipped = ClassList(), {}, [], 0
    for entry in source.json(meta)["classes"]:
        name = get(entry, "title", str, f"{meta}: classes")
        classes.label(name)
        color = str(entry.get("color", ""))
        if len(color) == 7 and color.startswith("#"):
            colors[name] = tuple(bytes.fromhex(color[1:]))
    for path in source.json_files:
        if path.parent.name != "ann":
            continue
        content = source.json(path)
        image = source.image(f"../img/{path.name.removesuffix('.json')}", path)
        check_images(path, [] if image else [path.name.removesuffix(".json")], source.images_root)
        shapes = []
        for i, item in enumerate(get(content, "objects", list, str(path))):
            where = f"{path}: object {i}"
            name = get(item, "classTitle", str, where)
            if name not in classes.names:
                raise ValueError(f"{where}: the class {name!r} is not in {meta}")
            shape = _shape(item, classes.label(name), where)
            skipped += shape is None
            shapes += [] if shape is None else [shape]
        size = size_of(get(content, "size", dict, str(path)), "height", "width", str(path))
        frames.append(Frame(image, path, tuple(shapes), size=size, split=source.split(image)))
    notes = [f"{skipped} points and lines without an area are left out"] if skipped else []
    order = "later objects are drawn over earlier ones"
    names = tuple(classes.names)
    return Annotations(names, tuple(frames), order, "background", colors, tuple(notes))


def _shape(item, label, where):
    kind = get(item, "geometryType", str, where)
    if kind in _WITHOUT_AREA:
        return None
    if kind == "bitmap":
        bitmap = get(item, "bitmap", dict, where)
        left, top = _pair(bitmap.get("origin"), where)
        return Pasted(label, _bitmap(get(bitmap, "data", str, where), where), left, top)
    points = get(item, "points", dict, where)
    exterior = get(points, "exterior", list, where)
    if kind == "polygon":
        interior = get({"interior": [], **points}, "interior", list, where)
        holes = tuple(check_ring(hole, where) for hole in interior)
        return Outlined(label, check_ring(exterior, where), holes)
    if kind == "rectangle" and len(exterior) == 2:
        (x0, y0), (x1, y1) = (_pair(corner, where) for corner in exterior)
        return Outlined(label, box(x0, y0, x1, y1))
    raise ValueError(f"{where}: geometryType {kind!r} with {len(exterior)} points is not supported")


def _pair(value, where):
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(v) in (int, float) for v in value)
    ):
        raise ValueError(f"{where}: expected [x, y]. Received: {value!r}")
    return int(value[0]), int(value[1])


def _bitmap(text, where):
    """Decodes a bitmap that is a PNG, compressed by zlib, in Base64."""
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ValueError(f"{where}: the bitmap is not zlib in Base64 ({error})") from error
    return bitmap_of_png(content, where)
