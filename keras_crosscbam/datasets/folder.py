"""People's own data: images and masks in two folders, and a YAML file that names the classes."""

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
    """A split of one's own data.

        >>> from keras_crosscbam.datasets import load_folder
        >>> image, labels = load_folder("mydata", "train")[0]  # doctest: +SKIP

    Images are `images/SPLIT/**/NAME.EXT`, of any extension that Pillow reads (with `channels` in
    `dataset.yaml` also `.npy`, see `keras_crosscbam.image_channels.read_channels`), and masks
    `masks/SPLIT/**/NAME.png`, under the same folders and names; `dataset.yaml` says what the masks
    hold, see `read_class_file`. Links to files and folders are followed.

    With a `mask_suffix` in `dataset.yaml`, such as `_mask`, masks are `NAME_mask.png`, and other
    files in `masks/SPLIT` are passed over. Where there is no folder `masks/SPLIT`, they are then
    looked for beside the images, in `images/SPLIT`.

    Args:
        root: the folder that holds the three.
        split: name of a folder in `images/`, such as `"train"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for mistakes in `dataset.yaml`, an unknown split, a split without frames,
            frames without mask or image, with their names, and links that lead nowhere.
    """
    return list_folder(root, split).dataset()


def list_folder(root, split):
    """The `Listing` of a split, for `load_folder`; `ValueError` for its YAML and unknown splits."""
    root = Path(root)
    description = read_class_file(root / CLASS_FILE)
    splits = sorted(path.name for path in (root / "images").glob("[!.]*") if path.is_dir())
    if split not in splits:
        raise ValueError(
            f"{root / 'images'}: `split` must be a folder there, of which there are {splits}. "
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
    """Image files by path without extension, and a sentence for each file that cannot be one."""
    files, faults = {}, []
    for path in sorted(image_files_below(folder, arrays)):
        if is_broken_link(path):
            faults.append(f"{path}: {describe_broken_link(path)}")
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            faults.append(f"{path}: {files[name].name} has the same name; keep one of them")
        files[name] = path
    return files, faults


def _suffix_hint(images, masks):
    """What `mask_suffix` would pair the files that are left over, as a sentence, or ""."""
    # Without any masks, they may lie among the images.
    candidates = masks.keys() - images.keys() if masks else images.keys()
    suffix = common_suffix(images.keys() - masks.keys(), candidates)
    return f"If masks are named NAME{suffix}, write `mask_suffix: {suffix}`" if suffix else ""


def common_suffix(names, candidates):
    """What at least half of the candidates have behind one of the names, or "".

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
