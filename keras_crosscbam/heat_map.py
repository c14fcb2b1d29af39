"""Numbers of 0..1 as colors, from dark to bright."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Colors at equal distances of matplotlib's map "inferno", whose brightness rises evenly.
_ANCHORS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ]
)
_POSITIONS = np.linspace(0, 255, len(_ANCHORS))
COLORS = np.stack(
    [np.interp(np.arange(256), _POSITIONS, channel) for channel in _ANCHORS.T], axis=1
)
COLORS = np.rint(COLORS).astype(np.uint8)
"""The colors of 0, 1/255, ..., 1: uint8 `(256, 3)`."""


def heat_map(
    values: np.ndarray,
    image: np.ndarray | None = None,
    opacity: float = 0.65,
    scale: str | None = None,
) -> Image.Image:
    """Paints numbers, or lays them over an image.

        >>> import numpy as np
        >>> from keras_crosscbam.heat_map import heat_map
        >>> heat_map(np.array([[0.0, 1.0]])).getpixel((1, 0))
        (252, 255, 164)

    Args:
        values: float `(height, width)`; what is outside 0..1 has the color of 0 or 1.
        image: uint8 RGB `(height, width, 3)` to show through, or None.
        opacity: weight of the colors over the image, 0..1.
        scale: what the numbers are, for a scale below the picture; None for no scale.

    Returns:
        A `PIL.Image.Image` in RGB, as large as the values; with a scale it is higher.
    """
    levels = np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)
    picture = Image.fromarray(COLORS[levels])
    if image is not None:
        picture = Image.blend(Image.fromarray(image), picture, opacity)
    return picture if scale is None else _with_scale(picture, scale)


def _with_scale(picture, text):
    size = int(np.clip(picture.width / 36, 9, 40))
    font = ImageFont.load_default(size)
    canvas = Image.new("RGB", (picture.width, picture.height + 3 * size), (24, 24, 24))
    canvas.paste(picture)
    bar = Image.fromarray(COLORS[None]).resize((max(picture.width - 2 * size, 1), size))
    canvas.paste(bar, (size, picture.height + size // 2))
    draw, line = ImageDraw.Draw(canvas), picture.height + 3 * size
    for share, anchor, label in ((0, "ld", "0"), (0.5, "md", text), (1, "rd", "1")):
        place = size + share * bar.width, line
        draw.text(place, label, fill=(200, 200, 200), font=font, anchor=anchor)
    return canvas
