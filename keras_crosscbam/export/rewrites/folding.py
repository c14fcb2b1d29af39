"""Folds arithmetic into convolutions, and removes unnecessary layout changes."""

import numpy as np
import onnx_ir as ir

from keras_crosscbam.export.rewrites.rule import CHANNELS, Rule, array_of, attribute


class ScaleIntoConv(Rule):
    """Folds `conv(x) * scale + shift`, a batch normalization after a depthwise convolution."""

    def pattern(self, op, x, kernel, scale, shift):
        return op.Add(op.Mul(op.Conv(x, kernel, _outputs=["conv"]), scale), shift)

    def fits(self, kernel, scale, shift, **_):
        filters = kernel.shape[0]
        constants = array_of(kernel) is not None
        return constants and _per_channel(scale, filters) and _per_channel(shift, filters)

    def rewrite(self, op, x, kernel, scale, shift, conv):
        weights = array_of(kernel)
        factors = np.broadcast_to(array_of(scale).reshape(-1), weights.shape[:1])
        bias = np.broadcast_to(array_of(shift).reshape(-1), weights.shape[:1])
        scaled = op.initializer(
            ir.tensor(weights * factors.reshape(-1, 1, 1, 1)), name=f"{kernel.name}_scaled"
        )
        shifted = op.initializer(ir.tensor(np.ascontiguousarray(bias)), name=f"{kernel.name}_shift")
        return op.Conv(x, scaled, shifted, **conv.producer().attributes)


class TransposePixelsFirst(Rule):
    """Transposes channels_last pixels before normalization, while they may still be uint8."""

    def pattern(self, op, pixels, scale, offset):
        normalized = op.Add(op.Mul(pixels, scale), offset)
        return op.Transpose(normalized, _outputs=["transposed"])

    def fits(self, scale, offset, transposed, **_):
        arrays = array_of(scale), array_of(offset)
        per_channel = all(a is not None and (a.size,) in ((1,), a.shape[-1:]) for a in arrays)
        return per_channel and list(attribute(transposed, "perm")) == [0, 3, 1, 2]

    def rewrite(self, op, pixels, scale, offset, transposed):
        perm = transposed.producer().attributes["perm"]
        cast = pixels.producer()
        if cast is not None and cast.op_type == "Cast":
            turned = op.Cast(op.Transpose(cast.inputs[0], perm=perm), **cast.attributes)
        else:
            turned = op.Transpose(pixels, perm=perm)
        scale, offset = (
            op.initializer(
                ir.tensor(array_of(value).reshape(1, -1, 1, 1)), name=f"{value.name}_nchw"
            )
            for value in (scale, offset)
        )
        return op.Add(op.Mul(turned, scale), offset)


class PixelsIntoConv(Rule):
    """Folds the scale of `conv(pixels * scale + offset)` into the kernel.

    The offset cannot be folded into the bias, because the convolution pads with zeros after the
    offset is added.
    """

    def pattern(self, op, pixels, scale, offset, kernel, bias):
        normalized = op.Add(op.Mul(pixels, scale), offset)
        return op.Conv(normalized, kernel, bias, _outputs=["conv"])

    def fits(self, scale, offset, kernel, **_):
        channels = kernel.shape[1]
        constants = array_of(kernel) is not None
        return constants and _per_channel(scale, channels) and _per_channel(offset, channels)

    def rewrite(self, op, pixels, scale, offset, kernel, bias, conv):
        factors = array_of(scale)
        shift = op.initializer(ir.tensor(array_of(offset) / factors), name=f"{offset.name}_pixels")
        weights = array_of(kernel) * factors.reshape(1, -1, 1, 1)
        scaled = op.initializer(ir.tensor(weights), name=f"{kernel.name}_pixels")
        return op.Conv(op.Add(pixels, shift), scaled, bias, **conv.producer().attributes)


class PadIntoAveragePool(Rule):
    """Folds zero padding into an average pooling that includes the padding."""

    def pattern(self, op, x, pads):
        return op.AveragePool(op.Pad(x, pads), _outputs=["pooled"])

    def fits(self, pads, pooled, **_):
        sides = array_of(pads)
        spatial = sides is not None and len(sides) == 8 and not any(sides[[0, 1, 4, 5]])
        return spatial and not any(attribute(pooled, "pads", (0,)))

    def rewrite(self, op, x, pads, pooled):
        sides = array_of(pads)[[2, 3, 6, 7]].tolist()
        kept = {
            name: attribute
            for name, attribute in pooled.producer().attributes.items()
            if name not in ("pads", "auto_pad", "count_include_pad")
        }
        return op.AveragePool(x, pads=sides, count_include_pad=1, **kept)


class DropReshape(Rule):
    """Removes a Reshape to the current shape."""

    def pattern(self, op, x, shape):
        return op.Reshape(x, shape, _outputs=["reshaped"])

    def fits(self, x, reshaped, **_):
        return x.shape is not None and x.shape.is_static() and x.shape == reshaped.shape

    def rewrite(self, op, x, **_):
        return op.Identity(x)


class ArgMaxOverChannels(Rule):
    """Computes the argmax of transposed scores before the transposition, over the channels."""

    def pattern(self, op, scores):
        return op.ArgMax(op.Transpose(scores, _outputs=["transposed"]), _outputs=["labels"])

    def fits(self, transposed, labels, **_):
        last = list(attribute(transposed, "perm")) == [0, 2, 3, 1]
        axis, keep = attribute(labels, "axis", 0), attribute(labels, "keepdims", 1)
        return last and axis in (3, -1) and not keep

    def rewrite(self, op, scores, **_):
        return op.ArgMax(scores, axis=CHANNELS, keepdims=0)


def _per_channel(value, channels):
    """Returns whether a value is a constant: one number, or one for each channel of NCHW maps."""
    array = array_of(value)
    return array is not None and array.shape in ((), (1,), (1, channels, 1, 1), (channels, 1, 1))
