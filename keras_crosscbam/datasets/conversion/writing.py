"""Writes a data set in the layout of `load_folder`: images, masks of ids and dataset.yaml."""

import shutil
from collections import Counter
from contextlib import contextmanager
from pathlib import PurePosixPath

import yaml

from keras_crosscbam.datasets.conversion.source import split_named
from keras_crosscbam.datasets.dataset_yaml import CLASS_FILE

_CONTAINERS = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "data")


def names_of(places):
    """Returns the path of each image in its split, without extension.

        >>> from keras_crosscbam.datasets.conversion.writing import names_of
        >>> names_of(["images/train2017/a.jpg", "train/images/town/b.jpg"])
        ['a', 'town/b']

    Folders with names such as `train` or `images` are left out, if the names are then still
    different.

    Args:
        places: paths of the images with slashes, all different.

    Raises:
        ValueError: for images that differ only in their extension.
    """
    short = [str(PurePosixPath(*_kept(place)).with_suffix("")) for place in places]
    if max(Counter(map(str.lower, short)).values(), default=1) == 1:
        return short
    whole = [str(PurePosixPath(place).with_suffix("")) for place in places]
    for name, count in Counter(map(str.lower, whole)).items():
        if count > 1:
            twice = [place for place, n in zip(places, whole, strict=True) if n.lower() == name]
            raise ValueError(f"{' and '.join(twice)} would have the same name. Rename one of them")
    return whole


def _kept(place):
    *folders, name = PurePosixPath(place).parts
    return (*(f for f in folders if f.lower() not in _CONTAINERS and not split_named(f)), name)


def write_class_file(folder, name, names, colors):
    """Writes dataset.yaml.

    Args:
        folder: folder to write to.
        name: name of the data set.
        names: names of the classes. For a data set with one class, without the background.
        colors: dict from name to color. Duplicate colors are left out.
    """
    entries, used = [], set()
    for class_name in names:
        entry, color = {"name": class_name}, colors.get(class_name)
        if color is not None and color not in used:
            used.add(color)
            entry["color"] = list(color)
        entries.append(entry)
    content = {"name": name, "masks": "ids", "ignore": [255], "classes": entries}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    (folder / CLASS_FILE).write_text(text, encoding="utf-8")


def put(file, folder, name, transfer):
    """Copies or moves a file to `NAME.EXT` in a folder, which is created if needed."""
    # `with_suffix` would be wrong for a name with a dot, such as frame.001.
    target = folder / f"{name}{file.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    transfer(file, target)


@contextmanager
def staged(out):
    """Context with a temporary folder that is renamed to `out` at the end, or removed on errors."""
    folder = out.with_name(f".unfinished-{out.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
