"""Reader of Label Studio: JSON files of tasks with masks, polygons, rectangles and ellipses.

Source: https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks.
"""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from keras_crosscbam.datasets.conversion import brush
from keras_crosscbam.datasets.conversion.annotations import Annotations, Frame, found_classes
from keras_crosscbam.datasets.conversion.drawing import Ellipse, Filled, Pasted, box, check_ring
from keras_crosscbam.datasets.conversion.source import check_images, get, size_of
from keras_crosscbam.images import EXTENSIONS

_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")


def is_label_studio(content):
    """Returns whether the content of a JSON file is a list of Label Studio tasks."""
    return isinstance(content, list) and bool(content) and all(map(_is_task, content))


def _is_task(task):
    keys = task.keys() if isinstance(task, dict) else ()
    return "data" in keys and ("annotations" in keys or "predictions" in keys)


def read(source):
    """Reads all files of tasks. Later regions are drawn over earlier ones.

    If a task has several annotations, the one marked as ground truth is used, otherwise the one
    that was changed last. If it has no annotations, the last prediction is used.
    """
    frames, skipped, further, missing = [], 0, 0, []
    files = [path for path in source.json_files if is_label_studio(source.json(path))]
    tasks = []
    for path in files:
        for task in source.json(path):
            where = f"{path}: task {task.get('id', '')}"
            results, more = _results(task, where)
            further += more
            tasks.append((path, task, where, results))
    labels = {_label(region, where) for *_, where, results in tasks for region in results or ()}
    classes = found_classes(labels - {None}, source.class_names)
    for path, task, where, results in tasks:
        name = _image_name(task, where)
        image = _find(source, name, path)
        if image is None:
            missing.append(name)
            continue
        shapes, size = [], None
        for i, region in enumerate(results or ()):
            place = f"{where}: region {i}"
            label = _label(region, place)
            if label is None:
                skipped += 1
                continue
            size = size_of(region, "original_height", "original_width", place)
            shapes.append(_shape(region, classes.label(label), size, place))
        split = source.split(image)
        shapes = None if results is None else tuple(shapes)
        frames.append(Frame(image, path, shapes, size=size, split=split))
    check_images(", ".join(map(str, files)), missing, source.images_root)
    notes = [f"{skipped} regions that are not masks are left out"] if skipped else []
    notes += [f"{further} further annotations of the same tasks are left out"] if further else []
    return Annotations(
        tuple(classes.names),
        tuple(frames),
        "later regions are drawn over earlier ones",
        "background",
        notes=tuple(notes),
    )


def _image_name(task, where):
    """Returns the first value in the data of a task that is the path of an image."""
    for value in get(task, "data", dict, where).values():
        if not isinstance(value, str):
            continue
        url = urlsplit(value)
        # The path of a local file is in the query: /data/local-files/?d=folder/a.jpg.
        path = parse_qs(url.query).get("d", [unquote(url.path)])[0]
        if re.search(r"\.\w+$", path) and f".{path.rsplit('.', 1)[1].lower()}" in EXTENSIONS:
            return path
    raise ValueError(f"{where}: its data does not contain the path of an image")


def _find(source, name, path):
    """Finds an image. Label Studio adds eight hexadecimal digits before the names of uploads."""
    found, last = source.image(name, path), name.rsplit("/", 1)[-1]
    if found is None and re.match(r"[0-9a-f]{8}-.", last):
        return source.image(last[9:], path)
    return found


def _results(task, where):
    """Returns the regions of the annotation to use or None, and the number of other ones."""
    annotations = [a for a in _mappings(task, "annotations", where) if not a.get("was_cancelled")]
    if annotations:
        chosen = max(
            enumerate(annotations),
            key=lambda a: (bool(a[1].get("ground_truth")), str(a[1].get("updated_at", "")), a[0]),
        )[1]
        return get(chosen, "result", list, where), len(annotations) - 1
    predictions = _mappings(task, "predictions", where)
    if predictions:
        return get(predictions[-1], "result", list, where), len(predictions) - 1
    return None, 0


def _mappings(task, key, where):
    """Returns a list of annotations. In the format JSON-MIN it contains only numbers."""
    listed = task.get(key) or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ValueError(
            f"{where}: expected {key} with their results. Received: {str(listed)[:60]}"
        )
    return listed


def _label(region, where):
    """Returns the class of a region; None if it is not a mask but for example a rating."""
    kind = get(region, "type", str, where)
    if kind not in _KINDS:
        return None
    names = get(get(region, "value", dict, where), kind, list, where)
    if len(names) != 1 or not isinstance(names[0], str):
        raise ValueError(f"{where}: expected one label. Received: {names}")
    return names[0]


def _shape(region, label, size, where):
    value, (height, width), kind = region["value"], size, region["type"]
    if region.get("image_rotation"):
        raise ValueError(f"{where}: the image was rotated in Label Studio, which is not supported")
    percent = np.array((width, height)) / 100
    if kind == "brushlabels":
        return Pasted(label, brush.decode(get(value, "rle", list, where), height, width, where))
    if kind == "polygonlabels":
        ring = check_ring(get(value, "points", list, where), where)
        return Filled(label, (ring * percent,))
    angle = get({"rotation": value.get("rotation") or 0}, "rotation", int | float, where)
    x, y = np.array([get(value, key, int | float, where) for key in ("x", "y")]) * percent
    if kind == "ellipselabels":
        radii = [get(value, key, int | float, where) for key in ("radiusX", "radiusY")]
        if min(radii) <= 0:
            raise ValueError(f"{where}: the radii must be above 0. Received: {radii}")
        return Ellipse(label, (x, y), tuple(radii * percent), angle)
    w, h = np.array([get(value, key, int | float, where) for key in ("width", "height")]) * percent
    # A rectangle is rotated around its upper left corner.
    corners, origin = box(x, y, x + w, y + h), np.array((x, y))
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return Filled(label, (origin + (corners - origin) @ np.array([(cos, sin), (-sin, cos)]),))
