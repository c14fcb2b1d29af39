"""Figures about labels that training and the doctor want: class weights, empty crops, strays."""

import numpy as np

from keras_crosscbam.datasets.labels import IGNORE, IndexEncoding


def balanced_weights(counts, exponent):
    """Weights `share ** -exponent` of the classes, with mean 1 over the labelled pixels.

        >>> from keras_crosscbam.datasets.statistics import balanced_weights
        >>> balanced_weights([400, 100], exponent=0.5).round(3).tolist()
        [0.833, 1.667]

    Args:
        counts: labelled pixels of each class.
        exponent: 0 weighs all pixels alike, 1 all classes.

    Returns:
        float64 `(classes,)`. A class that never occurs has the weight of one of a share of 1e-6.

    Raises:
        ValueError: if no pixel is labelled.
    """
    counts = np.asarray(counts)
    if not counts.sum():
        raise ValueError("No pixel of the data is labelled: class weights need some that are")
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
        Whether no pixel of the crop is labelled.
    """
    size = np.array(labels.shape)
    scale = rng.uniform(*scale_range)
    visible = np.minimum(np.round(size * scale), crop_size)
    window = np.clip(np.round(visible / scale), 1, size).astype(int)
    start = rng.integers(0, size - window, endpoint=True)
    # The pixels that resizing by nearest neighbour on half-pixel centres keeps.
    rows, columns = (
        first + ((np.arange(max(n, 1)) + 0.5) * length / max(n, 1)).astype(int)
        for first, length, n in zip(start, window, visible, strict=True)
    )
    return bool((labels[np.ix_(rows, columns)] == IGNORE).all())


def decode_leniently(mask, encoding):
    """Decodes a mask whose ids or colours may partly stand for no class.

    Args:
        mask: uint8 ids `(height, width)` for an `IndexEncoding`, colours `(height, width, 3)` for
            a `ColourEncoding`.
        encoding: how it encodes the classes.

    Returns:
        uint8 labels `(height, width)`, strays as 255, and a dict from each stray id or
        `(red, green, blue)` to its number of pixels.
    """
    if not isinstance(encoding, IndexEncoding) and encoding.rest is not None:
        return encoding.decode(mask), {}
    known = encoding.ids if isinstance(encoding, IndexEncoding) else encoding.colours
    found = encoding.count_values(mask)
    strays = {value: pixels for value, pixels in found.items() if value not in known}
    everything = {**known, **dict.fromkeys(strays, IGNORE)}
    return type(encoding)(everything).decode(mask), strays
