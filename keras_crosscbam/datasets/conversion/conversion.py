"""Converts a folder of annotations to the layout of `load_folder`."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from keras_crosscbam.classes import BACKGROUND, IGNORE
from keras_crosscbam.datasets.argument_checks import check_number
from keras_crosscbam.datasets.conversion.annotations import UNLABELED, is_background
from keras_crosscbam.datasets.conversion.drawing import draw
from keras_crosscbam.datasets.conversion.formats import FORMATS, read_annotations, recognize
from keras_crosscbam.datasets.conversion.source import Source
from keras_crosscbam.datasets.conversion.splits import assign, divided_groups, groups_of
from keras_crosscbam.datasets.conversion.writing import names_of, put, staged, write_class_file
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.progress import progress as with_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_crosscbam.types import StrPath

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Conversion:
    """Result of `convert`. Its text is a report of a few lines.

    Attributes:
        out: folder that was written.
        format: name of the format that was read.
        names: names of the classes, in the order of their labels.
        frames: dict from split to number of images.
        notes: messages about assumptions and omitted annotations.
    """

    out: Path
    format: str
    names: tuple[str, ...]
    frames: dict[str, int]
    notes: tuple[str, ...]

    def __str__(self):
        counts = ", ".join(f"{count} {split}" for split, count in self.frames.items())
        lines = [
            f"{self.out}: read as {FORMATS[self.format].title} (--format {self.format})",
            f"images: {counts}",
            f"classes: {', '.join(self.names)}",
        ]
        return "\n".join([*lines, *self.notes])


def convert(
    source: StrPath,
    out: StrPath,
    format: str | None = None,
    unlabeled: Literal["background", "ignore"] | None = None,
    group: str | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    images: StrPath | None = None,
    classes: Sequence[str] | None = None,
    progress: bool = False,
) -> Conversion:
    """Converts annotations of a tool or a public format to the layout of `load_folder`.

        >>> import keras_crosscbam as kc
        >>> kc.datasets.convert("export-of-cvat", "mydata")  # doctest: +SKIP
        >>> train = kc.datasets.load_dataset("mydata", "train")  # doctest: +SKIP

    The folder `out` contains `images/SPLIT` with copies of the image files, `masks/SPLIT` with
    8-bit PNGs whose pixels are labels, and `dataset.yaml`; see docs/own-data.md. If the conversion
    fails, it is not created. Use `keras_crosscbam.doctor.inspect_dataset(out)` to check it, as
    `crosscbam convert` does.

    Pixels without annotation get label 0, `background`, or 255, which is ignored. A data set with
    one class and background is written as one class, for a network with one logit.

    Args:
        source: folder with annotations and images, or one annotation file.
        out: folder to write. It must not exist, or must be empty.
        format: a name in `keras_crosscbam.datasets.conversion.formats.FORMATS`; None to detect the
            format.
        unlabeled: meaning of pixels without annotation, `"background"` or `"ignore"`; None for the
            usual meaning in the format, which is in the notes of the result.
        group: regular expression that is searched in the paths of the images below the source.
            Images with the same match (or the same first group of the match) are in the same split.
        val_share: fraction of the images in val, if the source does not specify train and val.
        seed: seed of the split.
        images: folder of the images, if they are not in `source`.
        classes: names of the classes in the order of their labels, for formats that do not list
            them: masks of ids without names, LabelMe and Label Studio. The default for LabelMe and
            Label Studio are the sorted names.
        progress: whether to print the progress.

    Returns:
        A `Conversion`.

    Raises:
        ValueError: for invalid arguments, a folder without a supported format, annotation files
            that are damaged or that name missing images or classes, and annotations with another
            size than their image. The message names the file.
        ModuleNotFoundError: if COCO or CVAT is read without the extra `convert`.
    """
    _check_arguments(format, unlabeled, val_share)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: must be a new or empty folder")
    place = Source(source, images, classes)
    format = recognize(place, format)
    if classes is not None and FORMATS[format].lists_classes:
        raise ValueError(
            f"`classes` must be None here, since {format} lists its classes. Received: {classes}"
        )
    read = read_annotations(place, format)
    frames, notes = _usable(read.frames, place)
    places = [place.place(frame.image) for frame in frames]
    names, groups = names_of(places), groups_of(places, group)
    unlabeled = _unlabeled(read, unlabeled, format)
    table, lookup = _labels(read.names, unlabeled, place)
    with staged(out) as folder:
        drawn = _draw(frames, folder, lookup, len(table), progress)
        said = [frame.split for frame in frames]
        splits, made = assign(said, drawn.present, groups, val_share, seed)
        for i, (frame, split, name) in enumerate(zip(frames, splits, names, strict=True)):
            put(frame.image, folder / "images" / split, name, shutil.copyfile)
            if frame.is_annotated:
                put(_drawing(folder, i), folder / "masks" / split, name, shutil.move)
        # A class table with one class does not list the background.
        of_file = table[1:] if len(table) == 2 and table[0] == BACKGROUND else table
        write_class_file(folder, place.root.resolve().name, of_file, read.colors)
    counts = Counter(splits)
    notes = [
        f"order: {read.order}",
        *_of_unlabeled(unlabeled, drawn),
        *_of_splits(made, said, val_share, seed, group and divided_groups(groups, splits)),
        *_of_orientation(drawn),
        *read.notes,
        *notes,
    ]
    frames = {split: counts[split] for split in SPLITS if split in counts}
    return Conversion(out, format, tuple(table), frames, tuple(notes))


def _check_arguments(format, unlabeled, val_share):
    if format is not None and format not in FORMATS:
        raise ValueError(f"`format` must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if unlabeled not in (None, "background", "ignore"):
        raise ValueError(f"`unlabeled` must be 'background' or 'ignore'. Received: {unlabeled!r}")
    check_number("val_share", val_share, most=1)
    if val_share in (0, 1):
        raise ValueError(f"`val_share` must be between 0 and 1. Received: {val_share}")


def _usable(frames, place):
    """Returns the frames to write, and a list of notes about the others."""
    if not frames:
        raise ValueError(f"{place.file or place.root}: contains no annotated images")
    counts = Counter(frame.image for frame in frames)
    if twice := [str(image) for image, count in counts.items() if count > 1]:
        raise ValueError(f"{place.root}: annotated more than once: {shorten_list(twice)}")
    # Test images without annotations are kept for prediction.
    usable = [frame for frame in frames if frame.is_annotated or frame.split == "test"]
    if not any(frame.is_annotated for frame in usable):
        raise ValueError(f"{place.root}: none of the images is annotated")
    left_out = len(frames) - len(usable)
    return usable, [f"{left_out} images without annotation are left out"] if left_out else []


def _unlabeled(read, asked, format):
    if read.unlabeled is None and asked is not None:
        raise ValueError(
            f"`unlabeled` must be None here, since each pixel of {format} has an id. "
            f"Received: {asked!r}. List ids to ignore under `ignore` in dataset.yaml"
        )
    return asked or read.unlabeled


def _labels(names, unlabeled, place):
    """Returns class names and a lookup table from reader labels to labels, uint8 `(256,)`."""
    if all(map(is_background, names)):
        raise ValueError(f"{place.file or place.root}: contains no class except background")
    lookup = np.full(256, IGNORE, np.uint8)
    if unlabeled == "background":
        table = [BACKGROUND, *(name for name in names if not is_background(name))]
        lookup[UNLABELED] = 0
    else:
        table = list(names)
    for number, name in enumerate(names):
        is_first = unlabeled == "background" and is_background(name)
        lookup[number] = 0 if is_first else table.index(name)
    if len(table) == 1:
        # The label of a single class is 1, with or without background.
        table, lookup[0] = [BACKGROUND, *table], 1
    return table, lookup


@dataclass(frozen=True)
class _Drawn:
    """Statistics of the drawn masks: the classes in each, and numbers of pixels and images."""

    present: np.ndarray
    unlabeled: int
    pixels: int
    turned: int


def _drawing(folder, index):
    return folder / f"{index}.png"


def _draw(frames, folder, lookup, classes, progress):
    """Draws the masks of all frames and saves them with numbered names."""
    present, unlabeled, pixels, turned = np.zeros((len(frames), classes), bool), 0, 0, 0
    for i, frame in with_progress(list(enumerate(frames)), "images", progress):
        if frame.is_annotated:
            drawn, orientation = draw(frame)
            labels = lookup[drawn]
            present[i] = np.bincount(labels.ravel(), minlength=256)[:classes] > 0
            unlabeled += np.count_nonzero(drawn == UNLABELED)
            pixels += drawn.size
            turned += orientation > 1
            Image.fromarray(labels).save(_drawing(folder, i))
    return _Drawn(present, unlabeled, pixels, turned)


def _of_unlabeled(unlabeled, drawn):
    if unlabeled is None:
        return
    fate = "label 0, background" if unlabeled == "background" else "label 255, which is ignored"
    yield f"unlabeled: {100 * drawn.unlabeled / drawn.pixels:.1f} % of the pixels are {fate}"


def _of_splits(made, said, val_share, seed, divided):
    if made:
        yield f"splits: balanced by classes, {100 * val_share:g} % in val, seed {seed}"
    else:
        without = said.count(None)
        rest = f"; {without} images without a split are in train" if without else ""
        yield f"splits: as in the source{rest}"
        if divided:
            names = shorten_list(divided)
            yield f"{len(divided)} groups are in several splits of the source: {names}"


def _of_orientation(drawn):
    if drawn.turned:
        yield (
            f"{drawn.turned} images are rotated by their EXIF orientation. Their annotations are "
            "assumed to be for the upright image, except if their size is that of the stored one"
        )
