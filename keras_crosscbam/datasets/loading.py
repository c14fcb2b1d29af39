"""Any data set from its folder alone: the layout says which one it is."""

from pathlib import Path

from keras_crosscbam.datasets.camvid import list_camvid
from keras_crosscbam.datasets.cityscapes import list_cityscapes
from keras_crosscbam.datasets.folder import CLASS_FILE, list_folder

# What a folder holds, and who reads it; the first that is there decides.
_LAYOUTS = {
    CLASS_FILE: list_folder,
    "leftImg8bit": list_cityscapes,
    "701_StillsRaw_full": list_camvid,
    "train.txt": list_camvid,
    "val.txt": list_camvid,
    "test.txt": list_camvid,
}


def load_dataset(root, split):
    """A split of whatever data set a folder holds.

        >>> from keras_crosscbam.datasets import load_dataset
        >>> data = load_dataset("CamVid", "val")  # doctest: +SKIP
        >>> data.name, len(data)  # doctest: +SKIP
        ('camvid', 101)

    Args:
        root: a folder in the layout of `load_folder`, `load_cityscapes` or `load_camvid`.
        split: name of the split, such as `"train"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for a folder of none of the layouts, and whatever that layout's own function
            raises it for.
    """
    return list_split(root, split).dataset()


def split_images(root, split):
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
