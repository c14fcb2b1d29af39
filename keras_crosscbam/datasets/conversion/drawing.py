"""Drawing annotations: which pixels a polygon, a box or a run-length code covers.

Two rules are in use, as in the tools themselves. `fill` takes the pixels whose centers are inside:
the rule for coordinates that are shares of the image or measured from its corner. `fill_outlined`
takes those on the outline too, as Pillow does: the rule of LabelMe, Cityscapes and Supervisely,
whose coordinates name pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from keras_crosscbam.classes import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.conversion.annotations import UNLABELED, Frame
from keras_crosscbam.datasets.masks import read_mask
from keras_crosscbam.images import open_image, with_orientation

# How the pixels of a file are turned to stand upright, for those orientations that swap its sides.
_TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Beyond this, pycocotools and Pillow would need memory without end.
_FARTHEST = 1_000_000


def check_ring(points, where):
    """The corners of a polygon as float64 `(corners, 2)`, x first; `ValueError` says where not."""
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
    """The pixels whose centers are inside an odd number of rings, bool `(height, width)`.

        >>> from keras_crosscbam.datasets.conversion.drawing import fill
        >>> fill([[(0, 0), (2, 0), (2, 1), (0, 1)]], height=2, width=3).astype(int).tolist()
        [[1, 1, 0], [0, 0, 0]]

    A ring inside another one is a hole. The pixel of column x and row y has its center at
    (x + 0.5, y + 0.5). Polygons that share an edge share no pixel and leave none out between them.

    Args:
        rings: list of closed polygons, each `(corners, 2)` numbers, x first.
        height, width: of the image, in pixels.
    """
    mask = np.zeros((height, width), bool)
    if rings:
        place, inside = _fill([np.asarray(ring, np.float64) for ring in rings], height, width)
        mask[place] = inside
    return mask


def _fill(rings, height, width):
    """`fill` in the part of the image that the rings are in: its rows and columns, and the mask."""
    rows, columns = _part(rings, height, width)
    # At its column, each entry turns inside into outside for all pixels to the right of it.
    toggles = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), np.int64)
    for start in rings:
        end = np.roll(start, -1, axis=0)
        # From the upper to the lower end, so that an edge is the same in both directions.
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
    """The rows and columns of the image that rings may touch, two slices."""
    corners = np.concatenate(rings)
    low = np.floor(corners.min(axis=0)) - 1
    high = np.ceil(corners.max(axis=0)) + 2
    (left, right), (top, bottom) = (
        np.clip(ends, 0, size).astype(int)
        for ends, size in zip(np.transpose([low, high]), (width, height), strict=True)
    )
    return slice(top, bottom), slice(left, right)


def fill_outlined(ring, height, width, holes=()):
    """The pixels inside a ring and on its outline, as Pillow draws it, bool `(height, width)`.

    The outline of a hole belongs to what is around it.
    """
    mask = np.zeros((height, width), bool)
    rings = [np.asarray(points, np.float64) for points in (ring, *holes)]
    place, inside = _fill_outlined(rings, height, width)
    mask[place] = inside
    return mask


def _fill_outlined(rings, height, width):
    """`fill_outlined` in the part of the image that the first ring is in; the others are holes."""
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
    """Rings drawn by `fill`."""

    label: int
    rings: tuple[np.ndarray, ...]

    def paint(self, canvas):
        place, inside = _fill(self.rings, *canvas.shape)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Relative:
    """A ring in shares of the width and the height, drawn by `fill`."""

    label: int
    ring: np.ndarray

    def paint(self, canvas):
        height, width = canvas.shape
        place, inside = _fill([self.ring * (width, height)], height, width)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Outlined:
    """A ring with holes, drawn by `fill_outlined`."""

    label: int
    ring: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    def paint(self, canvas):
        place, inside = _fill_outlined([self.ring, *self.holes], *canvas.shape)
        canvas[place][inside] = self.label


@dataclass(frozen=True)
class Ellipse:
    """The pixels whose centers are within an ellipse, turned by an angle in degrees, clockwise."""

    label: int
    center: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0

    def paint(self, canvas):
        y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
        x, y = x + 0.5 - self.center[0], y + 0.5 - self.center[1]
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        along, across = cos * x + sin * y, cos * y - sin * x
        with np.errstate(over="ignore"):  # of radii near 0, and of centers far away
            inside = np.hypot(along / self.radii[0], across / self.radii[1]) <= 1
        canvas[inside] = self.label


@dataclass(frozen=True)
class Pasted:
    """A bool bitmap `(height, width)` that begins at (left, top), cut off at the border."""

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
    """A file of class ids or colors, which says the label of each pixel."""

    path: Path
    encoding: IndexEncoding | ColorEncoding

    def read(self):
        """Its labels, uint8 `(height, width)`; `ValueError` names the file."""
        pixels = read_mask(self.path, self.encoding).pixels
        try:
            return self.encoding.decode(pixels)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


def box(left, top, right, bottom, angle=0.0):
    """The corners of a box, turned by an angle in degrees around its center, clockwise."""
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    center = corners.mean(axis=0)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return center + (corners - center) @ np.array([(cos, sin), (-sin, cos)])


def draw(frame: Frame):
    """Draws all annotations of a frame.

    Returns:
        labels: uint8 `(height, width)` of the upright image; `UNLABELED` where nothing is drawn.
        orientation: the EXIF orientation of the image, 1 if its file is upright.

    Raises:
        ValueError: if the image is unreadable, or of another size than its annotations.
    """
    upright, orientation = _size(frame.image)
    labels = frame.mask.read() if frame.mask is not None else None
    size = (frame.size or upright) if labels is None else labels.shape
    # The tool may have seen the image as its file stores it.
    as_stored = size != upright and size == upright[::-1] and orientation in _TURNS
    if size != upright and not as_stored:
        raise ValueError(
            f"{frame.annotation}: the annotations are for {size[1]}x{size[0]} pixels, the image "
            f"{frame.image} has {upright[1]}x{upright[0]}; they must be equal"
        )
    if labels is None:
        labels = np.full(size, UNLABELED, np.uint8)
        for shape in frame.shapes or ():
            shape.paint(labels)
    if as_stored:
        labels = np.asarray(Image.fromarray(labels).transpose(_TURNS[orientation]))
    return labels, orientation


def _size(path):
    """`(height, width)` of the upright image, and its EXIF orientation."""

    def upright(image):
        turned = ImageOps.exif_transpose(image)
        return turned.height, turned.width

    return open_image(path, lambda image: with_orientation(image, upright))
