"""Figures about labels that training and the doctor want: class weights, empty crops, strays."""

import logging
from collections import Counter

import numpy as np

from keras_crosscbam.classes import IGNORE, IndexEncoding
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.datasets.masks import read_mask


def balanced_weights(counts, exponent):
    """Weights `share ** -exponent` of the classes, with mean 1 over the labeled pixels.

        >>> from keras_crosscbam.datasets.label_statistics import balanced_weights
        >>> balanced_weights([400, 100], exponent=0.5).round(3).tolist()
        [0.833, 1.667]

    Args:
        counts: labeled pixels of each class.
        exponent: 0 weighs all pixels alike, 1 all classes.

    Returns:
        float64 `(classes,)`. A class that never occurs has the weight of one of a share of 1e-6.

    Raises:
        ValueError: if no pixel is labeled.
    """
    counts = np.asarray(counts)
    if not counts.sum():
        raise ValueError("No pixel of the data is labeled: class weights need some that are")
    shares = counts / counts.sum()
    weights = np.maximum(shares, 1e-6) ** -exponent
    return weights / (weights * shares).sum()


def random_crop_is_empty(labels, crop_size, scale_range, rng):
    """Draws a training crop as `augment.RandomScaleCrop` does and looks whether it is void.

    Args:
        labels: uint8 `(height, width)`, ignore 255.
        crop_size: `(height, width)` in pixels.
        scale_range: smallest and largest random scale.
        rng: a NumPy `Generator`.

    Returns:
        Whether no pixel of the crop is labeled.
    """
    size = np.array(labels.shape)
    scale = rng.uniform(*scale_range)
    visible = np.minimum(np.round(size * scale), crop_size)
    window = np.clip(np.round(visible / scale), 1, size).astype(int)
    start = rng.integers(0, size - window, endpoint=True)
    # The pixels that resizing by nearest neighbor on half-pixel centers keeps.
    rows, columns = (
        first + ((np.arange(max(n, 1)) + 0.5) * length / max(n, 1)).astype(int)
        for first, length, n in zip(start, window, visible, strict=True)
    )
    return bool((labels[np.ix_(rows, columns)] == IGNORE).all())


def decode_leniently(mask, encoding):
    """Decodes a mask whose ids or colors may partly stand for no class.

    Args:
        mask: uint8 ids `(height, width)` for an `IndexEncoding`, colors `(height, width, 3)` for
            a `ColorEncoding`.
        encoding: how it encodes the classes.

    Returns:
        uint8 labels `(height, width)`, strays as 255, and a dict from each stray id or
        `(red, green, blue)` to its number of pixels.
    """
    if not isinstance(encoding, IndexEncoding) and encoding.rest is not None:
        return encoding.decode(mask), {}
    known = encoding.ids if isinstance(encoding, IndexEncoding) else encoding.colors
    found = encoding.count_values(mask)
    unknown = {value: pixels for value, pixels in found.items() if value not in known}
    everything = {**known, **dict.fromkeys(unknown, IGNORE)}
    return type(encoding)(everything).decode(mask), unknown


logger = logging.getLogger(__name__)


def check_labels(dataset, split, counts):
    """Refuses a data set with too few labels; warns of each class that has none.

    Args:
        dataset: a `SegmentationDataset`.
        split: `"train"` or `"val"`, for messages.
        counts: its labeled pixels of each class, `(classes,)`.

    Raises:
        ValueError: if no class is labeled, or one alone of several.
    """
    if not enough_classes(counts):
        fault = too_few_labels(split, dataset.classes, counts, _ignored(dataset))
        raise ValueError(f"{dataset.name}, {fault}")
    absent = [dataset.classes.names[i] for i in np.flatnonzero(np.asarray(counts) == 0)]
    if absent:
        text = never_labeled(split, absent, trained_on=split == "train")
        logger.warning("%s, %s", dataset.name, text)


def enough_classes(counts):
    """Whether more than one class is labeled, or the only one that there is.

    Where one of several is, a network that gives it everywhere has a mean IoU of 100 %.
    """
    labeled = np.count_nonzero(counts)
    return labeled > 1 or labeled == len(counts)


def too_few_labels(split, classes, counts, ignored):
    """Why labels that are not enough are not, and what may have to be written.

    Args:
        split: its name.
        classes: the `ClassTable`.
        counts: labeled pixels of each class, `(classes,)`.
        ignored: pixels of each id or color that does not count, a `Counter`.
    """
    if not np.any(counts):
        return f"{split}: no pixel is labeled"
    labeled = int(np.argmax(counts))
    others = [name for label, name in enumerate(classes.names) if label != labeled]
    sentence = f"{split}: only {classes.names[labeled]} is labeled, and no other class"
    if not ignored:
        return sentence
    ((value, pixels),) = ignored.most_common(1)
    share = 100 * pixels / (ignored.total() + np.sum(counts))
    kind, shown = ("color", list(value)) if isinstance(value, tuple) else ("id", value)
    meant = others[0] if len(others) == 1 else f"one of {shorten_list(others)}"
    return (
        f"{sentence}; {share:.2g} % of the pixels have the {kind} {shown}, which does not count. "
        f"If they belong to {meant}, write `{kind}: {shown}` in its entry of dataset.yaml, and "
        f"leave {shown} out of `ignore`"
    )


def never_labeled(split, names, trained_on):
    """What it means that the classes of these names have no pixel in a split."""
    effect = "never seen, so never learned" if trained_on else "never labeled, so never judged"
    return f"{split}: {effect}: {', '.join(names)}"


def _ignored(dataset):
    """Pixels of each id or color that does not count in the masks of a data set."""
    ignored = Counter()
    for _, path in dataset.pairs:
        mask = read_mask(path, dataset.encoding).pixels
        left_out = mask[dataset.encoding.decode(mask) == IGNORE]
        ignored.update(dataset.encoding.count_values(left_out))
    return ignored
