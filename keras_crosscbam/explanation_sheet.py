"""Draws an explanation as one picture, with heat maps over the image and bars for channels."""

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

    The first row contains the image, its labels and Grad-CAM. The row of each CCBAM contains the
    spatial gates over the image, scaled from the smallest to the largest value given in the title,
    and the channel gates as bars from 0 to 1. The last row contains the gates of SE-ASPP.

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
    """Draws numbers of 0..1 as a bar chart, with colors by the numbers.

        >>> import numpy as np
        >>> from keras_crosscbam.explanation_sheet import bar_picture
        >>> bar_picture(np.array([0.0, 0.5, 1.0]), (100, 300)).size
        (300, 100)

    Args:
        values: float `(count,)`. If there are more values than columns of pixels, a column shows
            the maximum of its values.
        size: `(height, width)` in pixels.

    Returns:
        A `PIL.Image.Image` in RGB, with a line at 0.5.
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
    """Returns the title and the picture of spatial gates."""
    low, high = gate.min(), gate.max()
    stretched = (gate - low) / max(high - low, np.finfo(np.float32).eps)
    return f"{name}, positions, {low:.2f} to {high:.2f}", _fit(_over(stretched, image))


def _over(values, image):
    return heat_map(np.clip(bilinear(values, image.shape[:2]), 0, 1), image)


def _fit(picture):
    """Resizes a picture to the width of a cell."""
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
