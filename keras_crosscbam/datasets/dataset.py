"""What every data set is to the rest of the package: a list of image and mask files."""

from dataclasses import dataclass, replace
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
        left_out: names of the groups of frames, such as drives, that were taken away.
    """

    name: str
    pairs: tuple[tuple[Path, Path], ...]
    classes: ClassTable
    encoding: IndexEncoding | ColourEncoding
    left_out: tuple[str, ...] = ()

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
        counts = [np.bincount(self[i][1].ravel(), minlength=256) for i in range(len(self))]
        return np.stack(counts)[:, : len(self.classes)]

    def subset(self, indices):
        """The data set of the pairs at these indices."""
        pairs = tuple(self.pairs[i] for i in indices)
        return replace(self, pairs=pairs)


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
