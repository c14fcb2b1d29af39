"""Reads image files as uint8 RGB arrays, and saves images."""

import io
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ASSETS = Path(__file__).parent / "assets"
"""The folder of the package's data files."""

STREET = ASSETS / "street.jpg"
"""A street in Leuven, 751x563 pixels, from OpenCV's sample data (Apache-2.0)."""

# Pillow registers MPEG, but cannot read it.
EXTENSIONS = frozenset(Image.registered_extensions()) - {".mpg", ".mpeg"}
"""File name extensions of images, in lower case, with the dot."""

_ORIENTATION = 0x0112

# A 16-bit image whose values are all below _DARK, or span less than _FLAT, probably uses another
# range: after conversion to 8 bits it would have at most 64 or 16 of the 256 shades.
_DARK, _FLAT = 2**14, 2**12


class RefusedError(ValueError):
    """Raised for a file that is readable but whose content is not supported."""


class UnknownRangeError(RefusedError):
    """Raised for an image of more than 8 bits whose black and white values are unknown."""


def read_image(path, value_range=None):
    """Reads an image file as an upright uint8 RGB array `(height, width, 3)`.

        >>> from keras_crosscbam.images import STREET, read_image
        >>> read_image(STREET).shape
        (563, 751, 3)

    Args:
        path: the file.
        value_range: as in `to_rgb`.

    Raises:
        ValueError: for a file that is missing, damaged or of unknown format, and for an image that
            needs a `value_range`. The message names the file.
    """
    return read_oriented_image(path, value_range)[0]


def read_oriented_image(path, value_range=None):
    """Returns the image as `read_image` does, and the EXIF orientation that was applied, 1..8."""
    check_value_range(value_range)
    return open_image(path, lambda image: with_orientation(image, to_rgb, value_range))


def with_orientation(image, read, *arguments):
    """Returns `read(image, *arguments)` and the EXIF orientation of a Pillow image, 1 if upright.

    `read` rotates and mirrors the pixels according to the orientation.
    """

    def tag():
        value = image.getexif().get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    # PNG files may have the tag after the pixels. Pillow rotates TIFF images when it loads them and
    # removes the tag.
    before = 1 if image.format == "PNG" else tag()
    result = read(image, *arguments)
    return result, max(before, tag())


def to_rgb(image, value_range=None):
    """Converts a Pillow image of any mode to an upright uint8 RGB array.

    The EXIF orientation is applied, and transparency is ignored: transparent pixels keep their
    color.

    Args:
        image: a `PIL.Image.Image`. If it is a multi-channel 16-bit image that is already loaded,
            Pillow has kept the upper 8 bits only.
        value_range: `(low, high)`, the values that are converted to black and white in images of
            more than 8 bits per channel; None for `(0, 65535)`. Images of 8 bits are not changed.

    Raises:
        UnknownRangeError: a `ValueError`, for an image of more than 8 bits that would become almost
            black or almost uniform, or has more than 16 bits, without a `value_range`.
    """
    check_value_range(value_range)
    samples = deep_samples(image)
    if samples is None:
        image.load()
        # Both steps copy the image, which may be large, so they are skipped where not needed.
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    # The last of two or of four channels is transparency.
    colors = samples[..., :3] if samples.shape[2] > 2 else samples[..., :1]
    colors = _to_8_bits(colors, value_range)
    return np.repeat(colors, 3 // colors.shape[2], axis=2)


def check_value_range(value_range):
    """Raises a `ValueError` if the range is neither None nor two increasing numbers."""
    if value_range is None:
        return
    try:
        if isinstance(value_range, str):
            raise TypeError
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"`value_range` must be (low, high), low < high. Received: {value_range}")


def deep_samples(image):
    """Returns the upright samples of a Pillow image of more than 8 bits per channel.

    Returns:
        Integers or floats of shape `(height, width, channels)`; None for an image of 8 bits.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(ImageOps.exif_transpose(image))[..., None]
    match = re.fullmatch(r"(.*);16([BLN])", raw_mode(image))
    if match is None or image.mode not in ("RGB", "RGBA"):
        return None
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
    channels, order = match.groups()
    if channels == "LA":
        # Two samples of two bytes are read as four channels.
        array = _decoded(content, "RGBA").astype(np.uint16)
        return array[..., ::2] << 8 | array[..., 1::2]
    # Pillow keeps the first byte of each sample in the given byte order, so decoding in both orders
    # gives both bytes.
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[order]
    upper, lower = (_decoded(content, f"{channels};16{o}") for o in (order, other))
    return upper.astype(np.uint16) << 8 | lower


def raw_mode(image):
    """Returns Pillow's raw mode of a file, such as "L;4" or "RGB;16B"; "" if already loaded."""
    if not getattr(image, "tile", None):
        return ""
    arguments = image.tile[0][3]
    if isinstance(arguments, tuple) and arguments:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _decoded(content, raw):
    """Returns the upright pixels of an image file, decoded in another raw mode."""
    with Image.open(io.BytesIO(content)) as image:
        for number, tile in enumerate(image.tile):
            arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
            # Newer versions of Pillow use named tuples here.
            image.tile[number] = getattr(type(tile), "_make", tuple)((*tile[:3], arguments))
        return np.asarray(ImageOps.exif_transpose(image))


def _to_8_bits(samples, value_range):
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise RefusedError("contains values that are not finite")
    if value_range is None:
        _check_fills_16_bits(samples)
        value_range = (0, 65535)
    low, high = value_range
    scaled = (samples.astype(np.float64) - low) * 255 / (high - low)
    return np.round(scaled.clip(0, 255)).astype(np.uint8)


def _check_fills_16_bits(samples):
    remedy = (
        "Set the values of black and white: `--range LOW HIGH` of crosscbam segment, "
        "`range: [LOW, HIGH]` in dataset.yaml, `value_range=(LOW, HIGH)` in Python"
    )
    if samples.dtype.kind == "f":
        raise UnknownRangeError(f"contains floating-point numbers of unknown range. {remedy}")
    whole = int(samples.min()), int(samples.max())
    if whole[0] < 0 or whole[1] > 65535:
        raise UnknownRangeError(
            f"contains values of {whole[0]}..{whole[1]}, outside 0..65535. {remedy}"
        )
    # A few bright pixels, such as hot pixels of a sensor, do not show the range.
    most = [int(value) for value in np.percentile(samples, [0.1, 99.9])]
    for share, (low, high) in (("only", whole), ("almost only", most)):
        if high and high < _DARK:
            likely = next(2**bits - 1 for bits in (8, 10, 12, 14) if high < 2**bits)
            fate, example = "black", f"0 {likely}"
        elif 0 < high - low < _FLAT:
            fate, example = "uniform", f"{low} {high}"
        else:
            continue
        raise UnknownRangeError(
            f"contains {share} values of {low}..{high}, of 16 bits, and would become almost "
            f"{fate}. {remedy}; for example {example}, or 0 65535 for the full range"
        )


def failure(path, error):
    """Returns the error message for an image file as one line that names the file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"not enough memory ({text})"
    return text if str(path) in text else f"{path}: {text}"


def open_image(path, read):
    """Returns `read(image)` of the opened image; raises a `ValueError` that names the file."""
    try:
        # Given a path, Pillow memory-maps uncompressed TIFF and decodes rotated images wrongly.
        with open(path, "rb") as file, Image.open(file) as image:
            return read(image)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except RefusedError as error:
        raise type(error)(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{path}: not a readable image ({reason})") from error


def save_image(image, path):
    """Saves a Pillow image atomically: an interruption never leaves an incomplete file.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_crosscbam.images import save_image
        >>> save_image(Image.new("L", (4, 3)), Path(tempfile.mkdtemp()) / "labels.png")

    Args:
        image: the image.
        path: `pathlib.Path` of the file; its extension sets the format. An existing file is
            replaced.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        image.save(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
