"""Readers of pairs of images and masks with corresponding folders or file names."""

import csv

import numpy as np

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets.conversion.annotations import (
    UNLABELED,
    Annotations,
    ClassList,
    Frame,
    is_background,
)
from keras_crosscbam.datasets.conversion.drawing import MaskFile
from keras_crosscbam.datasets.conversion.source import read_text
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.folder import common_suffix
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.datasets.masks import UnclearIdsError

_IMAGES = ("images", "image", "imgs", "img", "JPEGImages")
_MASKS = ("masks", "mask", "labels", "label", "annotations", "gt", "segmentations", "seg")
_NAMES = ("classes.txt", "class_names.txt", "label_names.txt", "labels.txt")
_EVERY_ID = {number: number for number in range(256)}


def is_pair_of_folders(source):
    """Returns whether the source has a folder of masks next to a folder of images."""
    return source.file is None and bool(_by_folders(source))


def is_pair_by_suffix(source):
    """Returns whether the source has masks next to their images, with a suffix in their names."""
    return source.file is None and bool(_by_suffix(source) or _label_me_folders(source))


def read_folders(source):
    """Reads masks from a folder such as `labels` next to `images`."""
    return _read(source, _by_folders(source))


def read_suffix(source):
    """Reads masks such as `NAME_mask.png` next to `NAME.jpg`, or `NAME_json/label.png`."""
    folders = _label_me_folders(source)
    return _read_label_me(source, folders) if folders else _read(source, _by_suffix(source))


def _by_folders(source):
    """Returns a dict from image to mask for paths that differ in the name of one folder."""
    images, masks = {}, {}
    for path in sorted(source.all_images):
        root = source.root if path.is_relative_to(source.root) else source.images_root
        parts = path.relative_to(root).with_suffix("").parts
        for position, part in enumerate(parts[:-1]):
            key = "/".join((*parts[:position], "*", *parts[position + 1 :]))
            if part in _IMAGES:
                _enter(images, key, path)
            elif part in _MASKS and path.suffix.lower() != ".jpg":
                _enter(masks, key, path)
    if not images or not masks:
        return {}
    suffix = "" if images.keys() & masks.keys() else common_suffix(images.keys(), masks.keys())
    named = {key.removesuffix(suffix): path for key, path in masks.items() if key.endswith(suffix)}
    pairs = {path: named[key] for key, path in images.items() if key in named}
    alone = [str(path) for key, path in images.items() if key not in named]
    if pairs and alone:
        raise ValueError(f"{source.root}: {len(alone)} images have no mask: {shorten_list(alone)}")
    return pairs


def _enter(files, key, path):
    if key in files:
        raise ValueError(f"{path}: has the same counterpart as {files[key]}. Keep one of them")
    files[key] = path


def _by_suffix(source):
    """Returns a dict from image to mask, a PNG next to it whose name has a suffix."""
    names = {path.with_suffix("").as_posix(): path for path in source.images}
    pngs = {name for name, path in names.items() if path.suffix.lower() == ".png"}
    others = names.keys() - pngs
    suffix = common_suffix(others or pngs, pngs)
    if not suffix:
        return {}
    masks = {name.removesuffix(suffix): names[name] for name in pngs if name.endswith(suffix)}
    images = {name: path for name, path in names.items() if not name.endswith(suffix)}
    alone = [str(path) for name, path in images.items() if name not in masks]
    if alone:
        raise ValueError(f"{source.root}: {len(alone)} images have no mask: {shorten_list(alone)}")
    return {path: masks[name] for name, path in sorted(images.items())}


def _label_me_folders(source):
    return [
        p for p in source.files("label.png") if p.name == "label.png" and "_json" in p.parent.name
    ]


def _read_label_me(source, masks):
    """Reads the output of labelme_json_to_dataset, in which each folder has different ids."""
    classes, frames = ClassList(), []
    for mask in masks:
        table = mask.with_name("label_names.txt")
        if not table.is_file():
            raise ValueError(f"{mask}: expected {table.name} next to it, with the names of its ids")
        ids = {
            i: UNLABELED if is_background(name) else classes.label(name)
            for i, name in enumerate(_lines(table))
        }
        stem = mask.parent.name.removesuffix("_json")
        image = source.beside(mask.parent.with_name(stem)) or source.beside(mask.with_name("img"))
        if image is None:
            raise ValueError(
                f"{mask}: has no image. Expected {stem} next to its folder, or img.png in it"
            )
        encoding = IndexEncoding(ids, stored=True)
        frames.append(Frame(image, mask, mask=MaskFile(mask, encoding), split=source.split(image)))
    return _annotations(classes, frames, "background")


def _annotations(classes, frames, unlabeled, colors=None):
    order = "masks contain one class for each pixel"
    return Annotations(tuple(classes.names), tuple(frames), order, unlabeled, colors or {})


def _lines(path):
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    # The first entry in lists of LabelMe has the id -1.
    return lines[1:] if lines[:1] == ["__ignore__"] else lines


def _read(source, pairs):
    classes, colors = ClassList(), _color_table(source.root / "class_dict.csv")
    if colors:
        by_color = {color: _label(classes, name) for name, color in colors.items()}
        encoding = ColorEncoding(by_color)
    else:
        encoding = IndexEncoding(_ids(source, pairs, classes))
    masks = [MaskFile(mask, encoding) for mask in pairs.values()]
    frames = [
        Frame(image, mask.path, mask=mask, split=source.split(image))
        for image, mask in zip(pairs, masks, strict=True)
    ]
    labels = (by_color if colors else encoding.ids).values()
    unlabeled = "background" if UNLABELED in labels else None
    return _annotations(classes, frames, unlabeled, colors)


def _label(classes, name):
    return UNLABELED if is_background(name) else classes.label(name)


def _color_table(path):
    """Reads a dict from name to color from a table `name,r,g,b`; empty if there is none."""
    if not path.is_file():
        return {}
    colors = {}
    for row in list(csv.reader(read_text(path).splitlines(), skipinitialspace=True))[1:]:
        channels = row[1:4]
        if len(channels) != 3 or not all(c.isdecimal() and int(c) < 256 for c in channels):
            raise ValueError(f"{path}: expected lines of name,r,g,b. Received: {','.join(row)}")
        color = tuple(map(int, channels))
        if row[0] in colors or color in colors.values():
            raise ValueError(f"{path}: {row[0]} or its color is a duplicate")
        colors[row[0]] = color
    return colors


def _ids(source, pairs, classes):
    """Returns a dict from the ids in the masks to labels."""
    used, unclear = set(), []
    for mask in pairs.values():
        try:
            labels = MaskFile(mask, IndexEncoding(_EVERY_ID)).read()
        except UnclearIdsError:
            # The mask is black and white, stored as 0 and 1.
            labels = MaskFile(mask, IndexEncoding({0: 0, IGNORE: IGNORE})).read()
            unclear.append(mask)
        used |= set(np.unique(labels).tolist())
    if unclear and not used <= {0, IGNORE}:
        raise ValueError(
            f"{unclear[0]}: stores 0 and 1 and shows black and white, but other masks contain "
            f"the ids {shorten_list(sorted(used))}. Save all of them as 8-bit gray"
        )
    names = source.class_names or next(
        (_lines(source.root / name) for name in _NAMES if (source.root / name).is_file()), None
    )
    if used <= {0, 1} or used <= {0, IGNORE}:
        return _two_ids(classes, names, max(used | {1}), source.root)
    highest = max(used - {IGNORE})
    names = names or [f"class {i}" for i in range(highest + 1)]
    if highest >= len(names):
        raise ValueError(
            f"{source.root}: the masks contain the id {highest}, but there are only names for 0.."
            f"{len(names) - 1}"
        )
    return {IGNORE: IGNORE, **{i: _label(classes, name) for i, name in enumerate(names)}}


def _two_ids(classes, names, white, root):
    """Returns the labels of the ids 0 and `white`: an object and background, or two classes."""
    names = names or ["background", "object"]
    names = ["background", *names] if len(names) == 1 else names
    if len(names) != 2:
        raise ValueError(
            f"{root}: the masks contain the ids 0 and {white}, but there are {len(names)} names"
        )
    return {number: _label(classes, name) for number, name in zip((0, white), names, strict=True)}
