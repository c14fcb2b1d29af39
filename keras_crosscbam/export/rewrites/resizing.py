"""Rewrites upsampling as matrix products, and moves operations before upsampling."""

import numpy as np
import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import (
    CHANNELS,
    Rule,
    attribute,
    is_sized,
    reduces_channels,
)


class ResizeAsProducts(Rule):
    """Rewrites the upsampling of scores to the image size as products with constant matrices.

    Bilinear interpolation is linear along each axis: `rows @ (scores @ columns)`. Matrix products
    are faster than interpolation in these runtimes. Rows of the image are computed in bands,
    because each needs only two rows of the scores and the complete matrix would be mostly zeros.
    """

    band = 8  # approximate number of rows of the scores

    def pattern(self, op, scores, roi, scales):
        return op.Resize(scores, roi, scales, _outputs=["resized"])

    def fits(self, scores, resized, **_):
        return (
            is_sized(scores)
            and is_sized(resized)
            and resized.shape[2] >= 4 * scores.shape[2]
            and attribute(resized, "mode", "nearest") == "linear"
            and attribute(resized, "coordinate_transformation_mode") == "half_pixel"
        )

    def rewrite(self, op, scores, resized, **_):
        (height, width), (rows, columns) = scores.shape[2:], resized.shape[2:]
        sources, bands = banded(interpolation(height, rows), height // self.band)

        def constant(array, name):
            tensor = ir.tensor(np.ascontiguousarray(array))
            return op.initializer(tensor, name=f"{resized.name}_{name}")

        wide = op.MatMul(scores, constant(interpolation(width, columns).T, "columns"))
        wide = op.Gather(wide, constant(sources, "sources"), axis=2)
        made = op.MatMul(constant(bands, "bands"), wide)
        return op.Reshape(made, constant(np.array([0, 0, rows, columns]), "size"))


def banded(matrix, most):
    """Divides a banded matrix into equal bands of rows, with the nonzero columns of each band.

    Returns:
        The column indices `(bands, columns)`, and the values `(bands, rows, columns)`.
    """
    count = max(bands for bands in range(1, max(most, 1) + 1) if len(matrix) % bands == 0)
    bands = matrix.reshape(count, -1, matrix.shape[1])
    used = [np.flatnonzero(band.any(axis=0)) for band in bands]
    width = max(columns[-1] - columns[0] + 1 for columns in used)
    first = [min(columns[0], matrix.shape[1] - width) for columns in used]
    indices = np.array(first)[:, None] + np.arange(width)
    return indices, np.take_along_axis(bands, indices[:, None], axis=2)


def interpolation(size, target):
    """Returns the bilinear interpolation matrix `(target, size)`, half-pixel centers, clamped."""
    centers = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    below = np.minimum(np.floor(centers).astype(int), size - 1)
    above = np.minimum(below + 1, size - 1)
    matrix = np.zeros((target, size), np.float32)
    np.add.at(matrix, (np.arange(target), below), 1 - (centers - below))
    np.add.at(matrix, (np.arange(target), above), centers - below)
    return matrix


class GateBeforeResize(Rule):
    """Rewrites `resize(x) * gate` as `resize(x * gate)`, for one gate per channel."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales, gate):
        return op.Mul(op.Resize(x, roi, scales, _outputs=["resized"]), gate)

    def fits(self, gate, **_):
        return gate.shape is not None and tuple(gate.shape[2:]) == (1, 1)

    def rewrite(self, op, x, roi, scales, gate, resized):
        return op.Resize(op.Mul(x, gate), roi, scales, **resized.producer().attributes)


class MeanBeforeResize(Rule):
    """Computes the global mean before a resize by 2, which does not change the mean."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales):
        return op.GlobalAveragePool(op.Resize(x, roi, scales, _outputs=["resized"]))

    def fits(self, x, resized, **_):
        if not (is_sized(x) and is_sized(resized)):
            return False
        return tuple(resized.shape[2:]) == (2 * x.shape[2], 2 * x.shape[3])

    def rewrite(self, op, x, **_):
        return op.GlobalAveragePool(x)


class ChannelMeanBeforeResize(Rule):
    """Computes the mean over channels before a resize instead of after it."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales):
        return op.ReduceMean(op.Resize(x, roi, scales, _outputs=["resized"]), _outputs=["mean"])

    def fits(self, x, mean, **_):
        return reduces_channels(x, mean)

    def rewrite(self, op, x, roi, scales, resized, **_):
        mean = op.ReduceMean(x, axes=[CHANNELS], keepdims=1)
        return op.Resize(mean, roi, scales, **resized.producer().attributes)
