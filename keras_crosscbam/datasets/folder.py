"""Loads a user's data set: folders of images and masks, and a YAML file with the classes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.dataset_yaml import CLASS_FILE, read_class_file
from keras_crosscbam.datasets.listing import Listing, pair
from keras_crosscbam.image_files import describe_broken_link, image_files_below, is_broken_link

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import StrPath


def load_folder(root: StrPath, split: str) -> SegmentationDataset:
    """Loads a split of a user's data set.

        >>> from keras_crosscbam.datasets import load_folder
        >>> image, labels = load_folder("mydata", "train")[0]  # doctest: +SKIP

    Images are `images/SPLIT/**/NAME.EXT`, with any extension that Pillow reads (with `channels` in
    `dataset.yaml` also `.npy`, see `keras_crosscbam.image_channels.read_channels`). Masks are
    `masks/SPLIT/**/NAME.png`, with the same folders and names. `dataset.yaml` describes the
    contents of the masks, see `read_class_file`. Links to files and folders are followed.

    With a `mask_suffix` in `dataset.yaml`, such as `_mask`, masks are `NAME_mask.png`, and other
    files in `masks/SPLIT` are ignored. If there is no folder `masks/SPLIT`, the masks are searched
    next to the images, in `images/SPLIT`.

    Args:
        root: folder that contains `images/`, `masks/` and `dataset.yaml`.
        split: name of a folder in `images/`, such as `"train"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for mistakes in `dataset.yaml`, an unknown split, a split without frames,
            frames without mask or image, with their names, and broken links.
    """
    return list_folder(root, split).dataset()


def list_folder(root, split):
    """Returns the `Listing` of a split. Raises a `ValueError` for its YAML and unknown splits."""
    root = Path(root)
    description = read_class_file(root / CLASS_FILE)
    splits = sorted(path.name for path in (root / "images").glob("[!.]*") if path.is_dir())
    if split not in splits:
        raise ValueError(
            f"{root / 'images'}: `split` must be one of the folders in it, {splits}. "
            f"Received: {split!r}"
        )
    suffix = description.mask_suffix
    arrays = description.channels != 3
    images, image_faults = _by_name(root / "images" / split, arrays)
    masks, mask_faults = _by_name(root / "masks" / split)
    if suffix and not (root / "masks" / split).exists():
        masks = images
        images = {name: path for name, path in images.items() if not name.endswith(suffix)}
    masks = {
        name.removesuffix(suffix): path for name, path in masks.items() if name.endswith(suffix)
    }
    return Listing(
        root,
        split,
        description.name,
        pair(images, masks),
        description.classes,
        description.encoding,
        tuple(image_faults + mask_faults),
        description.value_range,
        hint="" if suffix else _suffix_hint(images, masks),
        image_root=root / "images" / split,
        channels=description.channels,
    )


def _by_name(folder, arrays=False):
    """Returns image files by path without extension, and a message for each invalid file."""
    files, faults = {}, []
    for path in sorted(image_files_below(folder, arrays)):
        if is_broken_link(path):
            faults.append(f"{path}: {describe_broken_link(path)}")
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            faults.append(f"{path}: {files[name].name} has the same name. Keep one of them")
        files[name] = path
    return files, faults


def _suffix_hint(images, masks):
    """Returns a sentence with a `mask_suffix` that would pair the remaining files, or ""."""
    # Without a folder of masks, the masks may be among the images.
    candidates = masks.keys() - images.keys() if masks else images.keys()
    suffix = common_suffix(images.keys() - masks.keys(), candidates)
    return f"If masks are named NAME{suffix}, write `mask_suffix: {suffix}`" if suffix else ""


def common_suffix(names, candidates):
    """Returns the suffix that at least half of the candidates have after one of the names, or "".

    >>> from keras_crosscbam.datasets.folder import common_suffix
    >>> common_suffix({"a", "b"}, {"a_mask", "b_mask", "c"})
    '_mask'
    """
    found = Counter(
        name[separator.start() :]
        for name in sorted(candidates)
        for separator in re.finditer(r"[-_. ]", name)
        if name[: separator.start()] in names
    )
    for suffix, count in found.most_common(1):
        if 2 * count >= len(candidates):
            return suffix
    return ""
