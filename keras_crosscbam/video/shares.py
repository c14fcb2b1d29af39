"""Class shares of the frames of a video, as a table and a plot."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_crosscbam.images import save_image
from keras_crosscbam.visualize import legend_column, row

UNLABELED = "unlabeled"


class ShareTable:
    """Writes the shares of the classes as CSV, frame by frame, and as a plot at the end.

        >>> from keras_crosscbam.video.shares import ShareTable
        >>> table = ShareTable("shares.csv", classes)  # doctest: +SKIP
        >>> table.add(0, 0.0, labels)  # doctest: +SKIP
        >>> table.close()  # doctest: +SKIP

    The columns are `frame` (its number), `seconds`, the share of the pixels of each class, 0..1,
    and `unlabeled`, the share of the label 255. Each row is written when its frame is processed.

    Args:
        path: `pathlib.Path` of the CSV file; the plot is written next to it as `.png`.
        classes: the `ClassTable`.
    """

    def __init__(self, path, classes):
        self._path, self._classes = path, classes
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.writer(self._file)
        self._writer.writerow(["frame", "seconds", *classes.names, UNLABELED])

    def add(self, index, seconds, labels):
        """Adds the row of a frame."""
        counts = np.bincount(labels.ravel(), minlength=256)
        known = counts[: len(self._classes)]
        shares = [*known, labels.size - known.sum()] / np.float64(labels.size)
        self._writer.writerow([index, f"{seconds:.3f}", *(f"{share:.5f}" for share in shares)])
        self._file.flush()

    def close(self):
        """Closes the table, and draws it if it has rows."""
        self._file.close()
        with open(self._path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        if rows:
            values = np.array(rows, np.float64)
            picture = share_plot(values[:, 1], values[:, 2:-1], self._classes)
            save_image(picture, self._path.with_suffix(".png"))


def share_plot(seconds, shares, classes, size=(480, 900)):
    """Draws shares over time as areas, one above the other.

        >>> import numpy as np
        >>> from keras_crosscbam.classes import ClassTable
        >>> from keras_crosscbam.video.shares import share_plot
        >>> table = ClassTable(("road", "sky"), ((128, 64, 128), (70, 130, 180)))
        >>> share_plot(np.array([0.0, 2.0]), np.array([[0.2, 0.8], [0.9, 0.1]]), table).height
        528

    Args:
        seconds: float `(frames,)`, rising.
        shares: float `(frames, classes)`, 0..1; what they lack of 1 stays dark.
        classes: the `ClassTable`.
        size: `(height, width)` of the area, in pixels.

    Returns:
        A `PIL.Image.Image` in RGB: the plot with its axes, and a legend of the classes that occur
        with their mean shares.
    """
    height, width = size
    times = np.linspace(seconds[0], seconds[-1], width)
    columns = [np.interp(times, seconds, share) for share in shares.T]
    tops = np.cumsum(columns, axis=0)
    heights = (np.arange(height)[::-1] + 0.5) / height
    index = (heights[:, None, None] >= tops.T).sum(axis=-1)
    colors = np.array([*classes.colors, (24, 24, 24)], np.uint8)
    left, top, bottom = 64, 16, 32
    canvas = Image.new("RGB", (left + width + 16, top + height + bottom), (24, 24, 24))
    canvas.paste(Image.fromarray(colors[index]), (left, top))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for percent in (0, 25, 50, 75, 100):
        y = top + height * (100 - percent) / 100
        draw.line((left - 6, y, left - 1, y), fill=(170, 170, 170))
        place = (left - 8, y)
        draw.text(place, f"{percent} %", fill=(170, 170, 170), font=font, anchor="rm")
    for time in _ticks(seconds[0], seconds[-1]):
        share = (time - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9)
        x = left + share * width
        draw.line((x, top + height, x, top + height + 5), fill=(170, 170, 170))
        place = (x, top + height + 8)
        draw.text(place, f"{time:g} s", fill=(170, 170, 170), font=font, anchor="ma")
    means = dict(zip(classes.names, shares.mean(axis=0), strict=True))
    # In the order of the areas, from top to bottom.
    occurring = {name: means[name] for name in reversed(classes.names) if means[name] > 0}
    return row([canvas, legend_column(occurring, classes, canvas.height)])


def _ticks(first, last):
    """Up to nine round numbers from first to last."""
    span = last - first
    if span <= 0:
        return [first]
    step = 10.0 ** np.floor(np.log10(span / 4))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 8)
    return [round(n * step, 9) for n in range(int(np.ceil(first / step)), int(last / step) + 1)]
