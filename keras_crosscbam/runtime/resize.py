"""Resizes images, scores and labels with Pillow, at half-pixel centers."""

import numpy as np
from PIL import Image


def bilinear(array, size):
    """Resizes uint8 `(h, w, channels)` or float32 `(h, w)` to a `(height, width)`.

    When the size decreases, Pillow's filter becomes wider, so every pixel contributes.
    """
    if array.shape[:2] == size:
        return array
    if array.ndim == 3 and array.shape[2] != 3:
        # Channels are resized separately, because Pillow treats the last of four as opacity.
        planes = (np.ascontiguousarray(plane) for plane in np.moveaxis(array, -1, 0))
        return np.stack([bilinear(plane, size) for plane in planes], axis=-1)
    return np.asarray(Image.fromarray(array).resize(size[::-1], Image.BILINEAR))


def bilinear_planes(scores, size):
    """Yields the resized scores of each class, from float32 `(h, w, classes)`."""
    return (bilinear(plane, size) for plane in np.moveaxis(scores, -1, 0))


def nearest(labels, size):
    """Resizes uint8 labels `(h, w)` to a `(height, width)`."""
    if labels.shape == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.NEAREST))
