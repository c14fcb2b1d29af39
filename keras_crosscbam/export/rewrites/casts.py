"""Casts that a runtime does not have."""

import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import Rule


class CastByFloat(Rule):
    """Integers to uint8 by way of float32: TensorRT 8.6 makes uint8 of nothing else."""

    def pattern(self, op, x):
        return op.Cast(x, to=ir.DataType.UINT8, _outputs=["cast"])

    def fits(self, x, **_):
        return x.dtype in (ir.DataType.INT32, ir.DataType.INT64)

    def rewrite(self, op, x, **_):
        return op.Cast(op.Cast(x, to=ir.DataType.FLOAT), to=ir.DataType.UINT8)
