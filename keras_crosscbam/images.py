"""Reading image files of any kind into uint8 RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ASSETS = Path(__file__).parent / "assets"
"""The folder of the files that the package needs besides its code."""

STREET = ASSETS / "street.jpg"
"""A street in Leuven, 751x563 pixels, from OpenCV's sample data (Apache-2.0)."""

EXTENSIONS = frozenset(Image.registered_extensions())
"""File name endings of images, in lower case, with their dot."""


def read_image(path):
    """Reads an image file as uint8 RGB `(height, width, 3)`, upright.

        >>> from keras_crosscbam.images import STREET, read_image
        >>> read_image(STREET).shape
        (563, 751, 3)

    Raises:
        ValueError: for a missing, damaged or unknown file, with its name.
    """
    return open_image(path, to_rgb)


def to_rgb(image):
    """Turns a Pillow image of any mode into an upright uint8 RGB array.

    The orientation that cameras write into EXIF is applied, 16-bit grey is scaled to 8 bits, and
    transparent parts show the colour behind the transparency.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        grey = np.asarray(image.convert("I")).clip(0, 65535)
        image = Image.fromarray((grey >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("holds floating-point numbers, whose range is unknown; save it as 8 bits")
    return np.asarray(image.convert("RGB"))


def failure(path, error):
    """What went wrong with an image, as one line that names the file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"not enough memory ({text})"
    return text if str(path) in text else f"{path}: {text}"


def open_image(path, read):
    """Applies `read` to the opened image; every failure becomes a `ValueError` with the name."""
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{path}: not a readable image ({reason})") from error
