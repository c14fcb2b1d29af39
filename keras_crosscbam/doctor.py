"""Checks a data set for errors before training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.inspection import SplitInspection
from keras_crosscbam.datasets.label_statistics import balanced_weights, never_labeled
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.datasets.loading import list_split

MANY_EMPTY_CROPS = 0.01


@dataclass(frozen=True)
class Finding:
    """An error or a warning about a data set.

    Attributes:
        level: `"error"` for a problem that prevents training, or `"warning"`.
        message: a sentence.
    """

    level: str
    message: str


@dataclass(frozen=True)
class SplitSummary:
    """Figures of one split.

    Attributes:
        split: its name.
        frames: number of frames, including those with errors.
        sizes: number of readable images by `(height, width)`.
        counts: labeled pixels of each class, int64 `(classes,)`.
        pixels: number of pixels of all masks that could be decoded, labeled or not.
        mask_kinds: number of masks by storage format, such as "8-bit gray".
        empty_crops: share of random training crops without a labeled pixel, 0..1; None for a
            split that is not used for training or has no readable mask.
    """

    split: str
    frames: int
    sizes: dict[tuple[int, int], int]
    counts: np.ndarray
    pixels: int
    mask_kinds: dict[str, int]
    empty_crops: float | None


@dataclass(frozen=True)
class Findings:
    """The result of `inspect_dataset`.

    Attributes:
        root: the folder.
        classes: the data set's `ClassTable`; None if the layout is unknown.
        splits: a `SplitSummary` for each split that could be listed.
        findings: `Finding` objects, errors first.
        class_weights: suggested weights, float64 `(classes,)`, see `balanced_weights`: exponent
            0.5, from the training split; None if it has no labeled pixel.
    """

    root: Path
    classes: ClassTable | None
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]
    class_weights: np.ndarray | None

    @property
    def ok(self):
        """Whether no finding is an error, so training can start."""
        return all(finding.level != "error" for finding in self.findings)


def inspect_dataset(
    root, splits=("train", "val"), crop_size=None, scale_range=(0.5, 2.0), progress=False
):
    """Reads every file of a data set and reports all errors, not only the first one.

        >>> from keras_crosscbam.doctor import inspect_dataset, report
        >>> findings = inspect_dataset("mydata")  # doctest: +SKIP
        >>> print(report(findings))  # doctest: +SKIP

    Errors are problems that stop loading, or that make labels wrong without a message: an unknown
    layout, mistakes in lists or YAML, missing or unreadable files, images and masks of different
    sizes, masks of the wrong kind, JPEG masks, masks with ambiguous ids or with different palettes,
    ids and colors that belong to no class, images of more than 8 bits with an unknown range, and a
    split in which no class or only one of several classes is labeled. Warnings are classes that are
    missing from the training or the validation split, images that are in two splits, masks whose
    EXIF orientation differs from that of their images, and a large share of training crops without
    a label.

    Args:
        root: a folder in one of the layouts of `keras_crosscbam.datasets.load_dataset`.
        splits: names of splits; the first one is the training split.
        crop_size: `(height, width)` of training crops in pixels; None for 360x480, or less where
            a frame is smaller.
        scale_range: smallest and largest random scale of training.
        progress: whether to print a progress bar.

    Returns:
        `Findings`.
    """
    errors, inspections = [], []
    for split in splits:
        try:
            listing = list_split(root, split)
        except ValueError as error:
            errors.append(str(error))
            continue
        trained_on = split == splits[0]
        inspections.append(SplitInspection(listing, crop_size, scale_range if trained_on else None))
        errors += inspections[-1].errors()
    train = [inspection for inspection in inspections if inspection.split == splits[0]]
    warnings = [
        warning
        for inspection in train
        for warning in _warnings(inspection, [i for i in inspections if i is not inspection])
    ]
    warnings += [warning for inspection in inspections for warning in inspection.warnings()]
    return Findings(
        root=Path(root),
        classes=inspections[0].classes if inspections else None,
        splits=tuple(map(_summary, inspections)),
        # An error of the folder itself is reported by every split; keep it once.
        findings=(
            *(Finding("error", message) for message in dict.fromkeys(errors)),
            *(Finding("warning", message) for message in warnings),
        ),
        class_weights=next(
            (balanced_weights(i.counts, 0.5) for i in train if i.counts.any()), None
        ),
    )


def _summary(inspection):
    return SplitSummary(
        split=inspection.split,
        frames=inspection.frames,
        sizes=dict(inspection.sizes.most_common()),
        counts=inspection.counts,
        pixels=inspection.pixels,
        mask_kinds=dict(inspection.mask_kinds.most_common()),
        empty_crops=float(np.mean(inspection.crops)) if inspection.crops else None,
    )


def _warnings(train, others):
    """Yields warnings about training on one split and evaluating on the others."""
    unseen = train.counts == 0
    if unseen.any() and not unseen.all():
        yield never_labeled(train.split, _names(train.classes, unseen), trained_on=True)
    for other in others:
        unlabeled = other.counts == 0
        if unlabeled.any() and not unlabeled.all():
            yield never_labeled(other.split, _names(other.classes, unlabeled), trained_on=False)
        surprises = unseen & (other.counts > 0)
        if surprises.any():
            names = shorten_list(_names(train.classes, surprises), 10)
            yield f"{other.split}: contains classes that {train.split} lacks: {names}"
        if shared := [path for key, path in other.hashes.items() if key in train.hashes]:
            yield (
                f"{other.split}: {len(shared)} images are also in {train.split}, so results on "
                f"them do not measure generalization: {shorten_list(shared, 3)}"
            )
    if train.crops and np.mean(train.crops) > MANY_EMPTY_CROPS:
        yield (
            f"{train.split}: {100 * np.mean(train.crops):.0f} % of random crops contain no labeled "
            "pixel and do not contribute to training"
        )


def _names(classes, chosen):
    return [classes.names[i] for i in np.flatnonzero(chosen)]


def report(findings):
    """Formats the result of `inspect_dataset` as text: statistics first, then the findings."""
    lines = [str(findings.root)]
    for split in findings.splits:
        sizes = shorten_list((f"{n} of {w}x{h}" for (h, w), n in split.sizes.items()), 3)
        lines.append(f"{split.split}: {split.frames} frames ({sizes or 'no readable image'})")
        if split.pixels:
            lines.append(f"  {100 * split.counts.sum() / split.pixels:.1f} % of the pixels labeled")
        if split.mask_kinds:
            kinds = shorten_list((f"{n} {kind}" for kind, n in split.mask_kinds.items()), 5)
            lines.append(f"  masks: {kinds}")
        if split.empty_crops is not None:
            lines.append(f"  {100 * split.empty_crops:.1f} % of random crops without a label")
    if findings.classes is not None:
        lines += ["", *_class_table(findings), ""]
    lines += [f"{finding.level}: {finding.message}" for finding in findings.findings]
    errors = sum(finding.level == "error" for finding in findings.findings)
    warnings = len(findings.findings) - errors
    verdict = "ready to train" if findings.ok else "not ready to train"
    return "\n".join([*lines, f"{verdict} (errors: {errors}, warnings: {warnings})"])


def _class_table(findings):
    """Yields table rows: the share of each class in each split, and its suggested weight."""
    width = max(map(len, (*findings.classes.names, "class")))
    yield f"{'class':<{width}}" + "".join(f"{s.split:>10}" for s in findings.splits) + "    weight"
    for label, name in enumerate(findings.classes.names):
        cells = [
            f"{100 * split.counts[label] / split.counts.sum():8.3f} %"
            if split.counts[label]
            else f"{'never':>10}"
            for split in findings.splits
        ]
        # The weights are computed from the first split; a class missing from it has no weight.
        if findings.class_weights is not None and findings.splits[0].counts[label]:
            cells.append(f"{findings.class_weights[label]:10.2f}")
        yield f"{name:<{width}}" + "".join(cells)
