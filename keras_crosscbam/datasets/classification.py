"""Classification data sets in folders named after the classes, for pretraining encoders."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam.image_files import image_files, subfolders
from keras_crosscbam.images import read_image

READ_WHOLE = 2**30
"""The largest number of bytes that are read for a digest, which takes seconds."""


@dataclass(frozen=True)
class ClassificationDataset:
    """Image files and their classes.

    `len(dataset)` is the number of images. `dataset[i]` reads an image, uint8 RGB
    `(height, width, 3)`, and returns it with its class, an integer.

    Attributes:
        name: name of the data set, for messages and reports.
        files: `(image, class)` pairs.
        classes: names of the classes.
    """

    name: str
    files: tuple[tuple[Path, int], ...]
    classes: tuple[str, ...]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        """Reads an image. Raises a `ValueError` for an unreadable file."""
        path, label = self.files[index]
        return read_image(path), np.int64(label)

    def digest(self):
        """Returns a digest of the images and their classes, a text `sha256...:...`.

        The contents of the files are used if they have at most a gigabyte. For a larger set, such
        as ImageNet, only the names and sizes of the files are used, so a changed image with the
        same name and size is not detected.
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
    """Loads images from `ROOT/SPLIT/CLASS/*`, as ImageNet is stored, from one or several folders.

        >>> from keras_crosscbam.datasets.classification import load_image_folders
        >>> train = load_image_folders("imagenet", "train")  # doctest: +SKIP
        >>> both = load_image_folders(["imagenet20", "tiny-imagenet"], "train")  # doctest: +SKIP

    Folders with the same class name in different roots are one class.

    Args:
        root: a folder, or a list or tuple of folders.
        split: name of a folder in each root, such as `"train"` or `"val"`. For every split the
            classes are those of the folders `train`, sorted by name.

    Returns:
        A `ClassificationDataset`.

    Raises:
        ValueError: for a folder that is missing or has no classes, and a class without images.
    """
    roots = [Path(r) for r in (root if isinstance(root, list | tuple) else [root])]
    if len({r.resolve() for r in roots}) < len(roots):
        raise ValueError(
            f"The folders of images must be different. Received: {', '.join(map(str, roots))}"
        )
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
    """Returns the names of the classes in the folder `train` of a root."""
    classes = subfolders(root / "train")
    if len(classes) < 2:
        raise ValueError(f"{root}: expected files train/CLASS/IMAGE of at least two classes")
    unknown = [name for name in subfolders(root / split) if name not in classes]
    if unknown:
        raise ValueError(f"{root / split} has classes that train/ does not have: {unknown[:5]}")
    return classes
