"""The class of all segmentation data sets: a list of image and mask files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.masks import Palettes, read_mask
from keras_crosscbam.image_channels import read_oriented_channels


@dataclass(frozen=True)
class SegmentationDataset:
    """Pairs of image and mask files, and their classes.

    `len(dataset)` is the number of pairs. `dataset[i]` reads a pair and returns an image, uint8
    `(height, width, channels)`, and its labels, uint8 `(height, width)`, with 255 for ignored
    pixels.

    Attributes:
        name: name of the data set, for messages and reports.
        pairs: pairs of an image file and a mask file.
        classes: names and colors of the classes.
        encoding: encoding of the classes in the masks.
        value_range: the values of black and white in images with more than 8 bits, as in
            `keras_crosscbam.images.to_rgb`.
        left_out: names of the groups of frames, such as drives, that were removed.
        channels: number of channels of the images, 3 for RGB; see
            `keras_crosscbam.image_channels.read_channels`.
    """

    name: str
    pairs: tuple[tuple[Path, Path], ...]
    classes: ClassTable
    encoding: IndexEncoding | ColorEncoding
    value_range: tuple[float, float] | None = None
    left_out: tuple[str, ...] = ()
    channels: int = 3
    _palettes: Palettes = field(default_factory=Palettes, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a pair. Raises a `ValueError` with the name of an unreadable or wrong file.

        A mask is also wrong if its palette contradicts those of masks that were read before.
        """
        image_path, mask_path = self.pairs[index]
        image, orientation = read_oriented_channels(image_path, self.channels, self.value_range)
        mask = read_mask(mask_path, self.encoding)
        self._palettes.add(mask_path, mask.palette)
        if contradiction := self._palettes.contradiction():
            raise ValueError(f"{self.name}: {contradiction}")
        try:
            labels = self.encoding.decode(mask.pixels)
        except ValueError as error:
            raise ValueError(f"{mask_path}: {error}") from error
        if labels.shape != image.shape[:2]:
            turned = f" after EXIF orientation {mask.orientation} of the mask, {orientation} of it"
            raise ValueError(
                f"{mask_path}: the mask is {labels.shape[1]}x{labels.shape[0]} pixels, its image "
                f"{image_path} {image.shape[1]}x{image.shape[0]}"
                f"{turned if orientation != mask.orientation else ''}. The sizes must be equal"
            )
        return image, labels

    def count_pixels(self) -> np.ndarray:
        """Counts the labeled pixels of each class in each frame, int64 `(frames, classes)`.

        Reads and checks every file, and checks that the palettes of the masks agree.
        """
        return self.read_all()[0]

    def read_all(self) -> tuple[np.ndarray, dict[str, str]]:
        """Reads and checks every file once, and checks that the palettes of the masks agree.

        Returns:
            counts: number of labeled pixels of each class in each frame, int64
                `(frames, classes)`.
            digests: dict of texts `sha256:...` that do not depend on the names of the files.
                `"images"` is the digest of the image files and `"labels"` that of the decoded
                labels, both in the order of the frames.
        """
        counts = []
        read_as = repr(self.value_range) + (f" {self.channels}" if self.channels != 3 else "")
        images, masks = hashlib.sha256(read_as.encode()), hashlib.sha256()
        for index, (image_path, _) in enumerate(self.pairs):
            _, labels = self[index]
            counts.append(np.bincount(labels.ravel(), minlength=256))
            with open(image_path, "rb") as file:
                images.update(hashlib.file_digest(file, "sha256").digest())
            masks.update(repr(labels.shape).encode() + labels.tobytes())
        parts = {"images": images, "labels": masks}
        digests = {part: f"sha256:{digest.hexdigest()}" for part, digest in parts.items()}
        return np.stack(counts)[:, : len(self.classes)], digests

    def subset(self, indices: Iterable[int]) -> SegmentationDataset:
        """Returns a data set with the pairs at these indices."""
        return replace(self, pairs=tuple(self.pairs[i] for i in indices))
