"""Reading image files of any kind into uint8 RGB."""

import io
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ASSETS = Path(__file__).parent / "assets"
"""The folder of the files that the package needs besides its code."""

STREET = ASSETS / "street.jpg"
"""A street in Leuven, 751x563 pixels, from OpenCV's sample data (Apache-2.0)."""

# Pillow knows MPEG, but does not read it.
EXTENSIONS = frozenset(Image.registered_extensions()) - {".mpg", ".mpeg"}
"""File name endings of images, in lower case, with their dot."""

_ORIENTATION = 0x0112

# A 16-bit image without a value above _DARK, or whose values lie closer together than _FLAT, is
# likely to use another range: 64 of the 256 shades would be left of it at most, or 16.
_DARK, _FLAT = 2**14, 2**12


class RefusedError(ValueError):
    """A file can be read, but what it holds is not taken; the message says why."""


class UnknownRangeError(RefusedError):
    """An image of more than 8 bits, which does not say which of its values are black and white."""


def read_image(path, value_range=None):
    """Reads an image file as uint8 RGB `(height, width, 3)`, upright.

        >>> from keras_crosscbam.images import STREET, read_image
        >>> read_image(STREET).shape
        (563, 751, 3)

    Args:
        path: the file.
        value_range: as in `to_rgb`.

    Raises:
        ValueError: for a missing, damaged or unknown file, and for one that needs a
            `value_range`, with its name.
    """
    return read_oriented_image(path, value_range)[0]


def read_oriented_image(path, value_range=None):
    """Reads an image as `read_image` does, and the EXIF orientation that it was turned by, 1..8."""
    check_value_range(value_range)
    return open_image(path, lambda image: with_orientation(image, to_rgb, value_range))


def with_orientation(image, read, *arguments):
    """`read(image, *arguments)` of an opened Pillow image, and its EXIF orientation, 1 if upright.

    The orientation says how the pixels in the file are to be turned, which `read` does.
    """

    def tag():
        value = image.getexif().get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    # PNG may have it behind the pixels. Pillow turns TIFF and takes the tag away on loading it.
    before = 1 if image.format == "PNG" else tag()
    result = read(image, *arguments)
    return result, max(before, tag())


def to_rgb(image, value_range=None):
    """Turns a Pillow image of any mode into an upright uint8 RGB array.

    The orientation that cameras write into EXIF is applied, and transparent parts show the color
    behind the transparency.

    Args:
        image: the image. Of a file with 16 bits in several channels that is loaded already,
            Pillow has kept the upper 8 bits.
        value_range: `(low, high)`, the values that become black and white in images of more than
            8 bits a channel; None for `(0, 65535)`. Images of 8 bits are taken as they are.

    Raises:
        UnknownRangeError: a `ValueError`, for an image of more than 8 bits that would turn almost
            black or almost uniform, or goes beyond 16 bits, without a `value_range`.
    """
    check_value_range(value_range)
    samples = deep_samples(image)
    if samples is None:
        image.load()
        # Either step would copy an image that needs neither, which may be a large one.
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    # The last one of two or of four channels is transparency.
    colors = samples[..., :3] if samples.shape[2] > 2 else samples[..., :1]
    colors = _to_8_bits(colors, value_range)
    return np.repeat(colors, 3 // colors.shape[2], axis=2)


def check_value_range(value_range):
    """Raises a `ValueError` for what is neither None nor two rising numbers."""
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
    """The upright samples of a Pillow image of more than 8 bits a channel.

    Returns:
        Whole or floating-point numbers `(height, width, channels)`; None for an image of 8 bits.
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
        # Two samples of two bytes, read as if they were four channels.
        array = _decoded(content, "RGBA").astype(np.uint16)
        return array[..., ::2] << 8 | array[..., 1::2]
    # Pillow keeps the upper byte of each sample, in the order of the bytes that it is told.
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[order]
    upper, lower = (_decoded(content, f"{channels};16{o}") for o in (order, other))
    return upper.astype(np.uint16) << 8 | lower


def raw_mode(image):
    """How the file stores the pixels, in Pillow's words: "L;4", "RGB;16B"; "" if it is loaded."""
    if not getattr(image, "tile", None):
        return ""
    arguments = image.tile[0][3]
    if isinstance(arguments, tuple) and arguments:
        arguments = arguments[0]
    return arguments if isinstance(arguments, str) else ""


def _decoded(content, raw):
    """The upright pixels of an image file, its bytes taken in another raw mode."""
    with Image.open(io.BytesIO(content)) as image:
        for number, tile in enumerate(image.tile):
            arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
            # Newer versions of Pillow have named tuples here.
            image.tile[number] = getattr(type(tile), "_make", tuple)((*tile[:3], arguments))
        return np.asarray(ImageOps.exif_transpose(image))


def _to_8_bits(samples, value_range):
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise RefusedError("holds values that are not finite")
    if value_range is None:
        _check_fills_16_bits(samples)
        value_range = (0, 65535)
    low, high = value_range
    scaled = (samples.astype(np.float64) - low) * 255 / (high - low)
    return np.round(scaled.clip(0, 255)).astype(np.uint8)


def _check_fills_16_bits(samples):
    remedy = (
        "Say which values are black and white: `--range LOW HIGH` of crosscbam segment, "
        "`range: [LOW, HIGH]` in dataset.yaml, `value_range=(LOW, HIGH)` in Python"
    )
    if samples.dtype.kind == "f":
        raise UnknownRangeError(f"holds floating-point numbers, whose range is unknown. {remedy}")
    whole = int(samples.min()), int(samples.max())
    if whole[0] < 0 or whole[1] > 65535:
        raise UnknownRangeError(
            f"holds values of {whole[0]}..{whole[1]}, beyond 0..65535. {remedy}"
        )
    # A few bright pixels, such as hot ones of a sensor, say nothing about the range.
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
            f"holds {share} values of {low}..{high}, of 16 bits, and would turn almost {fate}. "
            f"{remedy}; for instance {example}, or 0 65535 to take it as it is"
        )


def failure(path, error):
    """What went wrong with an image, as one line that names the file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"not enough memory ({text})"
    return text if str(path) in text else f"{path}: {text}"


def open_image(path, read):
    """Applies `read` to the opened image; every failure becomes a `ValueError` with the name."""
    try:
        # Of a path Pillow would map uncompressed TIFF into memory, and garble it if it is turned.
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
    """Saves a Pillow image as a file that is there whole or not at all, whatever interrupts it.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_crosscbam.images import save_image
        >>> save_image(Image.new("L", (4, 3)), Path(tempfile.mkdtemp()) / "labels.png")

    Args:
        image: the image.
        path: `pathlib.Path` of the file, in the format of its ending; replaced if it is there.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        image.save(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
