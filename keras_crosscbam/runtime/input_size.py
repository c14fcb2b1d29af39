"""Computes the size that an image is resized to for a network."""

MAX_ASPECT = 4
"""Maximum of the longer side when an image is enlarged, as a multiple of the shorter side."""


def input_size(image_size, size):
    """Returns the input `(height, width)` for a network that takes any size.

    >>> from keras_crosscbam.runtime.input_size import input_size
    >>> input_size((720, 960), 360)
    (360, 480)

    Args:
        image_size: `(height, width)` of the image.
        size: `(height, width)`, or the shorter side as an int, or None for the size of the image.
    """
    if size is None:
        return tuple(image_size)
    if isinstance(size, int):
        longest = max(MAX_ASPECT * size, *image_size)
        scale = min(size / min(image_size), longest / max(image_size))
        return tuple(max(round(side * scale), 1) for side in image_size)
    return tuple(size)
