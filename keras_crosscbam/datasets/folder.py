"""People's own data: images and masks in two folders, and a YAML file that names the classes."""

from pathlib import Path

from keras_crosscbam.datasets.class_file import CLASS_FILE, read_class_file
from keras_crosscbam.datasets.listing import Listing, pair
from keras_crosscbam.images import EXTENSIONS


def load_folder(root, split):
    """A split of one's own data.

        >>> from keras_crosscbam.datasets import load_folder
        >>> image, labels = load_folder("mydata", "train")[0]  # doctest: +SKIP

    Images are `images/SPLIT/**/NAME.EXT`, of any extension that Pillow reads, and masks
    `masks/SPLIT/**/NAME.png`, under the same folders and names; `dataset.yaml` says what the masks
    hold, see `read_class_file`.

    Args:
        root: the folder that holds the three.
        split: name of a folder in `images/`, such as `"train"`.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for mistakes in `dataset.yaml`, an unknown split, a split without frames, and
            frames without mask or image, with their names.
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
    images, twice = _by_name(root / "images" / split)
    masks, masks_twice = _by_name(root / "masks" / split)
    return Listing(
        root,
        split,
        description.name,
        pair(images, masks),
        description.classes,
        description.encoding,
        tuple(twice + masks_twice),
        root / "images" / split,
    )


def _by_name(folder):
    """Image files by path without extension, and a sentence for each name that stands twice."""
    files, faults = {}, []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or path.suffix.lower() not in EXTENSIONS or not path.is_file():
            continue
        name = relative.with_suffix("").as_posix()
        if name in files:
            faults.append(f"{path}: {files[name].name} has the same name; keep one of them")
        files[name] = path
    return files, faults
