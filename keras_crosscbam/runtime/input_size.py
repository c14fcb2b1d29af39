"""The size that an image is resized to for a network."""

MAX_ASPECT = 4
"""How many times a shorter side that is asked for the longer side may become by enlarging."""


def input_size(image_size, size):
    """The `(height, width)` for a network of any size.

    >>> from keras_crosscbam.runtime.input_size import input_size
    >>> input_size((720, 960), 360)
    (360, 480)

    Args:
        image_size: `(height, width)` of the image.
        size: `(height, width)`, or the shorter side alone, or None for that of the image.
    """
    if size is None:
        return tuple(image_size)
    if isinstance(size, int):
        longest = max(MAX_ASPECT * size, *image_size)
        scale = min(size / min(image_size), longest / max(image_size))
        return tuple(max(round(side * scale), 1) for side in image_size)
    return tuple(size)
