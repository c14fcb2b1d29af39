"""Draws labels: colors, overlays and legends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from keras_crosscbam.classes import ClassTable


def colorize(labels: np.ndarray, classes: ClassTable) -> np.ndarray:
    """Converts labels to the colors of their classes.

    Args:
        labels: uint8 `(height, width)`. Labels without a class, such as 255, are black.
        classes: a `ClassTable`.

    Returns:
        uint8 RGB `(height, width, 3)`.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.colors
    return palette[labels]


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Converts an image with any number of channels to RGB for pictures.

        >>> import numpy as np
        >>> from keras_crosscbam.visualize import as_rgb
        >>> as_rgb(np.zeros((90, 120, 5), np.uint8)).shape
        (90, 120, 3)

    Args:
        image: uint8 `(height, width, channels)`.

    Returns:
        uint8 RGB `(height, width, 3)`: the first three channels, or the first channel as gray if
        there are fewer than three.
    """
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def class_shares(labels: np.ndarray, classes: ClassTable) -> dict[str, float]:
    """Computes the share of the pixels of each class.

        >>> import numpy as np
        >>> from keras_crosscbam.datasets import CAMVID_CLASSES
        >>> from keras_crosscbam.visualize import class_shares
        >>> class_shares(np.array([[0, 0], [3, 0]], np.uint8), CAMVID_CLASSES)
        {'Sky': 0.75, 'Road': 0.25}

    Args:
        labels: uint8 `(height, width)`.
        classes: a `ClassTable`.

    Returns:
        A dict from class name to share, 0..1, largest first, without classes without pixels.
    """
    counts = np.bincount(labels.ravel(), minlength=256)[: len(classes)]
    shares = {
        name: int(count) / labels.size
        for name, count in zip(classes.names, counts, strict=True)
        if count
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    classes: ClassTable,
    opacity: float = 0.5,
    legend: bool = True,
    shown: Collection[str] | None = None,
) -> Image.Image:
    """Draws the colors of the labels over an image.

        >>> import numpy as np
        >>> from keras_crosscbam.datasets import CAMVID_CLASSES
        >>> from keras_crosscbam.visualize import overlay
        >>> image, labels = np.zeros((90, 120, 3), np.uint8), np.zeros((90, 120), np.uint8)
        >>> overlay(image, labels, CAMVID_CLASSES, legend=False).size
        (120, 90)

    Args:
        image: uint8 `(height, width, channels)`; see `as_rgb`.
        labels: uint8 `(height, width)`.
        classes: a `ClassTable`.
        opacity: weight of the colors, 0..1.
        legend: whether to add a column on the right with the names and shares of the classes in the
            picture.
        shown: names of the classes to draw; None for all. Pixels of other classes, or of no class
            (255), are not changed.

    Returns:
        A `PIL.Image.Image` in RGB, as high as the image, or higher if the legend needs it.
    """
    height, width = labels.shape
    column = Image.new("RGB", (0, height))
    if legend:
        shares = class_shares(labels, classes)
        if shown is not None:
            shares = {name: share for name, share in shares.items() if name in shown}
        column = legend_column(shares, classes, height)
    canvas = Image.new("RGB", (width + column.width, column.height))
    canvas.paste(column, (width, 0))
    for top, strip in _strips(image, labels, classes, opacity, shown):
        canvas.paste(strip, (0, top))
    return canvas


def painted(
    image: np.ndarray,
    labels: np.ndarray,
    classes: ClassTable,
    opacity: float = 0.5,
    shown: Collection[str] | None = None,
) -> np.ndarray:
    """Returns `overlay` without a legend as an array, uint8 RGB `(height, width, 3)`."""
    result = np.empty((*labels.shape, 3), np.uint8)
    for top, strip in _strips(image, labels, classes, opacity, shown):
        result[top : top + strip.height] = strip
    return result


def _strips(image, labels, classes, opacity, shown):
    """Yields the first row and the picture of strips of the overlay, which fit into the cache."""
    palette, weights = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        if shown is None or name in shown:
            palette[index], weights[index] = color, round(255 * opacity)
    for top in range(0, len(image), 64):
        rows = slice(top, top + 64)
        colors = Image.fromarray(labels[rows])
        colors.putpalette(palette.tobytes())
        mask = Image.fromarray(weights[labels[rows]])
        strip = Image.composite(colors.convert("RGB"), Image.fromarray(as_rgb(image[rows])), mask)
        yield top, strip


def comparison(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: ClassTable
) -> Image.Image:
    """Draws the image, the true labels, the predicted labels and a legend in a row.

    Args:
        image: uint8 `(height, width, channels)`; see `as_rgb`.
        truth: uint8 `(height, width)`; ignored pixels are black in the picture.
        prediction: uint8 `(height, width)`.
        classes: a `ClassTable`.

    Returns:
        A `PIL.Image.Image` in RGB; the legend's shares are those of the prediction.
    """
    pictures = [as_rgb(image), colorize(truth, classes), colorize(prediction, classes)]
    legend = legend_column(class_shares(prediction, classes), classes, image.shape[0])
    return row([*map(Image.fromarray, pictures), legend])


def row(pictures: Sequence[Image.Image]) -> Image.Image:
    """Joins pictures from left to right, aligned at the top."""
    size = sum(p.width for p in pictures), max(p.height for p in pictures)
    canvas, left = Image.new("RGB", size), 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width
    return canvas


def legend_column(shares: Mapping[str, float], classes: ClassTable, height: int) -> Image.Image:
    """Draws a dark column with a colored square, the name and the share of each class.

    Args:
        shares: dict from name to share, in the order of the lines; None for no number.
        classes: a `ClassTable`.
        height: minimum height in pixels, usually that of the picture next to it.

    Returns:
        A `PIL.Image.Image` in RGB.
    """
    size = int(np.clip(height / 28, 11, 40))
    font, row, margin = ImageFont.load_default(size), int(size * 1.7), size // 2
    colors = dict(zip(classes.names, classes.colors, strict=True))
    lines = [
        (colors[name], name, "" if share is None else f"{100 * share:.1f} %")
        for name, share in shares.items()
    ]
    name_width = max((int(font.getlength(name)) for _, name, _ in lines), default=0)
    share_width = int(font.getlength("100.0 %")) if any(line[2] for line in lines) else 0
    width = 5 * margin + size + name_width + share_width
    column = Image.new("RGB", (width, max(height, row * len(lines) + 2 * margin)), (24, 24, 24))
    draw = ImageDraw.Draw(column)
    for i, (color, name, share) in enumerate(lines):
        top = margin + i * row
        draw.rectangle((margin, top, margin + size, top + size), fill=color, outline=(90, 90, 90))
        draw.text((2 * margin + size, top), name, fill=(235, 235, 235), font=font)
        draw.text((width - margin, top), share, fill=(170, 170, 170), font=font, anchor="ra")
    return column
