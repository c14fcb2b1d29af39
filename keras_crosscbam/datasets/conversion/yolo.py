"""Reader of YOLO segmentation: text files of polygons in fractions of width and height.

Source: https://docs.ultralytics.com/datasets/segment/.
"""

from pathlib import PurePosixPath

import numpy as np

from keras_crosscbam.datasets.conversion.annotations import Annotations, ClassList, Frame
from keras_crosscbam.datasets.conversion.drawing import Relative, check_ring
from keras_crosscbam.datasets.conversion.source import read_text, read_yaml

_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def is_yolo(source):
    """Returns whether the source has a data.yaml with names and splits, or a classes.txt."""
    return _yaml_file(source) is not None or _has_names_alone(source)


def _yaml_file(source):
    for path in source.files(".yaml", ".yml"):
        content = read_yaml(path) if path.parent == source.root else None
        if isinstance(content, dict) and "names" in content and _SPLITS.keys() & content.keys():
            return path
    return None


def _has_names_alone(source):
    root = source.root
    return (root / "classes.txt").is_file() and any((root / "labels").rglob("*.txt"))


def read(source):
    """Reads the images in the splits of data.yaml, or all images if there is no data.yaml."""
    file = _yaml_file(source)
    if file is None:
        file = source.root / "classes.txt"
        names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
        listed = [(None, path) for path in source.images]
    else:
        content = read_yaml(file)
        names = _names(content["names"], file)
        listed = [
            (split, image)
            for key, split in _SPLITS.items()
            for image in _listed(source, content, key, file)
        ]
    if not listed:
        raise ValueError(f"{file}: none of its images exists")
    classes = ClassList()
    labels = [classes.label(name) for name in names]
    frames = []
    for split, image in dict.fromkeys(listed):
        path = _label_file(source, image)
        # An image without a label file has no objects.
        shapes = _read_polygons(path, labels) if path.is_file() else ()
        frames.append(Frame(image, path, shapes, split=split))
    order = "smaller areas are drawn over larger ones"
    return Annotations(tuple(classes.names), tuple(frames), order, "background")


def _names(names, file):
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(
            f"{file}: names must be a list of texts, or a mapping of 0, 1, ... to them"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{file}: names must be different. Received: {names}")
    return names


def _listed(source, content, key, file):
    """Yields the images of a split, from folders or from text files that list them."""
    places = content.get(key)
    for place in places if isinstance(places, list) else [places] if places else []:
        if not isinstance(place, str):
            raise ValueError(f"{file}: {key} must be a folder or a file. Received: {place!r}")
        target = _place(source, content, place)
        if target is None:
            raise ValueError(f"{file}: {key} is {place!r}, which is not in {source.root}")
        if target.suffix == ".txt":
            lines = [line.strip() for line in read_text(target).splitlines() if line.strip()]
            found = {line: source.image(line, target) for line in lines}
            missing = [line for line, image in found.items() if image is None]
            if missing:
                raise ValueError(f"{target}: names images that do not exist: {missing[:5]}")
            yield from found.values()
        else:
            yield from (image for image in source.images if image.is_relative_to(target))


def _place(source, content, place):
    """Returns the folder or list that data.yaml names, inside the source, or None."""
    base = content.get("path")
    parts = PurePosixPath(place.replace("\\", "/")).parts
    # Roboflow writes ../train/images for train/images.
    while parts and parts[0] == "..":
        parts = parts[1:]
    inside = [part for part in PurePosixPath(str(base or "")).parts if part not in ("..", "/")]
    absolute = parts[:1] == ("/",)
    whole = [*parts[1:]] if absolute else [*inside, *parts]
    if ".." in whole:
        return None
    # The last parts of a path from another computer may exist in the source.
    for skipped in range(len(whole) if absolute else len(inside) + 1):
        target = source.images_root.joinpath(*whole[skipped:])
        if target.exists():
            return target
    return None


def _label_file(source, image):
    """Returns the text file of an image, with the last `images` in its path as `labels`."""
    root = source.images_root if image.is_relative_to(source.images_root) else source.root
    parts = list(image.relative_to(root).with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
        return source.root.joinpath(*parts)
    beside = source.root.joinpath(*parts)
    return beside if beside.is_file() else source.root.joinpath("labels", *parts)


def _read_polygons(path, labels):
    polygons = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        name, *numbers = line.split()
        if not name.isdigit() or int(name) >= len(labels):
            raise ValueError(f"{where}: the class must be 0..{len(labels) - 1}. Received: {name}")
        if len(numbers) == 4:
            raise ValueError(
                f"{where}: expected a polygon. Received: a box, which does not contain the pixels "
                "of the object"
            )
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            raise ValueError(f"{where}: expected numbers after the class") from None
        if len(values) % 2:
            raise ValueError(f"{where}: expected pairs of numbers. Received: {len(values)} numbers")
        ring = check_ring([values[i : i + 2] for i in range(0, len(values), 2)], where)
        if ring.size and (ring.min() < -0.01 or ring.max() > 1.01):
            raise ValueError(f"{where}: expected fractions in 0..1. Received: up to {ring.max():g}")
        polygons.append((-_area(ring), Relative(labels[int(name)], ring)))
    polygons.sort(key=lambda polygon: polygon[0])
    return tuple(polygon for _, polygon in polygons)


def _area(ring):
    x, y = ring.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
