"""What every data set is to the rest of the package: a list of image and mask files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam.datasets.labels import ClassTable, ColourEncoding, IndexEncoding
from keras_crosscbam.images import open_image, read_image


@dataclass(frozen=True)
class SegmentationDataset:
    """Pairs of image and mask files, with their classes.

    `len(dataset)` is the number of pairs and `dataset[i]` reads one: an RGB image, uint8
    `(height, width, 3)`, and its labels, uint8 `(height, width)`, ignore 255.

    Attributes:
        name: for messages and reports.
        pairs: `(image, mask)` files.
        classes: names and colours of the classes.
        encoding: how the masks encode them.
    """

    name: str
    pairs: tuple[tuple[Path, Path], ...]
    classes: ClassTable
    encoding: IndexEncoding | ColourEncoding

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        """Reads a pair; a `ValueError` names the file that is unreadable or does not fit."""
        image_path, mask_path = self.pairs[index]
        image = read_image(image_path)
        mask = open_image(mask_path, mask_array)
        try:
            labels = self.encoding.decode(mask)
        except ValueError as error:
            raise ValueError(f"{mask_path}: {error}") from error
        if labels.shape != image.shape[:2]:
            raise ValueError(
                f"{mask_path}: the mask is {labels.shape[1]}x{labels.shape[0]} pixels, its image "
                f"{image_path} {image.shape[1]}x{image.shape[0]}; they must be equal"
            )
        return image, labels

    def count_pixels(self):
        """Labelled pixels of each class in each frame, int64 `(frames, classes)`.

        Reads and checks every file.
        """
        return self.read_through()[0]

    def read_through(self):
        """Reads and checks every file once.

        Returns:
            counts: labelled pixels of each class in each frame, int64 `(frames, classes)`.
            digests: what tells the contents from others, whatever the files' names: `"images"`, a
                text `sha256:...` of the image files, and `"labels"`, of the labels that the masks
                stand for, both in the order of the frames.
        """
        counts, images, masks = [], hashlib.sha256(), hashlib.sha256()
        for index, (image_path, _) in enumerate(self.pairs):
            _, labels = self[index]
            counts.append(np.bincount(labels.ravel(), minlength=256))
            with open(image_path, "rb") as file:
                images.update(hashlib.file_digest(file, "sha256").digest())
            masks.update(repr(labels.shape).encode() + labels.tobytes())
        parts = {"images": images, "labels": masks}
        digests = {part: f"sha256:{digest.hexdigest()}" for part, digest in parts.items()}
        return np.stack(counts)[:, : len(self.classes)], digests

    def subset(self, indices):
        """The data set of the pairs at these indices."""
        pairs = tuple(self.pairs[i] for i in indices)
        return SegmentationDataset(self.name, pairs, self.classes, self.encoding)


def mask_array(image):
    """A Pillow image as uint8, ids or RGB; of a palette image its indices, not the colours."""
    if image.mode not in ("L", "P", "1", "RGB", "RGBA"):
        image = image.convert("I") if image.mode.startswith("I") else image.convert("RGB")
    array = np.asarray(image)
    if array.ndim == 2 and array.dtype != np.uint8:
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"expected ids of 0..255; received up to {array.max()}")
        array = array.astype(np.uint8)
    return array
