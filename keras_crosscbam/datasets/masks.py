"""Reading mask files: the numbers they store, the colors they show, and which are the ids."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from PIL import ImageOps

from keras_crosscbam.classes import ColorEncoding
from keras_crosscbam.images import (
    RefusedError,
    deep_samples,
    open_image,
    raw_mode,
    with_orientation,
)

# The color that each number of 8-bit gray shows, in RGBA.
_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
_GRAYS[:, 3] = 255


class UnclearIdsError(RefusedError):
    """A mask stores numbers and shows others as grays, and either may be the ids."""


@dataclass(frozen=True)
class Mask:
    """What a mask file holds.

    Attributes:
        pixels: uint8 ids `(height, width)`, or colors `(height, width, 3)`, upright.
        kind: how the file stores them, such as "8-bit gray", for reports.
        format: of the file, such as "PNG".
        orientation: the EXIF orientation that the pixels were turned by, 1 for none.
        palette: a dict from each index in use to its `(red, green, blue)`, for ids that are
            indices of a palette of colors; otherwise empty.
    """

    pixels: np.ndarray
    kind: str
    format: str
    orientation: int
    palette: dict[int, tuple[int, int, int]]


def read_mask(path, encoding):
    """Reads a mask file as ids or colors, turned by the file's own EXIF orientation.

        >>> from keras_crosscbam.datasets.masks import read_mask
        >>> read_mask("masks/train/a.png", data.encoding).kind  # doctest: +SKIP
        '8-bit gray'

    A file of one channel stores numbers and shows colors: those of its palette, or grays that
    spread 1, 2 or 4 bits from black to white. For masks of colors, what it shows counts. For
    masks of ids, where the numbers in use and the grays that they show are not equal:

    - With a color among those in use, or with two equal grays, the numbers are the ids.
    - Otherwise the grays are the ids. Lossless PNG optimizers make such files of 8-bit gray, and
      number the grays that occur from 0 on.
    - If the data set has classes for the numbers but not for all of those grays, the file is
      refused; unless the palette has colors that are not in use: then the numbers are the ids.
      With such a palette, a file whose numbers and grays both have classes is refused.
    - Black and white, stored as 0 and 1, are 0 and 255 or 0 and 1, whichever the data set has
      classes for. If it has them for both, the file is refused, whatever the numbers are.

    With `IndexEncoding(stored=True)`, `masks: indices` in dataset.yaml, the numbers are the ids
    whatever the file shows. Transparency has no meaning; a file in which it tells apart what is
    equal in color is refused.

    Args:
        path: the file.
        encoding: how the data set's masks encode the classes.

    Returns:
        A `Mask`. Its pixels may be of the other kind than `encoding` decodes, and hold values
        that it does not know.

    Raises:
        UnclearIdsError: a `ValueError`, for a file that is refused as told above.
        ValueError: for a missing, damaged or unknown file, and for one of more than 8 bits that
            ids and colors do not need. All name the file.
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
    """What a Pillow image of a mask stores, upright.

    Returns:
        Its kind; uint8 pixels `(height, width, channels)`; and the color that each number of a
        single channel shows, uint8 RGBA `(numbers, 4)`.
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
        # Pillow has spread the numbers that 2 or 4 bits hold over 0..255.
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
            "holds floating-point numbers; ids are whole numbers, save them as 8-bit gray"
        )
    if samples.shape[2] == 1:
        outside = np.unique(samples[(samples < 0) | (samples > 255)])
        if outside.size:
            raise RefusedError(f"expected ids of 0..255; received also {outside[:10].tolist()}")
        return samples.astype(np.uint8)
    # The 8-bit value v is v * 257 of 16 bits.
    if (samples % 257).any():
        raise RefusedError(
            "holds colors that need 16 bits a channel; save it with 8 bits a channel"
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
    """Refuses colors `(..., channels and opacity)` that are equal but for the opacity."""
    opacity = pixels[..., -1]
    if opacity.min() == opacity.max():
        return
    packed = np.zeros(opacity.shape, np.uint32)
    for channel in range(pixels.shape[-1]):
        packed = packed << 8 | pixels[..., channel]
    if np.unique(packed).size > np.unique(packed >> 8).size:
        raise RefusedError(
            "holds a color that is transparent at some pixels and less so at others, which means "
            "nothing in a mask; save it without transparency"
        )


def _colors(numbers, used, shown, encoding):
    """What a single channel shows, in RGB; the numbers if it shows grays that are no class's."""
    if used[-1] >= len(shown):
        raise RefusedError(f"has the index {used[-1]}, but a palette of {len(shown)} colors")
    _check_transparency(shown[used])
    rgb = shown[:, :3]
    gray = (rgb[used] == rgb[used, :1]).all()
    if gray and not all(tuple(color) in encoding.colors for color in rgb[used].tolist()):
        return numbers
    return rgb[numbers]


def _numbers_are_ids(used, shown, encoding):
    """Whether the ids are the numbers in use, and not the grays that they show; see `read_mask`."""
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
        "which are the ids. Save the ids as 8-bit gray; or in dataset.yaml say `masks: indices` if "
        "they are the numbers, or `masks: colors` if the file is a picture of colors"
    )


def _named(encoding, values):
    """Whether the data set has classes for all of these ids.

    Where all that is not named is background, every id has one, and one that is named must do.
    """
    named = encoding.ids.keys() - encoding.rest
    return not named.isdisjoint(values) if encoding.rest else named >= set(values)


def _is_gray(colors):
    return bool((colors[:, :1] == colors[:, :3]).all())


class Palettes:
    """Compares the palettes of a data set's masks, whose indices are the ids.

    PNG optimizers may number the colors of each file anew, which leaves the picture as it was
    and makes another class of each index.
    """

    def __init__(self):
        self._first = defaultdict(dict)

    def add(self, path, palette):
        """Takes note of the `Mask.palette` of a file."""
        for index, color in palette.items():
            self._first[index].setdefault(color, path)

    def contradiction(self):
        """A sentence about an index that has different colors in different files, or None."""
        for index, files in sorted(self._first.items()):
            if len(files) > 1:
                (one, here), (other, there), *_ = files.items()
                return (
                    f"the palettes of masks differ, so that their indices may not be the ids: "
                    f"index {index} is {one} in {here} and {other} in {there}. Say "
                    "`masks: colors` in dataset.yaml and the color of each class, or "
                    "`masks: indices` if the indices are the ids all the same"
                )
        return None
