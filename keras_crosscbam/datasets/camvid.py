"""CamVid (Brostow, Fauqueur and Cipolla, 2009): 701 street frames of Cambridge, 11 classes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.classes import CAMVID_CLASSES, IGNORE
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.listing import Frame, Listing, pair, shorten_list
from keras_crosscbam.image_files import image_files_below

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import StrPath

# In the index layout the 11 classes are 0..10, and unlabeled pixels are 11.
_INDICES = IndexEncoding({**{i: i for i in range(11)}, 11: IGNORE, IGNORE: IGNORE})

# The 32 original classes: the color, and the class among the 11 that it is merged into, or None
# for unlabeled. The result agrees pixel by pixel with the widely used index labels of SegNet.
ORIGINAL_CLASSES = {
    "Sky": ((128, 128, 128), "Sky"),
    "Building": ((128, 0, 0), "Building"),
    "Wall": ((64, 192, 0), "Building"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Road": ((128, 64, 128), "Road"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "Tree": ((128, 128, 0), "Tree"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Fence": ((64, 64, 128), "Fence"),
    "Car": ((64, 0, 128), "Car"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "Void": ((0, 0, 0), None),
    "Archway": ((192, 0, 128), None),
    "CartLuggagePram": ((64, 0, 192), None),
    "Child": ((192, 128, 64), None),
    "OtherMoving": ((128, 64, 64), None),
    # The eight classes below do not occur in the frames on which the mapping above was verified.
    # They follow the grouping in the CamVid example of MathWorks, the most detailed published one.
    "Bridge": ((0, 128, 64), "Building"),
    "Tunnel": ((64, 0, 64), "Building"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Train": ((192, 64, 128), "Car"),
    "Animal": ((64, 128, 64), "Pedestrian"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
}

_COLORS = ColorEncoding(
    {
        color: IGNORE if name is None else CAMVID_CLASSES.names.index(name)
        for color, name in ORIGINAL_CLASSES.values()
    }
)

SPLITS = ("train", "val", "test")
DRIVES = ("0001TP", "0006R0", "0016E5", "Seq05VD")
"""The drives of the frames. The name of a frame begins with its drive: `0016E5_07959`."""


def load_camvid(
    root: StrPath,
    split: str,
    drives: Sequence[str] | None = None,
    without_drives: Sequence[str] = (),
) -> SegmentationDataset:
    """Loads a split of CamVid, in one of its two common layouts.

        >>> from keras_crosscbam.datasets import load_camvid
        >>> image, labels = load_camvid("CamVid", "val")[0]  # doctest: +SKIP

    - The layout of SegNet: `train.txt` with one pair `image mask` in each line, `train/` and
      `trainannot/`. Masks contain indices: 0..10 in the order of `CAMVID_CLASSES`, and 11 for
      unlabeled.
    - The original layout: `701_StillsRaw_full/NAME.png` and `LabeledApproved_full/NAME_L.png`.
      Masks have 32 colors, which are merged into the 11 classes. The frames are split by sequence
      as in the literature: 367 train, 101 val, 233 test.

    Images may have any extension that Pillow reads.

    Args:
        root: folder of the data set.
        split: `"train"`, `"val"` or `"test"`.
        drives: names in `DRIVES` of the drives to use; None for all.
        without_drives: names of the drives to leave out.

    Returns:
        A `SegmentationDataset`.

    Raises:
        ValueError: for an unknown split or drive, a folder that has neither layout, a split
            without frames, and frames without mask or image, with their names.
    """
    for drive in (*(drives or ()), *without_drives):
        if drive not in DRIVES:
            raise ValueError(f"A drive must be one of {DRIVES}. Received: {drive!r}")
    return list_camvid(root, split).select(drives, without_drives).dataset()


def list_camvid(root, split):
    """Returns the `Listing` of a split. Raises a `ValueError` if the folder has neither layout."""
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: {split!r}")
    if (root / f"{split}.txt").is_file():
        (frames, faults), encoding = _listed_frames(root, split), _INDICES
    elif (root / "701_StillsRaw_full").is_dir():
        (frames, faults), encoding = _original_frames(root, split), _COLORS
    else:
        raise ValueError(
            f"{root}: not a CamVid folder. Expected {split}.txt, {split}/ and {split}annot/, or "
            "701_StillsRaw_full/ and LabeledApproved_full/."
        )
    return Listing(root, split, "camvid", tuple(frames), CAMVID_CLASSES, encoding, tuple(faults))


def _listed_frames(root, split):
    """Reads a list in SegNet's layout. Published copies contain absolute paths of the author."""
    frames, faults = [], []
    list_file = root / f"{split}.txt"
    for number, line in enumerate(_read_text(list_file).splitlines(), start=1):
        if not line.strip():
            continue
        names = line.split()
        if len(names) == 2:
            image, mask = (_find(root, name) for name in names)
            name = f"{list_file}, line {number} ({line.strip()})"
            frames.append(Frame(name, image, mask, _drive_of(Path(names[0]).stem)))
        else:
            faults.append(
                f"{list_file}, line {number}: expected an image and a mask. Received: {line!r}"
            )
    return frames, faults


def _read_text(path):
    """Reads a list in UTF-8 or UTF-16, with or without a byte-order mark."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8. Received: {error}") from error


def _find(root, name):
    """Returns a listed file, found by its path or by its last folder and name, or None."""
    name = name.replace("\\", "/")
    for candidate in (root / name, root.joinpath(*Path(name).parts[-2:])):
        if candidate.is_file():
            return candidate
        # In some copies of the data the images were converted, but the lists were not changed.
        same_stem = sorted(candidate.parent.glob(f"{candidate.stem}.*"))
        if same_stem:
            return same_stem[0]
    return None


def _original_frames(root, split):
    masks = {
        path.stem.removesuffix("_L"): path
        for path in image_files_below(root / "LabeledApproved_full")
        if path.stem.endswith("_L")
    }
    images = {path.stem: path for path in image_files_below(root / "701_StillsRaw_full")}
    frames = pair(images, masks, _drive_of)
    strangers = [frame.name for frame in frames if _split_of(frame.name) is None]
    faults = []
    if strangers:
        faults.append(
            f"{root}: these frames do not belong to CamVid: {shorten_list(strangers)}. "
            "Expected names such as 0016E5_07959."
        )
    return [frame for frame in frames if _split_of(frame.name) == split], faults


def _drive_of(name):
    """Returns the drive of a frame with a name such as `0016E5_07959`, or None."""
    return next((drive for drive in DRIVES if name.startswith(f"{drive}_")), None)


def _split_of(name):
    """Returns the split of a frame with a name such as `0016E5_07959`, or None."""
    match = re.fullmatch(rf"({'|'.join(DRIVES)})_f?(\d+)", name)
    if match is None:
        return None
    sequence, number = match[1], int(match[2])
    if sequence == "0016E5":
        return "val" if 7959 <= number <= 8159 and number % 2 else "train"
    if sequence == "0001TP":
        return "train" if number <= 8520 else "test"
    return "train" if sequence == "0006R0" else "test"
