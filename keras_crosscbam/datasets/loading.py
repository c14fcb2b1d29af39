"""Any data set from its folder alone: the layout says which one it is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.camvid import list_camvid
from keras_crosscbam.datasets.cityscapes import list_cityscapes
from keras_crosscbam.datasets.folder import CLASS_FILE, list_folder

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import StrPath

# What a folder holds, and who reads it; the first that is there decides.
_LAYOUTS = {
    CLASS_FILE: list_folder,
    "leftImg8bit": list_cityscapes,
    "701_StillsRaw_full": list_camvid,
    "train.txt": list_camvid,
    "val.txt": list_camvid,
    "test.txt": list_camvid,
}


def load_dataset(root: StrPath, split: str, without: Sequence[str] = ()) -> SegmentationDataset:
    """A split of whatever data set a folder holds.

        >>> from keras_crosscbam.datasets import load_dataset
        >>> data = load_dataset("CamVid", "val")  # doctest: +SKIP
        >>> data.name, len(data)  # doctest: +SKIP
        ('camvid', 101)

    Args:
        root: a folder in the layout of `load_folder`, `load_cityscapes` or `load_camvid`.
        split: name of the split, such as `"train"`.
        without: names of groups of frames to leave out, see `load_held_out`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for a folder of none of the layouts, an unknown group, and whatever that
            layout's own function raises it for.
    """
    listing = list_split(root, split)
    for group in without:
        _check_group(listing, group)
    return listing.select(without=without).dataset()


def load_held_out(root: StrPath, group: str) -> SegmentationDataset:
    """All labeled frames of one group: what to judge a training without that group by.

        >>> from keras_crosscbam.datasets import load_dataset, load_held_out
        >>> train = load_dataset("CamVid", "train", without=["0006R0"])  # doctest: +SKIP
        >>> unseen = load_held_out("CamVid", "0006R0")  # doctest: +SKIP
        >>> len(train), len(unseen)  # doctest: +SKIP
        (266, 101)

    Frames of one drive resemble each other, and frames of a drive that was trained on tell little
    about other roads. A group is a drive of CamVid, a city of Cityscapes, and in data of one's own
    a folder in `images/SPLIT/`, whatever it holds (`"."` for the frames that lie in none).

    Args:
        root: as in `load_dataset`.
        group: name of the group.

    Returns:
        A `SegmentationDataset` of the group's frames in `train` and, where there is that split,
        in `val`.

    Raises:
        ValueError: for an unknown group, and whatever `load_dataset` raises it for.
    """
    listing = list_split(root, "train")
    # Data to be divided like this may have no val split of its own.
    with contextlib.suppress(ValueError):
        val = list_split(root, "val")
        listing = replace(
            listing,
            split="train and val",
            frames=listing.frames + val.frames,
            faults=listing.faults + val.faults,
        )
    _check_group(listing, group)
    return listing.select([group]).dataset()


def _check_group(listing, group):
    if group not in listing.groups:
        raise ValueError(
            f"{listing.root}: a group of frames to hold out must be one of "
            f"{', '.join(listing.groups) or 'none: their names tell no groups'}. "
            f"Received: {group!r}"
        )


def split_images(root: StrPath, split: str) -> tuple[Path, ...]:
    """The image files of a split, which need no masks: what to predict on.

        >>> from keras_crosscbam.datasets import split_images
        >>> images = split_images("cityscapes", "test")  # doctest: +SKIP

    Args:
        root, split: as in `load_dataset`.

    Returns:
        A tuple of paths, in the order of `load_dataset`.

    Raises:
        ValueError: for a folder of none of the layouts, an unknown split, or missing images.
    """
    return list_split(root, split).images()


def list_split(root, split):
    """The `Listing` of a split, for `load_dataset`, `split_images` and the doctor."""
    root = Path(root)
    for sign, list_layout in _LAYOUTS.items():
        if (root / sign).exists():
            return list_layout(root, split)
    raise ValueError(
        f"{root}: no data set. Expected {CLASS_FILE} beside images/ and masks/ (your own data), "
        "leftImg8bit/ beside gtFine/ (Cityscapes), or train.txt or 701_StillsRaw_full/ (CamVid)."
    )
