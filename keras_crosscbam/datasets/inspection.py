"""Checks every file of a split and collects all problems, also those that prevent loading."""

from collections import Counter, defaultdict

import numpy as np

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets.encodings import IndexEncoding
from keras_crosscbam.datasets.label_statistics import (
    decode_leniently,
    enough_classes,
    random_crop_is_empty,
    too_few_labels,
)
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.datasets.masks import Palettes, UnclearIdsError, read_mask
from keras_crosscbam.image_channels import read_oriented_channels
from keras_crosscbam.images import RefusedError, UnknownRangeError
from keras_crosscbam.progress import progress as with_progress

CROP_SIZE = (360, 480)

# Largest difference of the channels in a gray picture, which may have lossy compression.
_GRAY = 8

_FAULTS = {
    "unreadable": "unreadable files",
    "range": "images of more than 8 bits whose range is not known",
    "unclear": "masks of which it is not clear what the ids are",
    "refused": "files with content that cannot be used",
    "size": "masks that differ in size from their images",
    "jpeg": "masks in JPEG, which changes ids and colors (export them again as PNG)",
    "gray": "masks with ids as gray in three channels (save them with one channel)",
    "colors": "masks of colors where ids are expected (convert them, or write `masks: colors` in "
    "dataset.yaml)",
    "ids": "masks of one channel where colors are expected (convert them, or write `masks: ids` in "
    "dataset.yaml)",
}


class SplitInspection:
    """Statistics and problems of the files of a split.

    Attributes:
        split, classes: split and classes of the listing.
        frames: number of frames, complete or not.
        sizes: a `Counter` of the sizes `(height, width)` of the readable images.
        hashes: a dict from the SHA-256 of each readable image file to its path.
        counts: number of labeled pixels of each class, int64 `(classes,)`.
        ignored: a `Counter` of the pixels with each ignored id or color.
        pixels: number of pixels in all masks that could be decoded, labeled or not.
        mask_kinds: a `Counter` of how the masks are stored, such as "8-bit gray".
        crops: list of booleans, whether each random training crop has no labeled pixel. Empty if no
            crops are drawn.
    """

    def __init__(self, listing, crop_size=None, scale_range=None, progress=False):
        """Reads all files of a `Listing`. Draws random training crops if `scale_range` is given."""
        self.split = listing.split
        self.classes = listing.classes
        self.frames = len(listing.frames)
        self.sizes = Counter()
        self.hashes = {}
        self.counts = np.zeros(len(listing.classes), np.int64)
        self.ignored = Counter()
        self.pixels = 0
        self.mask_kinds = Counter()
        self.crops = []
        self._problems = listing.problems()
        self._encoding = listing.encoding
        self._value_range = listing.value_range
        self._channels = listing.channels
        self._palettes = Palettes()
        self._turned_alone = []
        self._faults = defaultdict(list)
        self._unknown_masks = []
        self._unknown_pixels = Counter()
        self._unknown_files = Counter()
        rng = np.random.default_rng(0)
        for frame in with_progress(listing.frames, "frames", progress):
            size, orientation = self._inspect_image(frame.image) if frame.image else (None, None)
            labels = self._inspect_mask(frame.mask, size, orientation) if frame.mask else None
            if labels is not None and scale_range is not None:
                # A few hundred crops are enough to estimate the share to a few percent.
                for _ in range(max(4, 400 // self.frames)):
                    crop = crop_size or np.minimum(CROP_SIZE, labels.shape)
                    self.crops.append(random_crop_is_empty(labels, crop, scale_range, rng))

    def _inspect_image(self, path):
        """Returns `(height, width)` and EXIF orientation of an image, or None for both."""
        try:
            image, orientation = read_oriented_channels(path, self._channels, self._value_range)
        except ValueError as error:
            self._refuse(path, error)
            return None, None
        size = image.shape[:2]
        self.hashes[file_sha256(path)] = path
        self.sizes[size] += 1
        return size, orientation

    def _refuse(self, path, error):
        kinds = {UnknownRangeError: "range", UnclearIdsError: "unclear", RefusedError: "refused"}
        faults = self._faults[kinds.get(type(error), "unreadable")]
        # The message is long and similar for all files, so only the first one is kept.
        faults.append(path if faults and isinstance(error, RefusedError) else error)

    def _inspect_mask(self, path, image_size, image_orientation):
        """Returns the labels of a mask, or None."""
        try:
            read = read_mask(path, self._encoding)
        except ValueError as error:
            self._refuse(path, error)
            return None
        mask = read.pixels
        self.mask_kinds[read.kind] += 1
        self._palettes.add(path, read.palette)
        if image_orientation not in (None, read.orientation):
            self._turned_alone.append(f"{path} ({read.orientation}, its image {image_orientation})")
        if image_size not in (None, mask.shape[:2]):
            (rows, columns), (height, width) = mask.shape[:2], image_size
            self._faults["size"].append(f"{path} ({columns}x{rows}, its image {width}x{height})")
        if read.format == "JPEG":
            self._faults["jpeg"].append(path)
        expects_ids = isinstance(self._encoding, IndexEncoding)
        if expects_ids != (mask.ndim == 2):
            self._faults[_wrong_kind(mask)].append(path)
            return None
        labels, unknown = decode_leniently(mask, self._encoding)
        if unknown:
            self._unknown_masks.append(path)
            self._unknown_pixels.update(unknown)
            self._unknown_files.update(unknown.keys())
        left_out = Counter(self._encoding.count_values(mask[labels == IGNORE]))
        left_out.subtract(unknown)
        self.ignored += left_out
        self.pixels += labels.size
        self.counts += np.bincount(labels.ravel(), minlength=256)[: len(self.counts)]
        return labels

    def errors(self):
        """Returns a message for each kind of problem that prevents loading."""
        errors = list(self._problems)
        for fault, text in _FAULTS.items():
            if files := self._faults[fault]:
                errors.append(
                    f"{self.split}: {text}, {len(files)} in {self.frames} frames: "
                    f"{shorten_list(files, 3)}"
                )
        if contradiction := self._palettes.contradiction():
            errors.append(f"{self.split}: {contradiction}")
        if self._unknown_masks:
            errors.append(self._describe_unknown_values())
        if self.pixels and not enough_classes(self.counts):
            errors.append(too_few_labels(self.split, self.classes, self.counts, self.ignored))
        return errors

    def warnings(self):
        """Yields a message for each possible problem that does not prevent loading."""
        if self._turned_alone:
            yield (
                f"{self.split}: masks with another EXIF orientation than their images, "
                f"{len(self._turned_alone)} in {self.frames} frames: "
                f"{shorten_list(self._turned_alone, 3)}. Each file is rotated by its own "
                "orientation. Check that masks and images match in an image viewer"
            )

    def _describe_unknown_values(self):
        kind = "ids" if isinstance(self._encoding, IndexEncoding) else "colors"
        unknown = (
            f"{value} ({100 * pixels / self.pixels:.2g} % of the pixels, masks: "
            f"{self._unknown_files[value]})"
            for value, pixels in self._unknown_pixels.most_common()
        )
        text = (
            f"{self.split}: {kind} that belong to no class, {len(self._unknown_masks)} masks in "
            f"{self.frames} frames: {shorten_list(unknown)}; for example in "
            f"{shorten_list(self._unknown_masks, 3)}"
        )
        if self.classes.one_logit:
            text += ". If they are background, write `background: rest` in dataset.yaml"
        return text


def _wrong_kind(mask):
    if mask.ndim == 2:
        return "ids"
    spread = mask[..., :3].max(axis=-1) - mask[..., :3].min(axis=-1)
    return "gray" if spread.max() <= _GRAY else "colors"
