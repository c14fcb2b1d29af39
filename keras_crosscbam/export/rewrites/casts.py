"""Rewrites casts that a runtime does not support."""

import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import Rule


class CastByFloat(Rule):
    """Casts integers to uint8 through float32, the only cast to uint8 in TensorRT 8.6."""

    def pattern(self, op, x):
        return op.Cast(x, to=ir.DataType.UINT8, _outputs=["cast"])

    def fits(self, x, **_):
        return x.dtype in (ir.DataType.INT32, ir.DataType.INT64)

    def rewrite(self, op, x, **_):
        return op.Cast(op.Cast(x, to=ir.DataType.FLOAT), to=ir.DataType.UINT8)
