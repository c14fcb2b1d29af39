"""Draws annotations as masks.

There are two rules, as in the annotation tools. `fill` sets the pixels whose centers are inside a
polygon. It is used for coordinates relative to the size of the image or measured from its corner.
`fill_outlined` also sets the pixels on the outline, as Pillow does. It is used for LabelMe,
Cityscapes and Supervisely, whose coordinates are pixel indices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from keras_crosscbam.datasets.conversion.annotations import UNLABELED, Frame
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.masks import read_mask
from keras_crosscbam.images import open_image, with_orientation

# The transposition that makes an image upright, for EXIF orientations that swap its sides.
_TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# For larger coordinates pycocotools and Pillow would need too much memory.
_FARTHEST = 1_000_000


def check_ring(points, where):
    """Returns the corners of a polygon as float64 `(corners, 2)`, x first.

    Raises:
        ValueError: for an invalid polygon, with `where` in the message.
    """
    try:
        ring = np.array(points, np.float64)
    except (TypeError, ValueError):
        ring = np.empty(0)
    if ring.ndim == 1 and ring.size == 0 and isinstance(points, list) and not points:
        ring = ring.reshape(0, 2)
    if ring.ndim != 2 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise ValueError(f"{where}: expected corners as pairs of numbers")
    if np.abs(ring).max(initial=0) > _FARTHEST:
        raise ValueError(f"{where}: a corner is more than {_FARTHEST} pixels away from the image")
    if len(ring) < 3:
        raise ValueError(f"{where}: a polygon needs at least 3 corners. Received: {len(ring)}")
    return ring


def fill(rings, height, width):
    """Returns the pixels whose centers are inside an odd number of rings, bool `(height, width)`.

        >>> from keras_crosscbam.datasets.conversion.drawing import fill
        >>> fill([[(0, 0), (2, 0), (2, 1), (0, 1)]], height=2, width=3).astype(int).tolist()
        [[1, 1, 0], [0, 0, 0]]

    A ring inside another one is a hole. The center of the pixel in column x and row y is
    (x + 0.5, y + 0.5). Polygons with a common edge have no common pixels and no gap between them.

    Args:
        rings: list of closed polygons, each an array `(corners, 2)`, x first.
        height, width: size of the image in pixels.
    """
    mask = np.zeros((height, width), bool)
    if rings:
        place, inside = _fill([np.asarray(ring, np.float64) for ring in rings], height, width)
        mask[place] = inside
    return mask


def _fill(rings, height, width):
    """Computes `fill` for the part of the image with the rings: its slices and the mask."""
    rows, columns = _part(rings, height, width)
    # Each entry switches between outside and inside for its pixel and all pixels on the right.
    toggles = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), np.int64)
    for start in rings:
        end = np.roll(start, -1, axis=0)
        # From the upper to the lower end, so that the result does not depend on the direction.
        swap = (start[:, 1] > end[:, 1])[:, None]
        (x0, y0), (x1, y1) = np.where(swap, end, start).T, np.where(swap, start, end).T
        limits = rows.start, rows.stop
        first, last = (np.ceil(y - 0.5).clip(*limits).astype(np.int64) for y in (y0, y1))
        counts = last - first
        edge = np.repeat(np.arange(len(start)), counts)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
        column = np.ceil(crossing - 0.5).clip(columns.start, columns.stop).astype(np.int64)
        np.add.at(toggles, (row - rows.start, column - columns.start), 1)
    return (rows, columns), np.cumsum(toggles[:, :-1], axis=1) % 2 == 1


def _part(rings, height, width):
    """Returns slices of the rows and the columns of the image that rings may touch."""
    corners = np.concatenate(rings)
    low = np.floor(corners.min(axis=0)) - 1
    high = np.ceil(corners.max(axis=0)) + 2
    (left, right), (top, bottom) = (
        np.clip(ends, 0, size).astype(int)
        for ends, size in zip(np.transpose([low, high]), (width, height), strict=True)
    )
    return slice(top, bottom), slice(left, right)


def fill_outlined(ring, height, width, holes=()):
    """Returns the pixels inside a ring and on its outline, bool `(height, width)`.

    The result is that of Pillow. The outline of a hole belongs to the region around it.
    """
    mask = np.zeros((height, width), bool)
    rings = [np.asarray(points, np.float64) for points in (ring, *holes)]
    place, inside = _fill_outlined(rings, height, width)
    mask[place] = inside
    return mask


def _fill_outlined(rings, height, width):
    """Computes `fill_outlined` for the part of the image with the first ring.

    The other rings are holes.
    """
    rows, columns = place = _part(rings[:1], height, width)
    size = columns.stop - columns.start, rows.stop - rows.start
    if 0 in size:
        return place, np.zeros(size[::-1], bool)
    mask = Image.new("1", size)
    draw = ImageDraw.Draw(mask)
    for number, ring in enumerate(rings):
        moved = ring - (columns.start, rows.start)
        draw.polygon([tuple(point) for point in moved], fill=int(number == 0), outline=1)
    return place, np.array(mask)


@dataclass(frozen=True)
class Filled:
    """Rings that are drawn by `fill`."""

    label: int
    rings: tuple[np.ndarray, ...]

    def paint(self, canvas):
        place, inside = _fill(self.rings, *canvas.shape)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Relative:
    """A ring in fractions of width and height that is drawn by `fill`."""

    label: int
    ring: np.ndarray

    def paint(self, canvas):
        height, width = canvas.shape
        place, inside = _fill([self.ring * (width, height)], height, width)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Outlined:
    """A ring with holes that is drawn by `fill_outlined`."""

    label: int
    ring: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    def paint(self, canvas):
        place, inside = _fill_outlined([self.ring, *self.holes], *canvas.shape)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Ellipse:
    """The pixels with centers in an ellipse that is rotated clockwise by an angle in degrees."""

    label: int
    center: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0

    def paint(self, canvas):
        y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
        x, y = x + 0.5 - self.center[0], y + 0.5 - self.center[1]
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        along, across = cos * x + sin * y, cos * y - sin * x
        with np.errstate(over="ignore"):  # for radii near 0 and distant centers
            inside = np.hypot(along / self.radii[0], across / self.radii[1]) <= 1
        canvas[inside] = self.label


@dataclass(frozen=True)
class Pasted:
    """A bool bitmap `(height, width)` at (left, top), clipped to the image."""

    label: int
    bitmap: np.ndarray
    left: int = 0
    top: int = 0

    def paint(self, canvas):
        above, before = max(-self.top, 0), max(-self.left, 0)
        window = canvas[self.top + above :, self.left + before :]
        bitmap = self.bitmap[above:, before:]
        height, width = (min(sides) for sides in zip(window.shape, bitmap.shape, strict=True))
        window[:height, :width][bitmap[:height, :width]] = self.label


@dataclass(frozen=True)
class MaskFile:
    """A mask file of ids or colors with the label of each pixel."""

    path: Path
    encoding: IndexEncoding | ColorEncoding

    def read(self):
        """Returns uint8 labels `(height, width)`. Raises a `ValueError` that names the file."""
        pixels = read_mask(self.path, self.encoding).pixels
        try:
            return self.encoding.decode(pixels)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


def box(left, top, right, bottom, angle=0.0):
    """Returns the corners of a box, rotated clockwise around its center by `angle` degrees."""
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    center = corners.mean(axis=0)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return center + (corners - center) @ np.array([(cos, sin), (-sin, cos)])


def draw(frame: Frame):
    """Draws all annotations of a frame.

    Returns:
        labels: uint8 `(height, width)` for the upright image, `UNLABELED` for pixels without
            annotation.
        orientation: EXIF orientation of the image, 1 if its file is upright.

    Raises:
        ValueError: if the image is unreadable, or if its size differs from that of the annotations.
    """
    upright, orientation = _size(frame.image)
    labels = frame.mask.read() if frame.mask is not None else None
    size = (frame.size or upright) if labels is None else labels.shape
    # The annotation tool may have ignored the EXIF orientation.
    as_stored = size != upright and size == upright[::-1] and orientation in _TURNS
    if size != upright and not as_stored:
        raise ValueError(
            f"{frame.annotation}: the annotations are for {size[1]}x{size[0]} pixels, the image "
            f"{frame.image} has {upright[1]}x{upright[0]}. The sizes must be equal"
        )
    if labels is None:
        labels = np.full(size, UNLABELED, np.uint8)
        for shape in frame.shapes or ():
            shape.paint(labels)
    if as_stored:
        labels = np.asarray(Image.fromarray(labels).transpose(_TURNS[orientation]))
    return labels, orientation


def _size(path):
    """Returns `(height, width)` of the upright image, and its EXIF orientation."""

    def upright(image):
        turned = ImageOps.exif_transpose(image)
        return turned.height, turned.width

    return open_image(path, lambda image: with_orientation(image, upright))
