"""Readers of public formats with mask files: Pascal VOC, Roboflow, Mapillary Vistas, ADE20K."""

import csv

import numpy as np

from keras_crosscbam.classes import IGNORE, numbered_classes
from keras_crosscbam.datasets.conversion.annotations import (
    UNLABELED,
    Annotations,
    ClassList,
    Frame,
    is_background,
)
from keras_crosscbam.datasets.conversion.drawing import MaskFile
from keras_crosscbam.datasets.conversion.source import check_images, get, read_text, split_named
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.images import open_image

_NO_OVERLAPS = "masks contain one class for each pixel"
# fmt: off
_VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)
# fmt: on
_VOC_VOID = (224, 224, 192)


def is_voc(source):
    """Returns whether the source has a folder SegmentationClass."""
    return (source.root / "SegmentationClass").is_dir()


def read_voc(source):
    """Reads Pascal VOC: `SegmentationClass/NAME.png` in the colors of its palette.

    The classes are those in `labelmap.txt`, as written by CVAT, or the twenty classes of VOC.
    Source: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html.
    """
    table = source.root / "labelmap.txt"
    entries = _label_map(table) if table.is_file() else _voc_classes()
    classes = ClassList()
    by_color = {_VOC_VOID: IGNORE}
    for name, color in entries.items():
        by_color[color] = UNLABELED if is_background(name) else classes.label(name)
    # Gray files contain the indices of the classes in the table.
    by_index = {IGNORE: IGNORE, **dict(enumerate(by_color[c] for c in entries.values()))}
    folder, frames, missing = source.root / "SegmentationClass", [], []
    splits = _voc_splits(source)
    for mask in _masks(source, folder):
        name = mask.relative_to(folder).with_suffix("").as_posix()
        image = _image_of(source, name, ("JPEGImages", "images", "."), mask)
        if image is None:
            missing.append(name)
            continue
        gray = open_image(mask, lambda image: image.mode in ("L", "1"))
        encoding = IndexEncoding(by_index) if gray else ColorEncoding(by_color)
        frames.append(Frame(image, mask, mask=MaskFile(mask, encoding), split=splits.get(name)))
    check_images(folder, missing, source.images_root)
    names = tuple(classes.names)
    return Annotations(names, tuple(frames), _NO_OVERLAPS, "background", entries)


def _label_map(path):
    """Reads a dict from name to color from lines such as `road:128,64,128::`."""
    entries = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.strip().partition(":")
        channels = rest.split(":")[0].split(",")
        if not name or not _are_bytes(channels) or len(channels) != 3:
            raise ValueError(f"{path}: line {number}: expected NAME:RED,GREEN,BLUE:PARTS:ACTIONS")
        color = tuple(map(int, channels))
        if name in entries or color in entries.values():
            raise ValueError(f"{path}: line {number}: the name or the color is a duplicate")
        entries[name] = color
    return entries


def _are_bytes(texts):
    return all(text.strip().isdecimal() and int(text) < 256 for text in texts)


def _voc_classes():
    # The palette of the devkit. `numbered_classes` does not include black, the background.
    colors = ((0, 0, 0), *numbered_classes(len(_VOC_NAMES)).colors)
    return dict(zip(("background", *_VOC_NAMES), colors, strict=True))


def _voc_splits(source):
    splits = {}
    for path in sorted((source.root / "ImageSets" / "Segmentation").glob("*.txt")):
        split = split_named(path.stem)
        for line in read_text(path).splitlines() if split else ():
            name = line.strip()
            if splits.setdefault(name, split) != split:
                raise ValueError(f"{path}: {name} is also in the split {splits[name]}")
    return splits


def is_roboflow(source):
    """Returns whether the source has a `_classes.csv`."""
    return bool(_class_tables(source))


def _class_tables(source):
    return [path for path in source.files(".csv") if path.name == "_classes.csv"]


def read_roboflow(source):
    """Reads Roboflow masks: `NAME_mask.png` next to the images, and `_classes.csv`."""
    classes, frames = ClassList(), []
    for table in _class_tables(source):
        ids = {}
        for row in list(csv.reader(read_text(table).splitlines(), skipinitialspace=True))[1:]:
            if len(row) < 2 or not _are_bytes(row[:1]):
                raise ValueError(
                    f"{table}: expected lines of a pixel value and a class. Received: {row}"
                )
            name = row[1].strip()
            ids[int(row[0])] = UNLABELED if is_background(name) else classes.label(name)
        encoding = IndexEncoding(ids)
        masks = [m for m in _masks(source, table.parent) if m.stem.endswith("_mask")]
        missing = []
        for mask in masks:
            image = source.beside(mask.with_name(mask.stem.removesuffix("_mask")), mask)
            if image is None:
                missing.append(mask.name)
                continue
            split = source.split(mask)
            frames.append(Frame(image, mask, mask=MaskFile(mask, encoding), split=split))
        check_images(table, missing, source.images_root)
    return Annotations(tuple(classes.names), tuple(frames), _NO_OVERLAPS, "background")


def is_mapillary(source):
    """Returns whether the source has a JSON file of labels with colors."""
    return _color_table(source) is not None


def _color_table(source):
    """Returns the `config*.json` of the newest version that has labels with colors, or None."""
    for path in reversed(source.json_files):
        if path.parent == source.root and path.name.startswith("config"):
            content = source.json(path)
            labels = content.get("labels") if isinstance(content, dict) else None
            entries = labels if isinstance(labels, list) else []
            if entries and all(isinstance(entry, dict) and "color" in entry for entry in entries):
                return path
    return None


def read_mapillary(source):
    """Reads Mapillary Vistas: masks of colors, which are listed in `config*.json`.

    Images are in a folder `images`. Masks with the same names are in a folder `labels` next to it,
    or in `VERSION/labels`. Labels with `"evaluate": false` are ignored.
    """
    table = _color_table(source)
    entries = {
        str(entry.get("readable") or get(entry, "name", str, str(table))): entry
        for entry in source.json(table)["labels"]
    }
    void = [name for name, entry in entries.items() if not entry.get("evaluate", True)]
    classes, colors, by_color = ClassList(void=frozenset(void)), {}, {}
    for name, entry in entries.items():
        color = entry["color"]
        if not isinstance(color, list) or len(color) != 3 or not _are_bytes(map(str, color)):
            raise ValueError(
                f"{table}: {name}: expected three numbers in 0..255. Received: {color}"
            )
        label = classes.label(name)
        if by_color.setdefault(tuple(color), label) != label:
            raise ValueError(f"{table}: {name} and another class have the same color {color}")
        colors[name] = tuple(color)
    encoding, frames = ColorEncoding(by_color), []
    folders = {m: m.relative_to(source.root).parts[:-1] for m in _masks(source, source.root)}
    # config_v2.0.json belongs to training/v2.0/labels.
    version = table.stem.removeprefix("config").strip("_-")
    if any(version in parts for parts in folders.values()):
        folders = {mask: parts for mask, parts in folders.items() if version in parts}
    of_image = {
        (source.split(mask), _below(mask, parts, "labels")): mask
        for mask, parts in folders.items()
        if "labels" in parts
    }
    for image in source.images:
        parts = image.relative_to(source.images_root).parts[:-1]
        if "images" in parts:
            split = source.split(image)
            mask = of_image.get((split, _below(image, parts, "images")))
            read = MaskFile(mask, encoding) if mask else None
            frames.append(Frame(image, mask or image, mask=read, split=split))
    if not any(frame.is_annotated for frame in frames):
        raise ValueError(f"{source.root}: expected images/NAME with labels/NAME.png, found none")
    notes = (f"ignored classes: {', '.join(void)}",) if void else ()
    return Annotations(tuple(classes.names), tuple(frames), _NO_OVERLAPS, "ignore", colors, notes)


def _below(path, parts, folder):
    """Returns the parts of a path after a folder, without the extension."""
    return (*parts[parts.index(folder) + 1 :], path.stem)


def is_ade20k(source):
    """Returns whether the source has `images/training` and `annotations/training`."""
    return all((source.root / name / "training").is_dir() for name in ("images", "annotations"))


def read_ade20k(source):
    """Reads ADE20K as in the scene parsing challenge: indices 1, 2, ..., and 0 for no class.

    The names of the classes are read from `objectInfo150.txt` if it exists. Source:
    https://github.com/CSAILVision/sceneparsing.
    """
    table, names = source.root / "objectInfo150.txt", {}
    if table.is_file():
        rows = list(csv.reader(read_text(table).splitlines(), delimiter="\t"))
        for row in rows[1:]:
            if len(row) < 2 or not row[0].strip().isdecimal():
                raise ValueError(f"{table}: expected lines of an index and names. Received: {row}")
            names[int(row[0])] = row[-1].split(",")[0].strip()
    pairs = []
    for folder in ("training", "validation"):
        base = source.root / "annotations" / folder
        for mask in _masks(source, base):
            name = mask.relative_to(base).with_suffix("").as_posix()
            image = _image_of(source, name, (f"images/{folder}",), mask)
            check_images(base, [] if image else [name], source.images_root)
            pairs.append((image, mask, split_named(folder)))
    if not names:
        every = IndexEncoding({i: i for i in range(256)}, stored=True)
        used = {i for _, mask, _ in pairs for i in np.unique(MaskFile(mask, every).read()).tolist()}
        names = {i: f"class {i}" for i in range(1, max(used, default=0) + 1)}
    classes = ClassList()
    # Two indices may have the same name, such as "screen".
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    ids = {i: classes.label(f"{n} {i}" if n in twice else n) for i, n in sorted(names.items())}
    encoding = IndexEncoding({0: UNLABELED, **ids}, stored=True)
    frames = tuple(Frame(i, m, mask=MaskFile(m, encoding), split=split) for i, m, split in pairs)
    return Annotations(tuple(classes.names), frames, _NO_OVERLAPS, "ignore")


def _masks(source, folder):
    """Returns the PNG files below a folder, a sorted list."""
    pngs = (path for path in source.all_images if path.suffix.lower() == ".png")
    return sorted(path for path in pngs if path.is_relative_to(folder))


def _image_of(source, name, folders, mask):
    """Returns the image with a name, without extension, in one of the folders, or None."""
    paths = (source.images_root / folder / name for folder in folders)
    return next(filter(None, (source.beside(path, mask) for path in paths)), None)
