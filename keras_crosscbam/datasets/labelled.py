"""Whether the labels of a split are enough to learn from and to judge by."""

import logging
from collections import Counter

import numpy as np

from keras_crosscbam.datasets.labels import IGNORE
from keras_crosscbam.datasets.listing import shortened
from keras_crosscbam.datasets.masks import read_mask

logger = logging.getLogger(__name__)


def check_labels(dataset, split, counts):
    """Refuses a data set with too few labels; warns of each class that has none.

    Args:
        dataset: a `SegmentationDataset`.
        split: `"train"` or `"val"`, for messages.
        counts: its labelled pixels of each class, `(classes,)`.

    Raises:
        ValueError: if no class is labelled, or one alone of several.
    """
    if not are_enough(counts):
        fault = too_few_labels(split, dataset.classes, counts, _ignored(dataset))
        raise ValueError(f"{dataset.name}, {fault}")
    absent = [dataset.classes.names[i] for i in np.flatnonzero(np.asarray(counts) == 0)]
    if absent:
        text = never_labelled(split, absent, trained_on=split == "train")
        logger.warning("%s, %s", dataset.name, text)


def are_enough(counts):
    """Whether more than one class is labelled, or the only one that there is.

    Where one of several is, a network that gives it everywhere has a mean IoU of 100 %.
    """
    labelled = np.count_nonzero(counts)
    return labelled > 1 or labelled == len(counts)


def too_few_labels(split, classes, counts, ignored):
    """Why labels that are not enough are not, and what may have to be written.

    Args:
        split: its name.
        classes: the `ClassTable`.
        counts: labelled pixels of each class, `(classes,)`.
        ignored: pixels of each id or colour that does not count, a `Counter`.
    """
    if not np.any(counts):
        return f"{split}: no pixel is labelled"
    labelled = int(np.argmax(counts))
    others = [name for label, name in enumerate(classes.names) if label != labelled]
    sentence = f"{split}: only {classes.names[labelled]} is labelled, and no other class"
    if not ignored:
        return sentence
    ((value, pixels),) = ignored.most_common(1)
    share = 100 * pixels / (ignored.total() + np.sum(counts))
    kind, shown = ("colour", list(value)) if isinstance(value, tuple) else ("id", value)
    meant = others[0] if len(others) == 1 else f"one of {shortened(others)}"
    return (
        f"{sentence}; {share:.2g} % of the pixels have the {kind} {shown}, which does not count. "
        f"If they belong to {meant}, write `{kind}: {shown}` in its entry of dataset.yaml, and "
        f"leave {shown} out of `ignore`"
    )


def never_labelled(split, names, trained_on):
    """What it means that the classes of these names have no pixel in a split."""
    effect = "never seen, so never learnt" if trained_on else "never labelled, so never judged"
    return f"{split}: {effect}: {', '.join(names)}"


def _ignored(dataset):
    """Pixels of each id or colour that does not count in the masks of a data set."""
    ignored = Counter()
    for _, path in dataset.pairs:
        mask = read_mask(path, dataset.encoding).pixels
        left_out = mask[dataset.encoding.decode(mask) == IGNORE]
        ignored.update(dataset.encoding.count_values(left_out))
    return ignored
