"""Reads images with a given number of channels: one, three, or any other."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from keras_crosscbam.images import (
    STREET,
    RefusedError,
    check_value_range,
    deep_samples,
    open_image,
    read_image,
    read_oriented_image,
    to_rgb,
    with_orientation,
)

ARRAY = ".npy"
"""File name extension of NumPy arrays."""

_BYTE_MODES = ("L", "LA", "RGB", "RGBA", "CMYK")


def read_channels(path, channels=3, value_range=None):
    """Reads an image file as an upright uint8 array `(height, width, channels)`.

        >>> from keras_crosscbam.image_channels import read_channels
        >>> from keras_crosscbam.images import STREET
        >>> read_channels(STREET, channels=1).shape
        (563, 751, 1)

    For three channels the image is converted to RGB, and for one channel to gray, with the luma of
    ITU-R BT.601, which does not change gray pixels stored as color. For any other number, the file
    must contain that number of 8-bit channels: as bands, such as RGBA, or as the pages of a TIFF
    file, in order.

    Args:
        path: the file, of a format that Pillow reads, or a `.npy` file of a uint8 array
            `(height, width)` or `(height, width, channels)`.
        channels: the number of channels.
        value_range: as in `keras_crosscbam.images.to_rgb`, for one and for three channels.

    Raises:
        ValueError: for a file that is missing, damaged or of unknown format, for another number of
            channels, and for an image that needs a `value_range`. The message names the file.
    """
    return read_oriented_channels(path, channels, value_range)[0]


def read_oriented_channels(path, channels=3, value_range=None):
    """Returns the image as `read_channels` does, and the EXIF orientation that was applied."""
    if Path(path).suffix.lower() == ARRAY:
        return _read_array(path, channels), 1
    if channels == 3:
        return read_oriented_image(path, value_range)
    check_value_range(value_range)
    return open_image(
        path, lambda image: with_orientation(image, to_channels, channels, value_range)
    )


def to_channels(image, channels=3, value_range=None):
    """Converts a Pillow image to an upright uint8 array, as `read_channels` does for a file.

    Raises:
        ValueError: for another number of channels, and as in `keras_crosscbam.images.to_rgb`.
    """
    if channels == 3:
        return to_rgb(image, value_range)
    if channels == 1:
        return _gray(to_rgb(image, value_range))
    planes = []
    for page in range(getattr(image, "n_frames", 1)):
        if page:
            image.seek(page)
        if image.mode not in _BYTE_MODES or deep_samples(image) is not None:
            raise RefusedError(
                f"has pixels of mode {image.mode}. Expected {channels} channels of 8 bits, in "
                f"one of the modes {', '.join(_BYTE_MODES)}"
            )
        planes.append(np.atleast_3d(np.asarray(ImageOps.exif_transpose(image))))
    if len({plane.shape[:2] for plane in planes}) > 1:
        raise RefusedError("has pages of different sizes, which cannot be channels of one image")
    stacked = np.concatenate(planes, axis=2)
    if stacked.shape[2] != channels:
        raise RefusedError(
            f"has {stacked.shape[2]} channels ({len(planes)} x {image.mode}). Expected {channels}"
        )
    return stacked


def array_to_channels(array, channels=3):
    """Converts a uint8 array `(height, width[, any])` to `(height, width, channels)`.

        >>> import numpy as np
        >>> from keras_crosscbam.image_channels import array_to_channels
        >>> array_to_channels(np.zeros((4, 5, 3), np.uint8), channels=1).shape
        (4, 5, 1)

    Gray is converted to RGB, RGB to gray, and the opacity of RGBA is dropped.

    Raises:
        ValueError: for another dtype or shape.
    """
    array = np.asarray(array)
    given = array.shape[2] if array.ndim == 3 else 1
    known = (1, 3, 4) if channels in (1, 3) else (channels,)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or given not in known:
        shape = "[, 1, 3 or 4]" if channels in (1, 3) else f", {channels}"
        raise ValueError(
            f"Expected a path, a PIL image, or a uint8 array (height, width{shape}). "
            f"Received: {array.dtype} of shape {array.shape}"
        )
    array = array.reshape(*array.shape[:2], given)
    if channels == 1 and given > 1:
        return _gray(array[..., :3])
    if channels == 3:
        return np.repeat(array, 3, axis=2) if given == 1 else array[..., :3]
    return array


def street(channels=3):
    """Returns the package's street photograph with the given number of channels.

    For other numbers than one and three, the color channels are repeated.
    """
    image = read_image(STREET)
    return _gray(image) if channels == 1 else image[..., np.arange(channels) % 3]


def _gray(rgb):
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))[..., None]


def _read_array(path, channels):
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error})") from error
    try:
        return array_to_channels(array, channels)
    except ValueError as error:
        raise RefusedError(f"{path}: {error}") from error
