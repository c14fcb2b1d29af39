"""Resizing of what goes into a network and comes out of it, by Pillow, at half-pixel centres."""

import numpy as np
from PIL import Image

MAX_ASPECT = 4
"""How many times a shorter side that is asked for the longer side may become by enlarging."""


def network_size(image_size, size):
    """The `(height, width)` to resize an image to.

        >>> from keras_crosscbam.runtime.resize import network_size
        >>> network_size((480, 640), 240)
        (240, 320)

    Args:
        image_size: `(height, width)`.
        size: as in a call of `keras_crosscbam.runtime.Runtime`.
    """
    if size is None:
        return tuple(image_size)
    if isinstance(size, int):
        longest = max(MAX_ASPECT * size, *image_size)
        scale = min(size / min(image_size), longest / max(image_size))
        return tuple(max(round(side * scale), 1) for side in image_size)
    return tuple(size)


def bilinear(array, size):
    """Resizes uint8 RGB `(h, w, 3)` or float32 `(h, w)` to a `(height, width)`.

    Where that is smaller, Pillow's filter widens, so that no pixel is left out.
    """
    if array.shape[:2] == size:
        return array
    return np.asarray(Image.fromarray(array).resize(size[::-1], Image.BILINEAR))


def bilinear_planes(scores, size):
    """The resized scores of one class after the other, from float32 `(h, w, classes)`."""
    return (bilinear(plane, size) for plane in np.moveaxis(scores, -1, 0))


def nearest(labels, size):
    """Resizes uint8 labels `(h, w)` to a `(height, width)`."""
    if labels.shape == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.NEAREST))
