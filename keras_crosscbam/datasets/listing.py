"""Lists the files of a split of a data set, which may be incomplete."""

from dataclasses import dataclass, replace
from pathlib import Path

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding


@dataclass(frozen=True)
class Frame:
    """An image file and its mask file.

    Attributes:
        name: name of the frame, for messages.
        image: path of the image, or None if it is missing.
        mask: path of the mask, or None if it is missing.
        group: name of a group of related frames, such as a drive; None if it does not follow from
            the name of the frame.
    """

    name: str
    image: Path | None
    mask: Path | None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a split. They are not checked yet, and some may be missing.

    Attributes:
        root: folder of the data set.
        split: name of the split.
        name: name of the data set.
        frames: the `Frame`s, in order.
        classes: names and colors of the classes.
        encoding: encoding of the classes in the masks.
        faults: messages about other problems with the names and lists of files.
        value_range: as in `SegmentationDataset`.
        hint: a sentence that says what to do if frames have no image or mask, or "".
        image_root: folder whose subfolders may contain images with the same name; None if all
            names are different.
        left_out: names of the groups of frames that were removed.
        channels: number of channels of the images.
    """

    root: Path
    split: str
    name: str
    frames: tuple[Frame, ...]
    classes: ClassTable
    encoding: IndexEncoding | ColorEncoding
    faults: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    hint: str = ""
    image_root: Path | None = None
    left_out: tuple[str, ...] = ()
    channels: int = 3

    @property
    def groups(self):
        """The names of the groups of the frames, a sorted tuple."""
        return tuple(sorted({frame.group for frame in self.frames if frame.group is not None}))

    def select(self, groups=None, without=()):
        """Returns a listing of the frames of some groups.

        Args:
            groups: names of the groups to keep; None for all.
            without: names of the groups to remove.

        Raises:
            ValueError: for frames without a group.
        """
        if groups is None and not without:
            return self
        nameless = [frame.name for frame in self.frames if frame.group is None]
        if nameless:
            raise ValueError(
                f"{self.root}: in the {self.split} split the names of {len(nameless)} frames do "
                f"not contain a group: {shorten_list(nameless)}"
            )
        frames = tuple(
            frame
            for frame in self.frames
            if (groups is None or frame.group in groups) and frame.group not in without
        )
        return replace(self, frames=frames, left_out=(*self.left_out, *without))

    def problems(self, needed=("image", "mask")):
        """Returns a list of messages about missing files and faults, empty if there are none."""
        problems = list(self.faults)
        missing = [text for text in map(self._missing, needed) if text]
        if missing:
            hint = f". {self.hint}" if self.hint else ""
            problems.append(f"{self.root}: in the {self.split} split {'; '.join(missing)}{hint}")
        if not self.frames and not problems:
            problems.append(f"{self.root}: the {self.split} split has no frames here")
        return problems

    def dataset(self):
        """Returns the `SegmentationDataset`. Raises a `ValueError` for an incomplete split."""
        for problem in self.problems():
            raise ValueError(problem)
        pairs = tuple((frame.image, frame.mask) for frame in self.frames)
        return SegmentationDataset(
            self.name,
            pairs,
            self.classes,
            self.encoding,
            self.value_range,
            self.left_out,
            self.channels,
        )

    def images(self):
        """Returns the image files of the split, a tuple. Masks may be missing, as in test splits.

        Raises:
            ValueError: if there are no images, or if images of masks or lists are missing.
        """
        for problem in self.problems(needed=("image",)):
            raise ValueError(problem)
        return tuple(frame.image for frame in self.frames)

    def _missing(self, what):
        names = [frame.name for frame in self.frames if getattr(frame, what) is None]
        return f"{len(names)} frames lack their {what}: {shorten_list(names)}" if names else ""


def top_folder(name):
    """Returns the first folder in the name of a frame, `"."` for a name without folders."""
    return name.split("/")[0] if "/" in name else "."


def pair(images, masks, group_of=top_folder):
    """Returns a tuple of `Frame`s, sorted by name.

    Args:
        images, masks: dicts from the name of a frame to its file.
        group_of: function from the name of a frame to its group.
    """
    return tuple(
        Frame(name, images.get(name), masks.get(name), group_of(name))
        for name in sorted(images.keys() | masks.keys())
    )


def shorten_list(items, limit=5):
    """Returns the first items as text, and the number of further items."""
    items = list(map(str, items))
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest
