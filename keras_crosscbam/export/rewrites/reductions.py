"""Rewrites means and maxima over channels into operations that ONNX Runtime vectorizes."""

import numpy as np
import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import CHANNELS, Rule, reduces_channels


class MeanAsConv(Rule):
    """Rewrites the mean over channels as a 1x1 convolution, which is faster in ONNX Runtime."""

    def pattern(self, op, x):
        return op.ReduceMean(x, _outputs=["mean"])

    def fits(self, x, mean):
        return reduces_channels(x, mean)

    def rewrite(self, op, x, mean):
        channels = x.shape[CHANNELS]
        kernel = np.full((1, channels, 1, 1), 1 / channels, np.float32)
        return op.Conv(x, op.initializer(ir.tensor(kernel), name=f"{mean.name}_kernel"))


class MaxAsTree(Rule):
    """Rewrites the maximum over channels as maxima of slices of 16, which are vectorized."""

    width = 16

    def pattern(self, op, x):
        return op.ReduceMax(x, _outputs=["strongest"])

    def fits(self, x, strongest):
        if not reduces_channels(x, strongest):
            return False
        channels = x.shape[CHANNELS]
        return channels > self.width and channels % self.width == 0

    def rewrite(self, op, x, strongest):
        parts = x.shape[CHANNELS] // self.width
        sizes = op.initializer(
            ir.tensor(np.full(parts, self.width, np.int64)), name=f"{strongest.name}_sizes"
        )
        slices = list(op.Split(x, sizes, axis=CHANNELS, _outputs=parts))
        while len(slices) > 1:
            pairs = [op.Max(a, b) for a, b in zip(slices[::2], slices[1::2], strict=False)]
            slices = pairs + slices[len(slices) // 2 * 2 :]
        return op.ReduceMax(slices[0], axes=[CHANNELS], keepdims=1)
