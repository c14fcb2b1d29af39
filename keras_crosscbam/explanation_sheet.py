"""The picture sheet of an explanation: heat maps over the photograph, and bars of channels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_crosscbam.heat_map import COLORS, heat_map
from keras_crosscbam.runtime.resize import bilinear
from keras_crosscbam.visualize import overlay

_DARK, _LIGHT = (24, 24, 24), (220, 220, 220)
_CELL, _GAP, _TITLE, _BARS = 480, 12, 26, 130


def sheet(explanation):
    """Draws an `Explanation`.

    The first row holds the image, its labels and Grad-CAM. A row for each CCBAM shows the gates of
    positions over the image, from the smallest one to the largest, which the title tells, and those
    of channels as bars, from 0 to 1; the last row has SE-ASPP's.

    Returns:
        A `PIL.Image.Image` in RGB, 1500 pixels wide.
    """
    image, labels = explanation.image, explanation.labels
    cells = [
        ("image", Image.fromarray(image)),
        ("labels", overlay(image, labels, explanation.classes)),
        (f"Grad-CAM for {explanation.target}", _over(explanation.grad_cam, image)),
    ]
    rows = [_row([(title, _fit(picture)) for title, picture in cells])]
    blocks = dict.fromkeys(name.split()[0] for name in explanation.spatial_gates)
    for block in blocks:
        low, high = f"{block} low", f"{block} high"
        spaces = [_positions(n, explanation.spatial_gates[n], image) for n in (low, high)]
        bars = [bar_picture(explanation.channel_gates[n], (_BARS, _CELL)) for n in (low, high)]
        stacked = _column([(f"{n}, channels", b) for n, b in zip((low, high), bars, strict=True)])
        rows.append(_row([*spaces, ("", stacked)]))
    width = 3 * _CELL + 2 * _GAP
    for name, gate in explanation.channel_gates.items():
        if name.split()[0] not in blocks:
            rows.append(_row([(f"{name}, channels", bar_picture(gate, (_BARS, width)))]))
    canvas = Image.new("RGB", (width + 2 * _GAP, sum(r.height + _GAP for r in rows) + _GAP), _DARK)
    top = _GAP
    for picture in rows:
        canvas.paste(picture, (_GAP, top))
        top += picture.height + _GAP
    return canvas


def bar_picture(values, size):
    """Numbers of 0..1 as bars side by side, the color of each by its number too.

        >>> import numpy as np
        >>> from keras_crosscbam.explanation_sheet import bar_picture
        >>> bar_picture(np.array([0.0, 0.5, 1.0]), (100, 300)).size
        (300, 100)

    Args:
        values: float `(count,)`; more of them than the picture has columns share these by their
            maximum.
        size: `(height, width)` in pixels.

    Returns:
        A `PIL.Image.Image` in RGB. A line marks one half.
    """
    height, width = size
    edges = np.arange(width) * len(values) // width
    ends = np.maximum((np.arange(width) + 1) * len(values) // width, edges + 1)
    columns = np.array([values[a:b].max() for a, b in zip(edges, ends, strict=True)])
    heights = (np.arange(height)[::-1, None] + 0.5) / height
    colors = COLORS[np.rint(np.clip(0.25 + 0.75 * columns, 0, 1) * 255).astype(int)]
    picture = np.where((heights < columns)[..., None], colors, np.uint8(40))
    picture[height // 2] = picture[height // 2] // 2 + 64
    return Image.fromarray(picture.astype(np.uint8))


def _positions(name, gate, image):
    """The title and the picture of gates of positions."""
    low, high = gate.min(), gate.max()
    stretched = (gate - low) / max(high - low, np.finfo(np.float32).eps)
    return f"{name}, positions, {low:.2f} to {high:.2f}", _fit(_over(stretched, image))


def _over(values, image):
    return heat_map(np.clip(bilinear(values, image.shape[:2]), 0, 1), image)


def _fit(picture):
    """The picture as wide as a cell."""
    return picture.resize((_CELL, max(round(picture.height * _CELL / picture.width), 1)))


def _row(cells):
    return _joined([_titled(*cell) for cell in cells], sideways=True)


def _column(cells):
    return _joined([_titled(*cell) for cell in cells], sideways=False)


def _joined(pictures, sideways):
    sizes = np.array([picture.size for picture in pictures])
    along, across = (0, 1) if sideways else (1, 0)
    size = [0, 0]
    size[along] = int(sizes[:, along].sum()) + _GAP * (len(pictures) - 1)
    size[across] = int(sizes[:, across].max())
    canvas, place = Image.new("RGB", tuple(size), _DARK), [0, 0]
    for picture in pictures:
        canvas.paste(picture, tuple(place))
        place[along] += picture.size[along] + _GAP
    return canvas


def _titled(title, picture):
    if not title:
        return picture
    canvas = Image.new("RGB", (picture.width, picture.height + _TITLE), _DARK)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    draw.text((0, _TITLE - 6), title, fill=_LIGHT, font=font, anchor="ls")
    canvas.paste(picture, (0, _TITLE))
    return canvas
