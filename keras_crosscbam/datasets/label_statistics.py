"""Statistics of labels: class weights, empty crops, unknown ids and missing classes."""

import logging
from collections import Counter

import numpy as np

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets.encodings import IndexEncoding
from keras_crosscbam.datasets.listing import shorten_list
from keras_crosscbam.datasets.masks import read_mask


def balanced_weights(counts, exponent):
    """Returns class weights `share ** -exponent` with mean 1 over the labeled pixels.

        >>> from keras_crosscbam.datasets.label_statistics import balanced_weights
        >>> balanced_weights([400, 100], exponent=0.5).round(3).tolist()
        [0.833, 1.667]

    Args:
        counts: number of labeled pixels of each class.
        exponent: number from 0, for equal weights of all pixels, to 1, for equal weights of all
            classes.

    Returns:
        float64 `(classes,)`. A class that never occurs has the weight of a class with a share of
        1e-6.

    Raises:
        ValueError: if no pixel is labeled.
    """
    counts = np.asarray(counts)
    if not counts.sum():
        raise ValueError("No pixel of the data is labeled. Class weights require labeled pixels.")
    shares = counts / counts.sum()
    weights = np.maximum(shares, 1e-6) ** -exponent
    return weights / (weights * shares).sum()


def random_crop_is_empty(labels, crop_size, scale_range, rng):
    """Draws a training crop as `augment.RandomScaleCrop` does and checks whether it is empty.

    Args:
        labels: uint8 `(height, width)`, 255 for ignored pixels.
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
    # The pixels that remain after nearest neighbor resizing on half-pixel centers.
    rows, columns = (
        first + ((np.arange(max(n, 1)) + 0.5) * length / max(n, 1)).astype(int)
        for first, length, n in zip(start, window, visible, strict=True)
    )
    return bool((labels[np.ix_(rows, columns)] == IGNORE).all())


def decode_leniently(mask, encoding):
    """Decodes a mask in which some ids or colors may belong to no class.

    Args:
        mask: uint8 ids `(height, width)` for an `IndexEncoding`, colors `(height, width, 3)` for
            a `ColorEncoding`.
        encoding: encoding of the classes in the mask.

    Returns:
        A pair: uint8 labels `(height, width)`, with 255 for unknown ids or colors, and a dict from
        each unknown id or `(red, green, blue)` to its number of pixels.
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
    """Checks that a data set has enough labels. Logs a warning with the classes that have none.

    Args:
        dataset: a `SegmentationDataset`.
        split: `"train"` or `"val"`, for messages.
        counts: number of labeled pixels of each class, `(classes,)`.

    Raises:
        ValueError: if no class is labeled, or only one of several classes.
    """
    if not enough_classes(counts):
        fault = too_few_labels(split, dataset.classes, counts, _ignored(dataset))
        raise ValueError(f"{dataset.name}, {fault}")
    absent = [dataset.classes.names[i] for i in np.flatnonzero(np.asarray(counts) == 0)]
    if absent:
        text = never_labeled(split, absent, trained_on=split == "train")
        logger.warning("%s, %s", dataset.name, text)


def enough_classes(counts):
    """Returns whether more than one class is labeled, or the class of a data set with one class.

    If only one of several classes is labeled, a network that always predicts this class has a mean
    IoU of 100 %.
    """
    labeled = np.count_nonzero(counts)
    return labeled > 1 or labeled == len(counts)


def too_few_labels(split, classes, counts, ignored):
    """Returns a message about missing labels that suggests a change of dataset.yaml.

    Args:
        split: name of the split.
        classes: the `ClassTable`.
        counts: number of labeled pixels of each class, `(classes,)`.
        ignored: a `Counter` of the pixels with each ignored id or color.
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
        f"{sentence}; {share:.2g} % of the pixels have the {kind} {shown}, which is ignored. "
        f"If they belong to {meant}, write `{kind}: {shown}` in its entry of dataset.yaml, and "
        f"remove {shown} from `ignore`"
    )


def never_labeled(split, names, trained_on):
    """Returns a message about classes that have no pixel in a split."""
    effect = "never labeled, so not trained" if trained_on else "never labeled, so not evaluated"
    return f"{split}: {effect}: {', '.join(names)}"


def _ignored(dataset):
    """Counts the pixels with each ignored id or color in the masks of a data set."""
    ignored = Counter()
    for _, path in dataset.pairs:
        mask = read_mask(path, dataset.encoding).pixels
        left_out = mask[dataset.encoding.decode(mask) == IGNORE]
        ignored.update(dataset.encoding.count_values(left_out))
    return ignored
