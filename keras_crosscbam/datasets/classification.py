"""Images in folders named after their class, as ImageNet is laid out, for pretraining encoders."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam.image_files import image_files, subfolders
from keras_crosscbam.images import read_image

READ_WHOLE = 2**30
"""Bytes of images that are read for a digest: seconds of reading."""


@dataclass(frozen=True)
class ClassificationDataset:
    """Image files and the classes they show.

    `len(dataset)` is the number of images and `dataset[i]` reads one: uint8 RGB
    `(height, width, 3)`, and its class, a whole number.

    Attributes:
        name: for messages and reports.
        files: `(image, class)` pairs.
        classes: names of the classes.
    """

    name: str
    files: tuple[tuple[Path, int], ...]
    classes: tuple[str, ...]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        """Reads an image; a `ValueError` names a file that is unreadable."""
        path, label = self.files[index]
        return read_image(path), np.int64(label)

    def digest(self):
        """What tells the images and their classes from others, a text `sha256...:...`.

        Up to a gigabyte of images is read for it. A larger set, such as ImageNet, is told by the
        names and sizes of its files: another image of the same name and size is not noticed there.
        """
        size = sum(path.stat().st_size for path, _ in self.files)
        whole = size <= READ_WHOLE
        kind, tell = ("", _contents) if whole else (" of names and sizes", _name_and_size)
        digest = hashlib.sha256()
        for path, label in self.files:
            digest.update(tell(path) + label.to_bytes(4))
        return f"sha256{kind}:{digest.hexdigest()}"


def _contents(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _name_and_size(path):
    return hashlib.sha256(f"{path.name}/{path.stat().st_size}".encode()).digest()


def load_image_folders(root, split):
    """Images at `ROOT/SPLIT/CLASS/*`, of one folder or of several together.

        >>> from keras_crosscbam.datasets.classification import load_image_folders
        >>> train = load_image_folders("imagenet", "train")  # doctest: +SKIP
        >>> both = load_image_folders(["imagenet20", "tiny-imagenet"], "train")  # doctest: +SKIP

    Classes of the same folder name are one class, wherever they lie.

    Args:
        root: the folder, or a list or tuple of folders.
        split: name of a folder in each, such as `"train"` or `"val"`. The classes are those of
            `train` in all of them, in the order of their names, whatever the split.

    Raises:
        ValueError: for a folder that is missing or has no classes, and a class without images.
    """
    roots = [Path(r) for r in (root if isinstance(root, list | tuple) else [root])]
    if len({r.resolve() for r in roots}) < len(roots):
        raise ValueError(f"Folders of images must differ. Received: {', '.join(map(str, roots))}")
    of_root = {r: _class_folders(r, split) for r in roots}
    classes = tuple(sorted({name for names in of_root.values() for name in names}))
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for r in roots
        if name in of_root[r]
        for file in image_files(r / split / name)
    ]
    name = " + ".join(r.name for r in roots)
    return ClassificationDataset(name, tuple(files), classes)


def _class_folders(root, split):
    """The names of the classes of one folder, those that it trains on."""
    classes = subfolders(root / "train")
    if len(classes) < 2:
        raise ValueError(f"{root}: expected train/CLASS/IMAGE files of two classes or more")
    unknown = [name for name in subfolders(root / split) if name not in classes]
    if unknown:
        raise ValueError(f"{root / split} holds classes that train/ does not have: {unknown[:5]}")
    return classes
