"""Loads a data set in any supported layout, which is recognized from its folder."""

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

# The function that lists a folder containing a file or folder. The first one that exists is used.
_LAYOUTS = {
    CLASS_FILE: list_folder,
    "leftImg8bit": list_cityscapes,
    "701_StillsRaw_full": list_camvid,
    "train.txt": list_camvid,
    "val.txt": list_camvid,
    "test.txt": list_camvid,
}


def load_dataset(
    root: StrPath, split: str | Sequence[str], without: Sequence[str] = ()
) -> SegmentationDataset:
    """Loads a split of a data set in any supported layout.

        >>> from keras_crosscbam.datasets import load_dataset
        >>> data = load_dataset("CamVid", "val")  # doctest: +SKIP
        >>> data.name, len(data)  # doctest: +SKIP
        ('camvid', 101)

    Args:
        root: a folder in the layout of `load_folder`, `load_cityscapes` or `load_camvid`.
        split: name of the split, such as `"train"`, or a sequence of names of splits to join.
        without: names of groups of frames to leave out, see `load_held_out`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for a folder without a supported layout, an unknown group, and for every error
            of the function that loads the layout.
    """
    listing = list_split(root, split)
    for group in without:
        _check_group(listing, group)
    return listing.select(without=without).dataset()


def load_held_out(root: StrPath, group: str) -> SegmentationDataset:
    """Loads all labeled frames of one group, to evaluate a training without that group.

        >>> from keras_crosscbam.datasets import load_dataset, load_held_out
        >>> train = load_dataset("CamVid", "train", without=["0006R0"])  # doctest: +SKIP
        >>> unseen = load_held_out("CamVid", "0006R0")  # doctest: +SKIP
        >>> len(train), len(unseen)  # doctest: +SKIP
        (266, 101)

    Frames of one drive are similar, so the accuracy on frames of a drive that was trained on does
    not show the accuracy on other roads. A group is a drive of CamVid, a city of Cityscapes, or a
    folder in `images/SPLIT/` of a user's data set (`"."` for the frames in no folder).

    Args:
        root: as in `load_dataset`.
        group: name of the group.

    Returns:
        A `SegmentationDataset` with the frames of the group in `train` and, if this split exists,
        in `val`.

    Raises:
        ValueError: for an unknown group, and for every error of `load_dataset`.
    """
    listing = list_split(root, "train")
    # Data that is split by groups may have no val split.
    with contextlib.suppress(ValueError):
        val = list_split(root, "val")
        listing = _joined([listing, val])
    _check_group(listing, group)
    return listing.select([group]).dataset()


def _joined(listings):
    return replace(
        listings[0],
        split=" and ".join(listing.split for listing in listings),
        frames=tuple(frame for listing in listings for frame in listing.frames),
        faults=tuple(fault for listing in listings for fault in listing.faults),
    )


def _check_group(listing, group):
    if group not in listing.groups:
        raise ValueError(
            f"{listing.root}: a group of frames to hold out must be one of "
            f"{', '.join(listing.groups) or 'none: their names contain no groups'}. "
            f"Received: {group!r}"
        )


def split_images(root: StrPath, split: str | Sequence[str]) -> tuple[Path, ...]:
    """Returns the image files of a split, which needs no masks.

        >>> from keras_crosscbam.datasets import split_images
        >>> images = split_images("cityscapes", "test")  # doctest: +SKIP

    Args:
        root, split: as in `load_dataset`.

    Returns:
        A tuple of paths, in the order of `load_dataset`.

    Raises:
        ValueError: for a folder without a supported layout, an unknown split, or missing images.
    """
    return list_split(root, split).images()


def list_split(root, split):
    """Returns the `Listing` of a split, or of a sequence of splits together."""
    if not isinstance(split, str):
        if not split or len(set(split)) < len(split):
            raise ValueError(f"`split` must name different splits. Received: {split!r}")
        return _joined([list_split(root, name) for name in split])
    root = Path(root)
    for sign, list_layout in _LAYOUTS.items():
        if (root / sign).exists():
            return list_layout(root, split)
    raise ValueError(
        f"{root}: no data set. Expected {CLASS_FILE}, images/ and masks/ (your own data), "
        "leftImg8bit/ and gtFine/ (Cityscapes), or train.txt or 701_StillsRaw_full/ (CamVid)."
    )
