"""What every data set is to the rest of the package: a list of image and mask files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from keras_crosscbam.classes import ClassTable, ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.masks import Palettes, read_mask
from keras_crosscbam.image_channels import read_oriented_channels


@dataclass(frozen=True)
class SegmentationDataset:
    """Pairs of image and mask files, with their classes.

    `len(dataset)` is the number of pairs and `dataset[i]` reads one: an image, uint8
    `(height, width, channels)`, and its labels, uint8 `(height, width)`, ignore 255.

    Attributes:
        name: for messages and reports.
        pairs: `(image, mask)` files.
        classes: names and colors of the classes.
        encoding: how the masks encode them.
        value_range: the values that are black and white in images of more than 8 bits, as in
            `keras_crosscbam.images.to_rgb`.
        left_out: names of the groups of frames, such as drives, that were taken away.
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
        """Reads a pair; a `ValueError` names the file that is unreadable or does not fit.

        The palette of a mask must also agree with those of the masks that were read before.
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
                f"{turned if orientation != mask.orientation else ''}; they must be equal"
            )
        return image, labels

    def count_pixels(self) -> np.ndarray:
        """Labeled pixels of each class in each frame, int64 `(frames, classes)`.

        Reads and checks every file, and that the palettes of masks agree.
        """
        return self.read_all()[0]

    def read_all(self) -> tuple[np.ndarray, dict[str, str]]:
        """Reads and checks every file once, and that the palettes of masks agree.

        Returns:
            counts: labeled pixels of each class in each frame, int64 `(frames, classes)`.
            digests: what tells the contents from others, whatever the files' names: `"images"`, a
                text `sha256:...` of the image files, and `"labels"`, of the labels that the masks
                stand for, both in the order of the frames.
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
        """The data set of the pairs at these indices."""
        return replace(self, pairs=tuple(self.pairs[i] for i in indices))
