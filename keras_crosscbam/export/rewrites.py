"""Exact rewrites of an exported graph into forms that runtimes compute faster.

Each is a pattern and its replacement, in the terms of `onnxscript.rewriter`; `REWRITES` says which
of them serve which runtime. None changes what is computed, but for rounding.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass, ShapeInferencePass
from onnxscript.rewriter import rewrite as apply_rules
from onnxscript.rewriter.pattern import RewriteRuleClassBase
from onnxscript.rewriter.rules.common import fuse_pad_into_conv_rule

_CHANNELS = 1


class _Rule(RewriteRuleClassBase):
    """A rule whose checks answer by truth values."""

    def check(self, context, **values):
        return self.fits(**values)


def _array(value):
    """The constant behind a value, or None."""
    constant = value.const_value
    return None if constant is None else constant.numpy()


def _attribute(value, name, default=None):
    """An attribute of the node that makes a value."""
    attribute = value.producer().attributes.get(name)
    return default if attribute is None else attribute.value


def _per_channel(value, channels):
    """Whether a value is a constant, one number or one for each channel of NCHW maps."""
    array = _array(value)
    return array is not None and array.shape in ((), (1,), (1, channels, 1, 1), (channels, 1, 1))


def _is_sized(value):
    """Whether height and width of NCHW maps are known; the batch need not be."""
    return value.shape is not None and all(isinstance(side, int) for side in value.shape[2:])


class ScaleIntoConv(_Rule):
    """`conv(x) * scale + shift`, as batch normalization behind depthwise convolutions is left."""

    def pattern(self, op, x, kernel, scale, shift):
        return op.Add(op.Mul(op.Conv(x, kernel, _outputs=["conv"]), scale), shift)

    def fits(self, kernel, scale, shift, **_):
        filters = kernel.shape[0]
        constants = _array(kernel) is not None
        return constants and _per_channel(scale, filters) and _per_channel(shift, filters)

    def rewrite(self, op, x, kernel, scale, shift, conv):
        weights = _array(kernel)
        factors = np.broadcast_to(_array(scale).reshape(-1), weights.shape[:1])
        bias = np.broadcast_to(_array(shift).reshape(-1), weights.shape[:1])
        scaled = op.initializer(
            ir.tensor(weights * factors.reshape(-1, 1, 1, 1)), name=f"{kernel.name}_scaled"
        )
        shifted = op.initializer(ir.tensor(np.ascontiguousarray(bias)), name=f"{kernel.name}_shift")
        return op.Conv(x, scaled, shifted, **conv.producer().attributes)


class TransposePixelsFirst(_Rule):
    """channels_last pixels change their layout as they come, a byte each if they are uint8."""

    def pattern(self, op, pixels, scale, offset):
        normalized = op.Add(op.Mul(pixels, scale), offset)
        return op.Transpose(normalized, _outputs=["transposed"])

    def fits(self, scale, offset, transposed, **_):
        arrays = _array(scale), _array(offset)
        constant = all(array is not None and array.ndim <= 1 for array in arrays)
        return constant and list(_attribute(transposed, "perm")) == [0, 3, 1, 2]

    def rewrite(self, op, pixels, scale, offset, transposed):
        perm = transposed.producer().attributes["perm"]
        cast = pixels.producer()
        if cast is not None and cast.op_type == "Cast":
            turned = op.Cast(op.Transpose(cast.inputs[0], perm=perm), **cast.attributes)
        else:
            turned = op.Transpose(pixels, perm=perm)
        scale, offset = (
            op.initializer(ir.tensor(_array(value).reshape(1, -1, 1, 1)), name=f"{value.name}_nchw")
            for value in (scale, offset)
        )
        return op.Add(op.Mul(turned, scale), offset)


class PixelsIntoConv(_Rule):
    """`conv(pixels * scale + offset)`: the scale goes into the kernel.

    The offset cannot go into the bias: the zeros that the convolution pads with are mean pixels.
    """

    def pattern(self, op, pixels, scale, offset, kernel, bias):
        normalized = op.Add(op.Mul(pixels, scale), offset)
        return op.Conv(normalized, kernel, bias, _outputs=["conv"])

    def fits(self, scale, offset, kernel, **_):
        channels = kernel.shape[1]
        constants = _array(kernel) is not None
        return constants and _per_channel(scale, channels) and _per_channel(offset, channels)

    def rewrite(self, op, pixels, scale, offset, kernel, bias, conv):
        factors = _array(scale)
        shift = op.initializer(ir.tensor(_array(offset) / factors), name=f"{offset.name}_pixels")
        weights = _array(kernel) * factors.reshape(1, -1, 1, 1)
        scaled = op.initializer(ir.tensor(weights), name=f"{kernel.name}_pixels")
        return op.Conv(op.Add(pixels, shift), scaled, bias, **conv.producer().attributes)


class PadIntoAveragePool(_Rule):
    """Zero padding before an average pooling, which then counts the zeros itself."""

    def pattern(self, op, x, pads):
        return op.AveragePool(op.Pad(x, pads), _outputs=["pooled"])

    def fits(self, pads, pooled, **_):
        sides = _array(pads)
        spatial = sides is not None and len(sides) == 8 and not any(sides[[0, 1, 4, 5]])
        return spatial and not any(_attribute(pooled, "pads", (0,)))

    def rewrite(self, op, x, pads, pooled):
        sides = _array(pads)[[2, 3, 6, 7]].tolist()
        kept = {
            name: attribute
            for name, attribute in pooled.producer().attributes.items()
            if name not in ("pads", "auto_pad", "count_include_pad")
        }
        return op.AveragePool(x, pads=sides, count_include_pad=1, **kept)


class DropReshape(_Rule):
    """A reshaping to the shape that is there already."""

    def pattern(self, op, x, shape):
        return op.Reshape(x, shape, _outputs=["reshaped"])

    def fits(self, x, reshaped, **_):
        return x.shape is not None and x.shape.is_static() and x.shape == reshaped.shape

    def rewrite(self, op, x, **_):
        return op.Identity(x)


class ResizeAsProducts(_Rule):
    """The upsampling of scores to the image as two products with constant matrices.

    Bilinear interpolation is linear along each axis: `rows @ (scores @ columns)`. Runtimes have
    fast products of matrices, and slow interpolations.
    """

    def pattern(self, op, scores, roi, scales):
        return op.Resize(scores, roi, scales, _outputs=["resized"])

    def fits(self, scores, resized, **_):
        return (
            _is_sized(scores)
            and _is_sized(resized)
            and resized.shape[2] >= 4 * scores.shape[2]
            and _attribute(resized, "mode", "nearest") == "linear"
            and _attribute(resized, "coordinate_transformation_mode") == "half_pixel"
        )

    def rewrite(self, op, scores, resized, **_):
        rows = _interpolation(scores.shape[2], resized.shape[2])
        columns = _interpolation(scores.shape[3], resized.shape[3]).T
        names = f"{resized.name}_rows", f"{resized.name}_columns"
        rows, columns = (
            op.initializer(ir.tensor(np.ascontiguousarray(matrix)), name=name)
            for matrix, name in zip((rows, columns), names, strict=True)
        )
        return op.MatMul(rows, op.MatMul(scores, columns))


def _interpolation(size, target):
    """The matrix `(target, size)` of bilinear interpolation at half-pixel centres, clamped."""
    centres = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    below = np.minimum(np.floor(centres).astype(int), size - 1)
    above = np.minimum(below + 1, size - 1)
    matrix = np.zeros((target, size), np.float32)
    np.add.at(matrix, (np.arange(target), below), 1 - (centres - below))
    np.add.at(matrix, (np.arange(target), above), centres - below)
    return matrix


class MeanAsConv(_Rule):
    """The mean over channels as a 1x1 convolution, which ONNX Runtime computes faster."""

    def pattern(self, op, x):
        return op.ReduceMean(x, _outputs=["mean"])

    def fits(self, x, mean):
        return _reduces_channels(x, mean)

    def rewrite(self, op, x, mean):
        channels = x.shape[_CHANNELS]
        kernel = np.full((1, channels, 1, 1), 1 / channels, np.float32)
        return op.Conv(x, op.initializer(ir.tensor(kernel), name=f"{mean.name}_kernel"))


class MaxAsTree(_Rule):
    """The maximum over channels as maxima of slices of 16: ONNX Runtime has those vectorized."""

    width = 16

    def pattern(self, op, x):
        return op.ReduceMax(x, _outputs=["strongest"])

    def fits(self, x, strongest):
        if not _reduces_channels(x, strongest):
            return False
        channels = x.shape[_CHANNELS]
        return channels > self.width and channels % self.width == 0

    def rewrite(self, op, x, strongest):
        parts = x.shape[_CHANNELS] // self.width
        sizes = op.initializer(
            ir.tensor(np.full(parts, self.width, np.int64)), name=f"{strongest.name}_sizes"
        )
        slices = list(op.Split(x, sizes, axis=_CHANNELS, _outputs=parts))
        while len(slices) > 1:
            pairs = [op.Max(a, b) for a, b in zip(slices[::2], slices[1::2], strict=False)]
            slices = pairs + slices[len(slices) // 2 * 2 :]
        return op.ReduceMax(slices[0], axes=[_CHANNELS], keepdims=1)


def _reduces_channels(x, reduced):
    known = x.shape is not None and isinstance(x.shape[_CHANNELS], int)
    return known and list(_attribute(reduced, "axes", ())) == [_CHANNELS]


class GateBeforeResize(_Rule):
    """`resize(x) * gate` with one gate for each channel, as `resize(x * gate)`: on fewer pixels."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales, gate):
        return op.Mul(op.Resize(x, roi, scales, _outputs=["resized"]), gate)

    def fits(self, gate, **_):
        return gate.shape is not None and tuple(gate.shape[2:]) == (1, 1)

    def rewrite(self, op, x, roi, scales, gate, resized):
        return op.Resize(op.Mul(x, gate), roi, scales, **resized.producer().attributes)


class MeanBeforeResize(_Rule):
    """The mean of a doubled map is the mean of the map: each pixel counts four times."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales):
        return op.GlobalAveragePool(op.Resize(x, roi, scales, _outputs=["resized"]))

    def fits(self, x, resized, **_):
        if not (_is_sized(x) and _is_sized(resized)):
            return False
        return tuple(resized.shape[2:]) == (2 * x.shape[2], 2 * x.shape[3])

    def rewrite(self, op, x, **_):
        return op.GlobalAveragePool(x)


class ChannelMeanBeforeResize(_Rule):
    """The mean over channels of a resized map, as the resized mean."""

    def __init__(self):
        super().__init__(remove_nodes=False)

    def pattern(self, op, x, roi, scales):
        return op.ReduceMean(op.Resize(x, roi, scales, _outputs=["resized"]), _outputs=["mean"])

    def fits(self, x, mean, **_):
        return _reduces_channels(x, mean)

    def rewrite(self, op, x, roi, scales, resized, **_):
        mean = op.ReduceMean(x, axes=[_CHANNELS], keepdims=1)
        return op.Resize(mean, roi, scales, **resized.producer().attributes)


class ArgMaxOverChannels(_Rule):
    """The largest score of channels_last maps, taken before they were transposed."""

    def pattern(self, op, scores):
        return op.ArgMax(op.Transpose(scores, _outputs=["transposed"]), _outputs=["labels"])

    def fits(self, transposed, labels, **_):
        last = list(_attribute(transposed, "perm")) == [0, 2, 3, 1]
        axis, keep = _attribute(labels, "axis", 0), _attribute(labels, "keepdims", 1)
        return last and axis in (3, -1) and not keep

    def rewrite(self, op, scores, **_):
        return op.ArgMax(scores, axis=_CHANNELS, keepdims=0)


class CastByFloat(_Rule):
    """Integers to uint8 by way of float32: TensorRT 8.6 makes uint8 of nothing else."""

    def pattern(self, op, x):
        return op.Cast(x, to=ir.DataType.UINT8, _outputs=["cast"])

    def fits(self, x, **_):
        return x.dtype in (ir.DataType.INT32, ir.DataType.INT64)

    def rewrite(self, op, x, **_):
        return op.Cast(op.Cast(x, to=ir.DataType.FLOAT), to=ir.DataType.UINT8)


_CLEAN = (
    fuse_pad_into_conv_rule,
    PadIntoAveragePool.rule(),
    ScaleIntoConv.rule(),
    TransposePixelsFirst.rule(),
    PixelsIntoConv.rule(),
    DropReshape.rule(),
    ArgMaxOverChannels.rule(),
)
REWRITES = {
    "onnxruntime": (*_CLEAN, ResizeAsProducts.rule(), MeanAsConv.rule(), MaxAsTree.rule()),
    "openvino": (
        *_CLEAN,
        ResizeAsProducts.rule(),
        GateBeforeResize.rule(),
        MeanBeforeResize.rule(),
        ChannelMeanBeforeResize.rule(),
    ),
    "tensorrt": (*_CLEAN, CastByFloat.rule()),
}
"""The rules for each runtime, in the order in which they are tried."""


def rewrite_for(runtime, proto):
    """Rewrites a graph of NCHW maps for a runtime.

    Args:
        runtime: a key of `REWRITES`.
        proto: an `onnx.ModelProto`.

    Returns:
        Another `onnx.ModelProto`, with the same inputs and outputs.
    """
    model = ir.from_proto(proto)
    for rule in REWRITES[runtime]:
        # One after the other: what one rule makes, the next may need, with its shape.
        model = ShapeInferencePass()(model).model
        model = apply_rules(model, pattern_rewrite_rules=[rule])
    return ir.to_proto(IdentityEliminationPass()(model).model)
