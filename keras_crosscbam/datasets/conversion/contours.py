"""The outlines of a mask along the borders of its pixels, so that filling them gives it back."""

import numpy as np


def regions(mask):
    """The connected regions of a mask as polygons with holes.

        >>> import numpy as np
        >>> from keras_crosscbam.datasets.conversion.contours import regions
        >>> regions(np.array([[True, True, False]]))
        [([(0, 0), (2, 0), (2, 1), (0, 1)], [])]

    Pixels that touch at a corner alone belong to different regions.

    Args:
        mask: bool `(height, width)`.

    Returns:
        A list of an outer ring and a list of its holes each, as lists of corners `(x, y)`; outer
        rings go clockwise on the screen, holes the other way.
    """
    outer, holes = [], []
    for ring in _rings(np.asarray(mask, bool)):
        (outer if _area(ring) > 0 else holes).append(ring)
    of_outer = {i: [] for i in range(len(outer))}
    boxes = [(*np.min(ring, axis=0), *np.max(ring, axis=0)) for ring in outer]
    for hole in holes:
        x, y = _beside(hole)
        # Of the rings around it, the smallest is that of the region that it is a hole of.
        around = [
            i
            for i, (left, top, right, bottom) in enumerate(boxes)
            if left < x < right and top < y < bottom and _holds(outer[i], x, y)
        ]
        of_outer[min(around, key=lambda i: _area(outer[i]))].append(hole)
    return [(ring, of_outer[i]) for i, ring in enumerate(outer)]


def joined(ring, holes):
    """A polygon with holes as a single ring, for formats that have no holes.

    The ring goes to each hole and back along the same line, which covers no pixel.
    """
    ring = list(ring)
    for hole in holes:
        near = np.array(ring)[:, None] - np.array(hole)[None]
        i, j = np.unravel_index((near**2).sum(axis=-1).argmin(), near.shape[:2])
        ring = [*ring[: i + 1], *hole[j:], *hole[: j + 1], *ring[i:]]
    return ring


def _rings(mask):
    """All closed outlines, with the mask on their right."""
    following = {}
    padded = np.pad(mask, 1)
    # Each step between a pixel and one that is not in the mask, by its start.
    for neighbor, start, step in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(mask & ~neighbor).tolist():
            following.setdefault((x + start[0], y + start[1]), []).append(step)
    while following:
        first = next(iter(following))
        corner, before, ring = first, None, []
        while True:
            steps = following[corner]
            # Where two regions touch at a corner, a turn to the right stays with one.
            step = next((s for s in steps if before and s == (-before[1], before[0])), steps[0])
            steps.remove(step)
            if not steps:
                del following[corner]
            if step != before:
                ring.append(corner)
            corner, before = (corner[0] + step[0], corner[1] + step[1]), step
            if corner == first:
                break
        # The first corner may lie within a straight line.
        if ring[0][0] == ring[1][0] == ring[-1][0] or ring[0][1] == ring[1][1] == ring[-1][1]:
            ring = ring[1:]
        yield ring


def _area(ring):
    """Twice the signed area; above 0 for a ring that goes clockwise on the screen."""
    x, y = np.array(ring).T
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _beside(ring):
    """The center of a pixel of the mask on the right of the first step."""
    (x0, y0), (x1, y1) = ring[:2]
    dx, dy = np.sign(x1 - x0), np.sign(y1 - y0)
    return x0 + (dx - dy) / 2, y0 + (dy + dx) / 2


def _holds(ring, x, y):
    """Whether a ring goes around a point that is on none of its lines."""
    ring = np.array(ring)
    (x0, y0), (_, y1) = ring.T, np.roll(ring, -1, axis=0).T
    # Only its vertical lines cross the horizontal one through the point.
    return np.count_nonzero(((y0 < y) != (y1 < y)) & (x0 < x)) % 2 == 1
