"""Cityscapes (Cordts et al., 2016): street frames of 50 German-speaking cities, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.classes import CITYSCAPES_CLASSES, CITYSCAPES_IDS, IGNORE
from keras_crosscbam.datasets.encodings import IndexEncoding
from keras_crosscbam.datasets.listing import Listing, pair
from keras_crosscbam.image_files import image_files_below, is_broken_link

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import StrPath

# License plates have the id -1, which tools write as 255 or sometimes as 34.
_LABEL_IDS = IndexEncoding(
    {
        **dict.fromkeys((*range(35), 255), IGNORE),
        **{i: label for label, i in enumerate(CITYSCAPES_IDS)},
    }
)
_TRAIN_IDS = IndexEncoding({i: i for i in (*range(len(CITYSCAPES_CLASSES)), IGNORE)})

SPLITS = ("train", "val", "test")


def load_cityscapes(root: StrPath, split: str) -> SegmentationDataset:
    """Loads a split of Cityscapes with fine annotations, in the layout of the official archives.

        >>> from keras_crosscbam.datasets import load_cityscapes
        >>> image, labels = load_cityscapes("cityscapes", "val")[0]  # doctest: +SKIP

    Images are `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and masks are
    `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`. No conversion is needed. If a split has no such
    masks, `*_gtFine_labelTrainIds.png` are used instead.

    In the test split of the archives every pixel is unlabeled. Use `split_images` to list its
    images, and `keras_crosscbam.label_files` to write results for the benchmark's server.

    Args:
        root: folder that contains `leftImg8bit/` and `gtFine/`.
        split: `"train"`, `"val"` or `"test"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for an unknown split, a split without frames, and frames without mask or
            image, with their names.
    """
    return list_cityscapes(root, split).dataset()


def list_cityscapes(root, split):
    """Returns the `Listing` of a split. Raises a `ValueError` for an unknown split."""
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: {split!r}")
    images = _by_frame(root / "leftImg8bit" / split, "_leftImg8bit.png")
    masks, encoding = _by_frame(root / "gtFine" / split, "_gtFine_labelIds.png"), _LABEL_IDS
    if not masks:
        masks = _by_frame(root / "gtFine" / split, "_gtFine_labelTrainIds.png")
        encoding = _TRAIN_IDS if masks else _LABEL_IDS
    return Listing(root, split, "cityscapes", pair(images, masks), CITYSCAPES_CLASSES, encoding)


def _by_frame(folder, ending):
    """Returns the files with an ending by city and frame, such as `bonn/bonn_000000_000019`."""
    return {
        f"{path.parent.name}/{path.name.removesuffix(ending)}": path
        for path in image_files_below(folder)
        # A broken link without an extension is the folder of a city that is missing.
        if path.name.endswith(ending) or (not path.suffix and is_broken_link(path))
    }
