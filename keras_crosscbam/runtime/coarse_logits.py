"""Computes labels from scores at the size of the image, or from coarser scores.

Networks compute their scores at 1/8 of the image size and upsample them at the end, to their
largest tensor. Most of that work is unnecessary: bilinear interpolation is a convex combination, so
if the four scores around a pixel have the same best class, it is also the best class of the pixel.
Only cells at a border between classes need interpolation, and only for classes that no other class
exceeds at all four corners.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


def argmax_of_planes(planes):
    """Returns the index of the largest of up to 256 planes at each position.

    Ties are resolved to the first plane. The result equals `numpy.argmax`, but is computed faster.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.coarse_logits import argmax_of_planes
        >>> argmax_of_planes(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 2.0]]))
        array([0, 1, 0], dtype=uint8)

    Args:
        planes: an array, or an iterable of float arrays of the same shape.

    Returns:
        A uint8 array of the shape of a plane.
    """
    planes = iter(planes)
    best = np.array(next(planes))
    labels = np.zeros(best.shape, np.uint8)
    for index, plane in enumerate(planes, start=1):
        # Indices increase, so the maximum of two is the later one.
        np.maximum(labels, (plane > best) * np.uint8(index), out=labels)
        np.maximum(best, plane, out=best)
    return labels


def labels_of_scores(scores):
    """Returns the argmax of `(batch, height, width, classes)`, uint8 `(batch, height, width)`."""
    planes = np.moveaxis(scores, -1, 0)
    if planes.strides[-1] == planes.itemsize:
        return argmax_of_planes(planes)
    # Channels-last scores are transposed a few rows at a time, which fit into the cache.
    strips = range(0, planes.shape[2], 16)
    parts = [argmax_of_planes(np.ascontiguousarray(planes[:, :, top : top + 16])) for top in strips]
    return np.concatenate(parts, axis=1)


def upsample(coarse, size):
    """Resizes scores bilinearly at half-pixel centers, clamped at the borders.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.coarse_logits import upsample
        >>> upsample(np.array([[[[0.0], [8.0]]]]), (1, 4))[0, 0, :, 0].tolist()
        [0.0, 2.0, 6.0, 8.0]

    Args:
        coarse: scores `(batch, h, w, classes)`.
        size: `(height, width)`.

    Returns:
        float32 scores `(batch, height, width, classes)`.
    """
    planes = np.asarray(coarse, np.float32).transpose(0, 3, 1, 2)
    rows, columns = (_matrix(*pair) for pair in zip(planes.shape[2:], size, strict=True))
    return (rows @ (planes @ columns.T)).transpose(0, 2, 3, 1)


def labels_of_coarse(coarse, size):
    """Returns the argmax of `upsample(coarse, size)`, computing only the necessary part.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.coarse_logits import labels_of_coarse
        >>> scores = np.array([[[[1.0, 0.0], [0.0, 2.0]]]])
        >>> labels_of_coarse(scores, (1, 8))
        array([[[0, 0, 0, 1, 1, 1, 1, 1]]], dtype=uint8)

    Args:
        coarse: scores `(batch, h, w, classes)` for up to 256 classes.
        size: `(height, width)`.

    Returns:
        uint8 labels `(batch, height, width)`. Ties are resolved to the first class. Other
        implementations may return the other class if two scores are equal except for rounding.
    """
    planes = np.asarray(coarse, np.float32).transpose(0, 3, 1, 2)
    rows, columns = (_axis(*pair) for pair in zip(planes.shape[2:], size, strict=True))
    return np.stack([_labels(image, rows, columns) for image in planes])


class _Axis(NamedTuple):
    """Positions of the fine pixels of one axis between the coarse centers.

    Cell `i` is the interval from center `i - 1` to center `i`; the outermost cells are outside the
    first and the last center.

    Attributes:
        weights: weight of center `i` in the `k`-th pixel of cell `i`, float32 of shape
            `(coarse + 1, pixels)`.
        place: index of each fine pixel when all cells are concatenated; a slice if the pixels are
            contiguous.
    """

    weights: np.ndarray
    place: slice | np.ndarray


@lru_cache(maxsize=32)
def _axis(coarse, fine):
    # In units of 1 / (2 * fine) of a coarse pixel all numbers are integers, without rounding.
    offset = (2 * np.arange(fine) + 1) * coarse - fine
    cell, weight = offset // (2 * fine) + 1, offset % (2 * fine) / (2 * fine)
    rank = np.arange(fine) - np.searchsorted(cell, cell)
    weights = np.zeros((coarse + 1, rank.max() + 1), np.float32)
    weights[cell, rank] = weight
    place = cell * weights.shape[1] + rank
    if (np.diff(place) == 1).all():
        place = slice(place[0], place[-1] + 1)
    return _Axis(weights, place)


@lru_cache(maxsize=32)
def _matrix(coarse, fine):
    """Returns the matrix of bilinear resizing along one axis, float32 `(fine, coarse)`."""
    weights, place = _axis(coarse, fine)
    padded = np.zeros((*weights.shape, coarse + 2), np.float32)
    cells = np.arange(coarse + 1)
    padded[cells, :, cells] = 1 - weights
    padded[cells, :, cells + 1] = weights
    padded = padded.reshape(-1, coarse + 2)[place]
    # The centers outside the borders repeat the outermost centers.
    padded[:, 1] += padded[:, 0]
    padded[:, -2] += padded[:, -1]
    return np.ascontiguousarray(padded[:, 1:-1])


def _labels(planes, rows, columns):
    """Returns the labels of one image, from its scores `(classes, h, w)`."""
    classes, height, width = planes.shape
    # The best class at the four corners of each cell; the outermost centers are repeated.
    best = np.pad(argmax_of_planes(planes), 1, mode="edge")
    corners = best[:-1, :-1], best[:-1, 1:], best[1:, :-1], best[1:, 1:]
    first, *others = corners
    blocks = first.repeat(rows.weights.shape[1], axis=0).repeat(columns.weights.shape[1], axis=1)
    mixed = np.nonzero(np.any([first != other for other in others], axis=0))
    if len(mixed[0]):
        above, below = (np.clip(mixed[0] + down, 0, height - 1) * width for down in (-1, 0))
        left, right = (np.clip(mixed[1] + aside, 0, width - 1) for aside in (-1, 0))
        places = np.stack([above + left, above + right, below + left, below + right])
        cells = blocks.reshape(height + 1, rows.weights.shape[1], width + 1, -1)
        cells[mixed[0], :, mixed[1]] = _mixed(
            planes.reshape(classes, -1)[:, places],
            np.stack([corner[mixed] for corner in corners]),
            rows.weights[mixed[0]].T,
            columns.weights[mixed[1]].T,
        )
    return blocks[rows.place][:, columns.place]


def _mixed(scores, best, rows, columns):
    """Returns the labels in cells whose corners have different best classes.

    The cells are the last axis of all arrays, because it is the longest axis and NumPy is fastest
    along the last one.

    Args:
        scores: scores at the corners, shape `(classes, 4, cells)`.
        best: best classes at the corners, shape `(4, cells)`.
        rows, columns: weights of the lower and of the right corners, shape `(pixels, cells)`.

    Returns:
        uint8 labels `(cells, rows, columns)`.
    """
    beaten = np.zeros((len(scores), best.shape[1]), bool)
    for classes in best:
        by = np.take_along_axis(scores, classes[None, None].astype(np.intp), axis=0)
        beaten |= (by > scores).all(axis=1)
    # Cells are sorted by descending number of candidates, so the cells with an n-th candidate are
    # a slice.
    counts = len(beaten) - beaten.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    counts, rows, columns = counts[order], rows[:, order], columns[:, order]
    _, candidates = np.nonzero(~beaten.T[order])
    first = np.cumsum(counts) - counts
    highest = np.full((len(rows), len(columns), len(order)), -np.inf, np.float32)
    labels = np.zeros(highest.shape, np.uint8)
    for rank in range(counts[0]):
        some = slice(0, np.count_nonzero(counts > rank))
        candidate = candidates[first[some] + rank]
        values = _interpolate(scores[candidate, :, order[some]].T, rows[:, some], columns[:, some])
        # As in `argmax_of_planes`: candidates increase, so the maximum of two is the later one.
        later = (values > highest[..., some]) * candidate.astype(np.uint8)
        np.maximum(labels[..., some], later, out=labels[..., some])
        np.maximum(highest[..., some], values, out=highest[..., some])
    result = np.empty((len(order), len(rows), len(columns)), np.uint8)
    result[order] = labels.transpose(2, 0, 1)
    return result


def _interpolate(corners, rows, columns):
    """Interpolates corners `(4, cells)` to values `(rows, columns, cells)`, along rows first."""
    above = corners[0] * (1 - columns) + corners[1] * columns
    below = corners[2] * (1 - columns) + corners[3] * columns
    return above * (1 - rows)[:, None] + below * rows[:, None]
