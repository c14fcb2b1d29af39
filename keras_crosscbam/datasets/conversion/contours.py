"""Outlines of a mask along the edges of its pixels. Filling them results in the same mask."""

import numpy as np


def regions(mask):
    """Returns the connected regions of a mask as polygons with holes.

        >>> import numpy as np
        >>> from keras_crosscbam.datasets.conversion.contours import regions
        >>> regions(np.array([[True, True, False]]))
        [([(0, 0), (2, 0), (2, 1), (0, 1)], [])]

    Pixels that touch only at a corner belong to different regions.

    Args:
        mask: bool `(height, width)`.

    Returns:
        A list of pairs of an outer ring and a list of its holes. Rings are lists of corners
        `(x, y)`. Outer rings are clockwise on the screen, holes are counterclockwise.
    """
    outer, holes = [], []
    for ring in _rings(np.asarray(mask, bool)):
        (outer if _area(ring) > 0 else holes).append(ring)
    of_outer = {i: [] for i in range(len(outer))}
    boxes = [(*np.min(ring, axis=0), *np.max(ring, axis=0)) for ring in outer]
    for hole in holes:
        x, y = _beside(hole)
        # The smallest ring around a hole is the outer ring of its region.
        around = [
            i
            for i, (left, top, right, bottom) in enumerate(boxes)
            if left < x < right and top < y < bottom and _holds(outer[i], x, y)
        ]
        of_outer[min(around, key=lambda i: _area(outer[i]))].append(hole)
    return [(ring, of_outer[i]) for i, ring in enumerate(outer)]


def joined(ring, holes):
    """Returns a polygon with holes as a single ring, for formats without holes.

    The ring is connected with each hole by a line in both directions, which covers no pixel.
    """
    ring = list(ring)
    for hole in holes:
        near = np.array(ring)[:, None] - np.array(hole)[None]
        i, j = np.unravel_index((near**2).sum(axis=-1).argmin(), near.shape[:2])
        ring = [*ring[: i + 1], *hole[j:], *hole[: j + 1], *ring[i:]]
    return ring


def _rings(mask):
    """Yields all closed outlines of a mask. The mask is on their right side."""
    following = {}
    padded = np.pad(mask, 1)
    # The steps along edges between a pixel of the mask and one outside, by their start.
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
            # If two regions touch at a corner, a turn to the right follows the same region.
            step = next((s for s in steps if before and s == (-before[1], before[0])), steps[0])
            steps.remove(step)
            if not steps:
                del following[corner]
            if step != before:
                ring.append(corner)
            corner, before = (corner[0] + step[0], corner[1] + step[1]), step
            if corner == first:
                break
        # The first corner may be inside a straight line.
        if ring[0][0] == ring[1][0] == ring[-1][0] or ring[0][1] == ring[1][1] == ring[-1][1]:
            ring = ring[1:]
        yield ring


def _area(ring):
    """Returns twice the signed area, which is positive for a clockwise ring on the screen."""
    x, y = np.array(ring).T
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _beside(ring):
    """Returns the center of the pixel of the mask on the right of the first step."""
    (x0, y0), (x1, y1) = ring[:2]
    dx, dy = np.sign(x1 - x0), np.sign(y1 - y0)
    return x0 + (dx - dy) / 2, y0 + (dy + dx) / 2


def _holds(ring, x, y):
    """Returns whether a ring encloses a point, which must not be on one of its lines."""
    ring = np.array(ring)
    (x0, y0), (_, y1) = ring.T, np.roll(ring, -1, axis=0).T
    # Only vertical lines of the ring cross the horizontal line through the point.
    return np.count_nonzero(((y0 < y) != (y1 < y)) & (x0 < x)) % 2 == 1
