"""Rewrites 3x3 convolutions of small maps as matrix products with fewer multiplications.

Winograd's minimal filtering (Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", arXiv 1509.09308) computes m outputs of a 3-tap filter with m + 2 multiplications instead
of 3 m. Along each axis of a map it is computed with three matrices:

    correlate(x, w) == combine @ ((filters @ w) * (spread @ x))

`spread` and `combine` contain all tiles of an axis, so padding and dilation only change the
positions of their nonzero entries. These matrices are dense, unlike those of a hand-written kernel.
The rewrite is fast for small maps with many channels: the deep stages and SE-ASPP.
"""

import itertools

import numpy as np
import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import Rule, array_of, attribute, is_sized

_TAPS = 3
_POINTS = (0, 1, -1, 2, -2)  # small numbers keep the rounding errors small
_WORTHWHILE = 0.55  # share of the direct multiplications; above it, moving data costs the gain


def minimal_filtering(outputs):
    """Returns the matrices of one tile.

    A product of polynomials is interpolated from its values at several points, including infinity;
    correlation is the transpose of this operation.

    Args:
        outputs: m, the number of outputs, 2 to 4.

    Returns:
        `combine (m, m + 2)`, `filters (m + 2, 3)`, `spread (m + 2, m + 2)`, float64.
    """
    values = np.array(_POINTS[: outputs + _TAPS - 2], float)

    def at_points(terms):
        infinity = np.eye(terms)[-1:]
        return np.concatenate([values[:, None] ** np.arange(terms), infinity])

    spread = np.linalg.inv(at_points(outputs + _TAPS - 1)).T
    return at_points(outputs).T, at_points(_TAPS), spread


class _Axis:
    """Minimal filtering of one axis, with zero padding and the given dilation."""

    def __init__(self, size, dilation, outputs):
        combine, self.filters, spread = minimal_filtering(outputs)
        # Each of the `dilation` interleaved signals is divided into separate tiles.
        starts = [
            start + dilation * first
            for start in range(dilation)
            for first in range(0, len(range(start, size, dilation)), outputs)
        ]
        self.size, self.points, self.tiles = size, len(spread), len(starts)
        self.spread = np.zeros((self.points, self.tiles, size))
        self.combine = np.zeros((size, self.points, self.tiles))
        for tile, start in enumerate(starts):
            for tap, column in enumerate(spread.T):
                place = start + dilation * (tap - 1)
                if 0 <= place < size:
                    self.spread[:, tile, place] = column
            for output, row in enumerate(combine):
                place = start + dilation * output
                if place < size:
                    self.combine[place, :, tile] = row

    @property
    def length(self):
        return self.points * self.tiles


def _best_axis(size, dilation):
    axes = (_Axis(size, dilation, outputs) for outputs in (2, 3, 4))
    return min(axes, key=lambda axis: axis.length)


def _multiplications(rows, columns, channels, filters):
    """Returns the number of multiplications as a share of those of the direct convolution."""
    places = rows.length * columns.length
    moves = rows.length * rows.size * columns.size + places * columns.size
    direct = _TAPS**2 * rows.size * columns.size * channels * filters
    return (places * channels * filters + moves * (channels + filters)) / direct


class WinogradConv(Rule):
    """Rewrites a 3x3 convolution of stride 1 that keeps the size of a small map.

    The runtime computes the transformed kernels when it loads the graph. They are not stored in the
    file, because they are two to four times as large as the kernels.
    """

    def pattern(self, op, x, kernel):
        return op.Conv(x, kernel, _allow_other_inputs=True, _outputs=["conv"])

    def fits(self, x, kernel, conv):
        if array_of(kernel) is None or not is_sized(x) or attribute(conv, "group", 1) != 1:
            return False
        dilations = list(attribute(conv, "dilations", (1, 1)))
        same_size = (
            tuple(kernel.shape[2:]) == (_TAPS, _TAPS)
            and list(attribute(conv, "strides", (1, 1))) == [1, 1]
            and list(attribute(conv, "pads", ())) == dilations * 2
        )
        if not same_size:
            return False
        filters, channels = kernel.shape[:2]
        axes = map(_best_axis, x.shape[2:], dilations)
        return _multiplications(*axes, channels, filters) < _WORTHWHILE

    def rewrite(self, op, x, kernel, conv):
        filters, channels = kernel.shape[:2]
        dilations = attribute(conv, "dilations", (1, 1))
        rows, columns = map(_best_axis, x.shape[2:], dilations)
        number = itertools.count()

        def constant(value, dtype):
            tensor = ir.tensor(np.ascontiguousarray(value, dtype))
            return op.initializer(tensor, name=f"{conv.name}_winograd{next(number)}")

        def reshape(value, *shape):
            return op.Reshape(value, constant(shape, np.int64))

        def along(axis_matrix, value):
            """Multiplies a matrix with the second-to-last axis."""
            return op.MatMul(constant(axis_matrix, np.float32), value)

        height, width = rows.size, columns.size
        # (batch, height, width, channels) to (points, tiles, channels)
        y = reshape(op.Transpose(x, perm=[0, 2, 3, 1]), -1, height, width * channels)
        y = along(rows.spread.reshape(rows.length, height), y)
        y = reshape(y, -1, width, channels)
        y = along(columns.spread.reshape(columns.length, width), y)
        y = reshape(y, -1, rows.points, rows.tiles, columns.points, columns.tiles * channels)
        y = op.Transpose(y, perm=[1, 3, 0, 2, 4])
        y = reshape(y, rows.points * columns.points, -1, channels)

        kernels = op.Transpose(kernel, perm=[2, 3, 1, 0])
        kernels = reshape(kernels, _TAPS**2, channels * filters)
        kernels = along(np.kron(rows.filters, columns.filters), kernels)
        y = op.MatMul(y, reshape(kernels, -1, channels, filters))

        # and back, with `filters` in place of channels
        y = reshape(y, rows.points, columns.points, -1, rows.tiles, columns.tiles * filters)
        y = op.Transpose(y, perm=[2, 0, 3, 1, 4])
        y = reshape(y, -1, columns.length, filters)
        y = along(columns.combine.reshape(width, columns.length), y)
        y = reshape(y, -1, rows.length, width * filters)
        y = along(rows.combine.reshape(height, rows.length), y)
        y = reshape(y, -1, height, width, filters)
        bias = conv.producer().inputs[2:]
        return op.Transpose(op.Add(y, bias[0]) if bias else y, perm=[0, 3, 1, 2])
