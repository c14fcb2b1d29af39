"""One split of a data set as it lies on disk, whole or not."""

from dataclasses import dataclass, replace
from pathlib import Path

from keras_crosscbam.classes import ClassTable, ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.dataset import SegmentationDataset


@dataclass(frozen=True)
class Frame:
    """An image and its mask, None for what is missing; `name` is for messages.

    `group` is the name of the frames that belong together, such as those of one drive; None where
    the frame's name does not say it.
    """

    name: str
    image: Path | None
    mask: Path | None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a split holds, before anybody insists on it: what loaders and the doctor share.

    Attributes:
        root: folder of the data set.
        split: name of the split.
        name: name of the data set.
        frames: its `Frame`s, in order.
        classes: names and colors of the classes.
        encoding: how the masks encode them.
        faults: what else is wrong with the files' names and lists, a sentence each.
        value_range: as in `SegmentationDataset`.
        hint: what to do if frames lack their image or mask, a sentence, or "".
        image_root: the folder whose subfolders tell images of one name apart; None where all names
            differ.
        left_out: the groups of frames that were taken away.
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
        """The names of the groups of frames there are, a sorted tuple."""
        return tuple(sorted({frame.group for frame in self.frames if frame.group is not None}))

    def select(self, groups=None, without=()):
        """The listing of the frames of these groups, None for all, that are of none of those.

        Raises:
            ValueError: for frames whose names do not say their group.
        """
        if groups is None and not without:
            return self
        nameless = [frame.name for frame in self.frames if frame.group is None]
        if nameless:
            raise ValueError(
                f"{self.root}: in the {self.split} split the names of {len(nameless)} frames do "
                f"not say which group they are of: {shorten_list(nameless)}"
            )
        frames = tuple(
            frame
            for frame in self.frames
            if (groups is None or frame.group in groups) and frame.group not in without
        )
        return replace(self, frames=frames, left_out=(*self.left_out, *without))

    def problems(self, needed=("image", "mask")):
        """Why this is no whole split: a list of sentences, empty if it is one."""
        problems = list(self.faults)
        missing = [text for text in map(self._missing, needed) if text]
        if missing:
            hint = f". {self.hint}" if self.hint else ""
            problems.append(f"{self.root}: in the {self.split} split {'; '.join(missing)}{hint}")
        if not self.frames and not problems:
            problems.append(f"{self.root}: the {self.split} split has no frames here")
        return problems

    def dataset(self):
        """The `SegmentationDataset` of the split; `ValueError` says why it is no whole one."""
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
        """The image files of the split, a tuple; masks may be missing, as in test splits.

        Raises:
            ValueError: if there are none, or some that masks or lists speak of are missing.
        """
        for problem in self.problems(needed=("image",)):
            raise ValueError(problem)
        return tuple(frame.image for frame in self.frames)

    def _missing(self, what):
        names = [frame.name for frame in self.frames if getattr(frame, what) is None]
        return f"{len(names)} frames lack their {what}: {shorten_list(names)}" if names else ""


def top_folder(name):
    """The first folder of a frame's name, `"."` for a name without any."""
    return name.split("/")[0] if "/" in name else "."


def pair(images, masks, group_of=top_folder):
    """Makes `Frame`s of two dicts from a frame's name to its file, in the order of the names.

    `group_of` is a function of a frame's name that gives its group.
    """
    return tuple(
        Frame(name, images.get(name), masks.get(name), group_of(name))
        for name in sorted(images.keys() | masks.keys())
    )


def shorten_list(items, limit=5):
    """The first items as text, and how many more there are."""
    items = list(map(str, items))
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + rest
