"""Reads mask files as ids or colors.

`IndexEncoding` and `ColorEncoding` in `keras_crosscbam.datasets.encodings` turn these into labels.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from PIL import ImageOps

from keras_crosscbam.datasets.encodings import ColorEncoding
from keras_crosscbam.images import (
    RefusedError,
    deep_samples,
    open_image,
    raw_mode,
    with_orientation,
)

# The RGBA color of each number in 8-bit gray.
_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
_GRAYS[:, 3] = 255


class UnclearIdsError(RefusedError):
    """Raised if both the stored numbers of a mask and the grays it shows may be the ids."""


@dataclass(frozen=True)
class Mask:
    """The contents of a mask file.

    Attributes:
        pixels: uint8 ids `(height, width)`, or colors `(height, width, 3)`, upright.
        kind: how the file stores the pixels, such as "8-bit gray", for reports.
        format: format of the file, such as "PNG".
        orientation: EXIF orientation that was applied to the pixels, 1 for none.
        palette: a dict from each used index to its `(red, green, blue)`, if the ids are indices of
            a palette of colors; otherwise empty.
    """

    pixels: np.ndarray
    kind: str
    format: str
    orientation: int
    palette: dict[int, tuple[int, int, int]]


def read_mask(path, encoding):
    """Reads a mask file as ids or colors and applies its EXIF orientation.

        >>> from keras_crosscbam.datasets.masks import read_mask
        >>> read_mask("masks/train/a.png", data.encoding).kind  # doctest: +SKIP
        '8-bit gray'

    A file with one channel stores numbers and shows colors: those of its palette, or grays, for
    which 1, 2 or 4 bits are scaled to the range from black to white. For masks of colors, the
    colors that the file shows are used. For masks of ids, these rules apply if the numbers in use
    and the grays that they show are different:

    - If one of the used colors is not gray, or if two grays are equal, the numbers are the ids.
    - Otherwise the grays are the ids. Lossless PNG optimizers create such files from 8-bit gray.
      They number the used grays from 0.
    - If the data set has classes for the numbers but not for all of these grays, an error is
      raised. If the palette has unused colors that are not gray, the numbers are the ids instead.
      With such a palette, an error is raised if the data set has classes for both numbers and
      grays.
    - Black and white, stored as 0 and 1, are read as 0 and 255 or as 0 and 1, depending on which
      ids the data set has classes for. If it has classes for both, an error is raised, for all
      numbers that are stored.

    With `IndexEncoding(stored=True)`, `masks: indices` in dataset.yaml, the numbers are always the
    ids. Transparency is ignored. An error is raised if pixels differ only in their transparency.

    Args:
        path: path of the file.
        encoding: encoding of the classes in the masks of the data set.

    Returns:
        A `Mask`. Its pixels may be ids for an encoding of colors or the reverse, and may contain
        values that are not in the encoding.

    Raises:
        UnclearIdsError: a `ValueError`, for a file with unclear ids as described above.
        ValueError: for a missing, damaged or unknown file, and for a file with more than 8 bits
            whose values are not ids or 8-bit colors. All messages name the file.
    """
    return open_image(path, lambda image: _read(image, encoding))


def _read(image, encoding):
    (kind, pixels, shown), orientation = with_orientation(image, _stored)
    palette = {}
    if pixels.shape[2] in (2, 4):
        _check_transparency(pixels)
        pixels = pixels[..., :-1]
    if pixels.shape[2] == 1:
        pixels, used = pixels[..., 0], np.flatnonzero(np.bincount(pixels.ravel()))
        if isinstance(encoding, ColorEncoding):
            pixels = _colors(pixels, used, shown, encoding)
        elif used[-1] >= len(shown) or (shown[used, :3] != used[:, None]).any():
            if _numbers_are_ids(used, shown, encoding):
                if image.mode == "P" and not encoding.stored:
                    colors = shown[used[used < len(shown)], :3].tolist()
                    palette = dict(zip(used.tolist(), map(tuple, colors), strict=False))
                numbers = "indices" if image.mode == "P" else "stored numbers"
                kind += f" whose {numbers} are the ids"
            else:
                pixels = shown[:, 0][pixels]
                kind += " whose grays are the ids"
    return Mask(pixels, kind, image.format, orientation, palette)


def _stored(image):
    """Returns the stored numbers of a mask that is open in Pillow, upright.

    Returns:
        A tuple: the kind of the file, a text; the pixels, uint8 `(height, width, channels)`; and
        the color of each number for a file with one channel, uint8 RGBA `(numbers, 4)`.
    """
    raw, samples = raw_mode(image), deep_samples(image)
    if samples is not None:
        return f"{8 * samples.dtype.itemsize} bits a channel", _in_8_bits(samples), _GRAYS
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        shown = _palette(image)
        of_grays = (shown[:, :1] == shown[:, :3]).all()
        kind = f"palette of {'grays' if of_grays else 'colors'}"
        return kind, np.asarray(image)[..., None], shown
    if image.mode == "1":
        return "1-bit gray", np.asarray(image).astype(np.uint8)[..., None], _GRAYS[::255]
    if image.mode == "L":
        # Pillow has scaled numbers with 2 or 4 bits to 0..255.
        bits = {"L;2": 2, "L;4": 4}.get(raw[:3], 8)
        step = 255 // (2**bits - 1)
        return f"{bits}-bit gray", np.asarray(image)[..., None] // step, _GRAYS[::step]
    if image.mode not in ("LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode == "PA" else "RGB")
    kind = {"LA": "gray with transparency", "RGBA": "RGB with transparency"}.get(image.mode, "RGB")
    return kind, np.asarray(image), _GRAYS


def _in_8_bits(samples):
    if samples.dtype.kind == "f":
        raise RefusedError(
            "contains floating-point numbers, but ids are whole numbers; save them as 8-bit gray"
        )
    if samples.shape[2] == 1:
        outside = np.unique(samples[(samples < 0) | (samples > 255)])
        if outside.size:
            raise RefusedError(f"expected ids in 0..255. Received also: {outside[:10].tolist()}")
        return samples.astype(np.uint8)
    # The 8-bit value v is v * 257 in 16 bits.
    if (samples % 257).any():
        raise RefusedError(
            "contains colors that need 16 bits a channel; save it with 8 bits a channel"
        )
    return (samples // 257).astype(np.uint8)


def _palette(image):
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    opacity = np.full((len(colors), 1), 255, np.uint8)
    transparent = image.info.get("transparency", b"")
    if isinstance(transparent, int):
        opacity[transparent : transparent + 1] = 0
    else:
        given = np.frombuffer(transparent, np.uint8)[: len(colors), None]
        opacity[: len(given)] = given
    return np.concatenate([colors, opacity], axis=1)


def _check_transparency(pixels):
    """Raises an error for colors `(..., channels and opacity)` that differ only in opacity."""
    opacity = pixels[..., -1]
    if opacity.min() == opacity.max():
        return
    packed = np.zeros(opacity.shape, np.uint32)
    for channel in range(pixels.shape[-1]):
        packed = packed << 8 | pixels[..., channel]
    if np.unique(packed).size > np.unique(packed >> 8).size:
        raise RefusedError(
            "contains a color with different transparency at different pixels, which has no "
            "meaning in a mask; save it without transparency"
        )


def _colors(numbers, used, shown, encoding):
    """Returns the RGB colors of a single channel, or its numbers if it has grays of no class."""
    if used[-1] >= len(shown):
        raise RefusedError(f"has the index {used[-1]}, but its palette has {len(shown)} colors")
    _check_transparency(shown[used])
    rgb = shown[:, :3]
    gray = (rgb[used] == rgb[used, :1]).all()
    if gray and not all(tuple(color) in encoding.colors for color in rgb[used].tolist()):
        return numbers
    return rgb[numbers]


def _numbers_are_ids(used, shown, encoding):
    """Returns whether the ids are the used numbers, not the grays they show; see `read_mask`."""
    if encoding.stored or used[-1] >= len(shown) or not _is_gray(shown[used]):
        return True
    grays = shown[:, 0]
    numbers, seen = used.tolist(), grays[used].tolist()
    if np.unique(grays[: used[-1] + 1]).size <= used[-1]:
        return True
    known, seen_known = _named(encoding, numbers), _named(encoding, seen)
    of_grays, black_and_white = _is_gray(shown), {0, 255}.issuperset(seen)
    if known and seen_known:
        if of_grays and not black_and_white:
            return False
    elif known:
        if not of_grays or (black_and_white and used[-1] <= 1 and grays[0] == 0):
            return True
    else:
        return not of_grays and not seen_known
    raise UnclearIdsError(
        f"stores the numbers {numbers} and shows them as the grays {seen}, and it is not clear "
        "which are the ids. Save the ids as 8-bit gray, or write `masks: indices` in dataset.yaml "
        "if the numbers are the ids, or `masks: colors` if the colors are the classes"
    )


def _named(encoding, values):
    """Returns whether the data set has classes for all of these ids.

    If all unlisted ids are background, every id has a class. Then one listed id is sufficient.
    """
    named = encoding.ids.keys() - encoding.rest
    return not named.isdisjoint(values) if encoding.rest else named >= set(values)


def _is_gray(colors):
    return bool((colors[:, :1] == colors[:, :3]).all())


class Palettes:
    """Compares the palettes of masks in which the indices are the ids.

    PNG optimizers may renumber the colors of a file. This does not change the picture, but it
    changes the class of each index.
    """

    def __init__(self):
        self._first = defaultdict(dict)

    def add(self, path, palette):
        """Records the `Mask.palette` of a file."""
        for index, color in palette.items():
            self._first[index].setdefault(color, path)

    def contradiction(self):
        """Returns a message about an index with different colors in two files, or None."""
        for index, files in sorted(self._first.items()):
            if len(files) > 1:
                (one, here), (other, there), *_ = files.items()
                return (
                    f"the palettes of masks are different, so their indices may not be the ids: "
                    f"index {index} is {one} in {here} and {other} in {there}. Write "
                    "`masks: colors` in dataset.yaml and the color of each class, or "
                    "`masks: indices` if the indices are the ids"
                )
        return None
