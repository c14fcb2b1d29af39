"""Reader of LabelMe: one JSON file for each image, with shapes in pixels.

Source: https://github.com/wkentaro/labelme, `labelme/utils/shape.py` and `label_file.py`.
"""

import base64
import binascii
import io
import math

import numpy as np
from PIL import Image

from keras_crosscbam.datasets.conversion.annotations import Annotations, Frame, found_classes
from keras_crosscbam.datasets.conversion.drawing import Ellipse, Outlined, Pasted, box, check_ring
from keras_crosscbam.datasets.conversion.source import check_images, get

_VOID = frozenset(("__ignore__",))
_WITHOUT_AREA = ("line", "linestrip", "point", "points")


def is_labelme(content):
    """Returns whether the content of a JSON file is that of LabelMe."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def read(source):
    """Reads all files of LabelMe. Later shapes are on top, as in the export of LabelMe."""
    files = [path for path in source.json_files if is_labelme(source.json(path))]
    labels = {
        get(shape, "label", str, f"{path}: shape {i}")
        for path in files
        for i, shape in enumerate(get(source.json(path), "shapes", list, str(path)))
        if not (isinstance(shape, dict) and shape.get("shape_type") in _WITHOUT_AREA)
    }
    classes = found_classes(labels, source.class_names, _VOID)
    frames, skipped = [], 0
    for path in files:
        content = source.json(path)
        name = get(content, "imagePath", str, str(path))
        image = source.image(name, path)
        check_images(path, [name] if image is None else [], source.images_root)
        shapes = []
        for i, shape in enumerate(content["shapes"]):
            where = f"{path}: shape {i} ({shape['label']})"
            if shape.get("shape_type") in _WITHOUT_AREA:
                skipped += 1
            else:
                shapes.append(_shape(shape, classes.label(shape["label"]), where))
        size = content.get("imageHeight"), content.get("imageWidth")
        known = all(type(side) is int and side > 0 for side in size)
        split = source.split(image) or source.split(path)
        frames.append(Frame(image, path, tuple(shapes), size=size if known else None, split=split))
    notes = [f"{skipped} points and lines without an area are left out"] if skipped else []
    order = "later shapes are drawn over earlier ones"
    return Annotations(tuple(classes.names), tuple(frames), order, "background", notes=tuple(notes))


def _shape(shape, label, where):
    kind = shape.get("shape_type") or "polygon"
    points = get(shape, "points", list, where)
    if kind == "polygon":
        return Outlined(label, check_ring(points, where))
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"{where}: shape_type {kind!r} is not supported")
    (x0, y0), (x1, y1) = _two_points(points, where)
    if kind == "rectangle":
        return Outlined(label, box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    if kind == "circle":
        radius = max(math.hypot(x1 - x0, y1 - y0), 0.5)
        # The coordinates are pixel indices: (0, 0) is the center of the first pixel.
        return Ellipse(label, (x0 + 0.5, y0 + 0.5), (radius, radius))
    bitmap = bitmap_of(get(shape, "mask", str, where), where)
    return Pasted(label, bitmap, int(x0), int(y0))


def _two_points(points, where):
    try:
        corners = np.array(points, np.float64)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.shape != (2, 2) or not np.isfinite(corners).all():
        raise ValueError(f"{where}: expected two points. Received: {str(points)[:60]}")
    return corners.tolist()


def bitmap_of(text, where):
    """Returns the pixels of a Base64 PNG that are not black or transparent, a bool array."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where}: the mask is not in Base64 ({error})") from error
    return bitmap_of_png(content, where)


def bitmap_of_png(content, where):
    """Returns the pixels of a PNG that are not black or transparent, bool `(height, width)`."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if "A" in image.getbands() or "transparency" in image.info:
                return np.asarray(image.convert("RGBA"))[..., 3] > 0
            return np.asarray(image.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: the mask is not a readable PNG ({error})") from error
