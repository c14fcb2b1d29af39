"""Cityscapes (Cordts et al., 2016): street frames of 50 German-speaking cities, 19 classes."""

from pathlib import Path

from keras_crosscbam.datasets.labels import IGNORE, ClassTable, IndexEncoding
from keras_crosscbam.datasets.listing import Listing, pair
from keras_crosscbam.image_files import image_files_below, is_broken_link

# Name, colour, and the id that masks and results on disk have; in the order of the train ids.
_CLASSES = (
    ("road", (128, 64, 128), 7),
    ("sidewalk", (244, 35, 232), 8),
    ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12),
    ("fence", (190, 153, 153), 13),
    ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19),
    ("traffic sign", (220, 220, 0), 20),
    ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22),
    ("sky", (70, 130, 180), 23),
    ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25),
    ("car", (0, 0, 142), 26),
    ("truck", (0, 0, 70), 27),
    ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31),
    ("motorcycle", (0, 0, 230), 32),
    ("bicycle", (119, 11, 32), 33),
)

CITYSCAPES_CLASSES = ClassTable(
    names=tuple(name for name, _, _ in _CLASSES),
    colours=tuple(colour for _, colour, _ in _CLASSES),
)

LABEL_IDS = tuple(label_id for _, _, label_id in _CLASSES)
"""The id on disk of each class, which the benchmark's server and scripts want results in."""

# License plates have the id -1, which tools write as 255 or, at times, as 34.
_LABEL_IDS = IndexEncoding(
    {**dict.fromkeys((*range(35), 255), IGNORE), **{i: label for label, i in enumerate(LABEL_IDS)}}
)
_TRAIN_IDS = IndexEncoding({i: i for i in (*range(len(_CLASSES)), IGNORE)})

SPLITS = ("train", "val", "test")


def load_cityscapes(root, split):
    """Cityscapes with its fine annotations, in the layout of the official archives.

        >>> from keras_crosscbam.datasets import load_cityscapes
        >>> image, labels = load_cityscapes("cityscapes", "val")[0]  # doctest: +SKIP

    Images are `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`, masks
    `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`; nothing needs converting. A split that has none of
    those masks may have `*_gtFine_labelTrainIds.png` instead.

    In the test split of the archives every pixel is unlabelled: `split_images` lists its images,
    for which `keras_crosscbam.predictions` writes the results that the benchmark's server judges.

    Args:
        root: the folder that holds `leftImg8bit/` and `gtFine/`.
        split: `"train"`, `"val"` or `"test"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for an unknown split, a split without frames, and frames without mask or
            image, with their names.
    """
    return list_cityscapes(root, split).dataset()


def list_cityscapes(root, split):
    """The `Listing` of a split, for `load_cityscapes`; `ValueError` for an unknown split."""
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
    """The files of that ending by city and frame, such as `bonn/bonn_000000_000019`."""
    return {
        f"{path.parent.name}/{path.name.removesuffix(ending)}": path
        for path in image_files_below(folder)
        # A link without an extension that leads nowhere stands for a city that is missing.
        if path.name.endswith(ending) or (not path.suffix and is_broken_link(path))
    }
