"""CamVid (Brostow, Fauqueur and Cipolla, 2009): 701 street frames of Cambridge, 11 classes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.classes import CAMVID_CLASSES, IGNORE, ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.listing import Frame, Listing, pair, shorten_list
from keras_crosscbam.image_files import image_files_below

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import StrPath

# The index layout writes the 11 classes as 0..10 and the unlabeled rest as 11.
_INDICES = IndexEncoding({**{i: i for i in range(11)}, 11: IGNORE, IGNORE: IGNORE})

# The 32 original classes: their color, and the class of the 11 that they are counted under.
# None is unlabeled. Agrees pixel by pixel with the widely used index labels of SegNet.
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
    # The eight below do not occur in the frames that the rest was measured on; they follow the
    # grouping of MathWorks" CamVid example, the most detailed published one.
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
"""The drives that the frames are from, as their names begin: `0016E5_07959`."""


def load_camvid(
    root: StrPath,
    split: str,
    drives: Sequence[str] | None = None,
    without_drives: Sequence[str] = (),
) -> SegmentationDataset:
    """CamVid in either of the two layouts met in the wild.

        >>> from keras_crosscbam.datasets import load_camvid
        >>> image, labels = load_camvid("CamVid", "val")[0]  # doctest: +SKIP

    - SegNet's: `train.txt` with an `image mask` pair a line, `train/`, `trainannot/`; masks are
      indices, 0..10 in the order of `CAMVID_CLASSES` and 11 for unlabeled.
    - The original: `701_StillsRaw_full/NAME.png`, `LabeledApproved_full/NAME_L.png`; masks have
      32 colors, merged into the 11 classes. The frames are split by sequence as everywhere in
      the literature: 367 train, 101 val, 233 test.

    Images may have any extension that Pillow reads.

    Args:
        root: the folder.
        split: `"train"`, `"val"` or `"test"`.
        drives: names in `DRIVES` of the drives to take frames of; None for all.
        without_drives: names of the drives to take no frames of.

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
    """The `Listing` of a split, for `load_camvid`; `ValueError` if there is neither layout."""
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: {split!r}")
    if (root / f"{split}.txt").is_file():
        (frames, faults), encoding = _listed_frames(root, split), _INDICES
    elif (root / "701_StillsRaw_full").is_dir():
        (frames, faults), encoding = _original_frames(root, split), _COLORS
    else:
        raise ValueError(
            f"{root}: not a CamVid folder. Expected {split}.txt beside {split}/ and "
            f"{split}annot/, or 701_StillsRaw_full/ beside LabeledApproved_full/."
        )
    return Listing(root, split, "camvid", tuple(frames), CAMVID_CLASSES, encoding, tuple(faults))


def _listed_frames(root, split):
    """The lines of SegNet's lists; published copies carry absolute paths of their author's."""
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
    """A list as editors of any system save it, if need be with a byte-order mark."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8. Received: {error}") from error


def _find(root, name):
    """A listed file below the root, by its whole path or by its last folder and name, or None."""
    name = name.replace("\\", "/")
    for candidate in (root / name, root.joinpath(*Path(name).parts[-2:])):
        if candidate.is_file():
            return candidate
        # Copies of the data exist whose images were converted but whose lists were not.
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
            f"{root}: no frames of CamVid: {shorten_list(strangers)}. "
            "Expected names such as 0016E5_07959."
        )
    return [frame for frame in frames if _split_of(frame.name) == split], faults


def _drive_of(name):
    """The drive of a frame, such as `0016E5_07959`, or None."""
    return next((drive for drive in DRIVES if name.startswith(f"{drive}_")), None)


def _split_of(name):
    """The split of a frame, such as `0016E5_07959`, by its sequence and number, or None."""
    match = re.fullmatch(rf"({'|'.join(DRIVES)})_f?(\d+)", name)
    if match is None:
        return None
    sequence, number = match[1], int(match[2])
    if sequence == "0016E5":
        return "val" if 7959 <= number <= 8159 and number % 2 else "train"
    if sequence == "0001TP":
        return "train" if number <= 8520 else "test"
    return "train" if sequence == "0006R0" else "test"
