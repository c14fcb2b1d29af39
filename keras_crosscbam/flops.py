"""Multiply-accumulates of any functional model, in all and layer by layer.

>>> import keras_crosscbam
>>> model = keras_crosscbam.CrossCBAM_M1(num_classes=19)
>>> keras_crosscbam.flops.count_macs(model)
11313265408
>>> print(keras_crosscbam.flops.table(model))  # doctest: +SKIP
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest import mock

import keras
from keras import layers

from keras_crosscbam.layers import GateConv2D
from keras_crosscbam.models.surgery import inference_model

if TYPE_CHECKING:
    from keras_crosscbam.types import Size

CONVENTIONS = ("mmcv", "conv")

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense, layers.DepthwiseConv2D)
_POOLINGS = (
    layers.AveragePooling2D,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
)


@dataclass(frozen=True)
class LayerCount:
    """What one call of one layer costs at batch 1.

    Attributes:
        path: the layer's name, behind those of the layers it is part of.
        kind: the layer's class.
        output_shape: `(height, width, channels)` or whatever the layer returns.
        params: number of weights.
        conv_macs: multiply-accumulates of convolutions and dense layers.
        other: what MMCV counts besides: biases, outputs of ReLU, inputs of pooling.
    """

    path: str
    kind: str
    output_shape: tuple
    params: int
    conv_macs: int
    other: int


def count_macs(model: keras.Model, convention: str = "mmcv", input_size: Size | None = None) -> int:
    """Counts the multiply-accumulates of one image's way through a model.

    Args:
        model: a functional `keras.Model`. Of a model with an auxiliary head, which only runs in
            training, the main output is counted.
        convention: `"mmcv"`, the count behind the paper's "FLOPs" (Tables 5 and 6): MACs of
            convolutions and dense layers, plus one per bias added, ReLU output and pooling input,
            nothing for BatchNormalization, resizing and elementwise operations. The paper's
            integers contain one ReLU output per value of a gate before its sigmoid, MMCV's default
            behind a convolution, so `GateConv2D` counts as if it had one. `"conv"`: the
            MACs of convolutions and dense layers alone.
        input_size: `(height, width)` in pixels; needed if the model's own size is not fixed.

    Returns:
        The count, an integer.

    Raises:
        ValueError: for an unknown convention, if no size is given and the model has none, or for a
            kind of layer that is not known here, such as a transposed convolution.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"`convention` must be one of {CONVENTIONS}. Received: {convention!r}")
    counts = count_layers(model, input_size)
    macs = sum(count.conv_macs for count in counts)
    return macs + sum(count.other for count in counts) if convention == "mmcv" else macs


def count_layers(model: keras.Model, input_size: Size | None = None) -> list[LayerCount]:
    """Counts each call of each layer that does countable work, in the order of the calls.

    Takes the arguments of `count_macs` and returns a list of `LayerCount`. A layer that is called
    twice, as the shared perceptron of `ChannelAttention`, stands there twice.
    """
    model = inference_model(model)
    shape = model.input_shape
    if input_size is not None:
        shape = (1, *input_size, shape[-1])
    shape = (1, *shape[1:])
    if None in shape:
        raise ValueError(
            "The model has no fixed input size: pass `input_size=(height, width)`. "
            f"Received: input shape {model.input_shape}"
        )
    counts, path, padded = [], [], []
    original_call = layers.Layer.__call__

    def recording_call(layer, *args, **kwargs):
        path.append(layer.name)
        outputs = original_call(layer, *args, **kwargs)
        weighted = hasattr(layer, "kernel") or hasattr(layer, "pointwise_kernel")
        if weighted and not isinstance(layer, _CONVOLUTIONS):
            raise ValueError(f"No rule to count a {type(layer).__name__}: {'/'.join(path)}")
        if isinstance(layer, layers.ZeroPadding2D):
            padded.append((outputs, args[0]))
        if isinstance(layer, (*_CONVOLUTIONS, layers.ReLU, *_POOLINGS)):
            # MMCV's poolings pad by themselves: what they are given is the unpadded input.
            source = next((inner for outer, inner in padded if outer is args[0]), args[0])
            counts.append(_count(layer, "/".join(path), source.shape, outputs.shape))
        path.pop()
        return outputs

    # Layers inside layers do not stand in the model's graph; a symbolic call reaches them all.
    with mock.patch.object(layers.Layer, "__call__", recording_call):
        # Operation's method runs the call; Functional's own only looks shapes up in the graph.
        keras.Operation.compute_output_spec(
            model, keras.KerasTensor(shape, dtype=model.inputs[0].dtype)
        )
    return counts


def _count(layer, path, input_shape, output_shape):
    """The cost of one call; shapes have the batch, 1, in front."""
    macs = other = 0
    if isinstance(layer, _CONVOLUTIONS):
        positions = math.prod(output_shape[1:-1])
        macs = positions * math.prod(layer.kernel.shape)
        other += math.prod(output_shape) if layer.use_bias else 0
    if isinstance(layer, _POOLINGS):
        other += math.prod(input_shape)
    activation = getattr(layer, "activation", None)
    if isinstance(layer, (layers.ReLU, GateConv2D)) or activation is keras.activations.relu:
        other += math.prod(output_shape)
    return LayerCount(
        path=path,
        kind=type(layer).__name__,
        output_shape=tuple(output_shape[1:]),
        params=layer.count_params(),
        conv_macs=macs,
        other=other,
    )


def _by_layer(counts):
    """Adds up the calls of each layer, whose weights are there only once."""
    merged = {}
    for count in counts:
        if earlier := merged.get(count.path):
            macs, other = earlier.conv_macs + count.conv_macs, earlier.other + count.other
            count = replace(count, conv_macs=macs, other=other)
        merged[count.path] = count
    return list(merged.values())


def table(model: keras.Model, input_size: Size | None = None) -> str:
    """Formats the plain convolution MACs per layer as a table of text, with the totals below."""
    counts = _by_layer(count_layers(model, input_size))
    rows = [
        (c.path, c.kind, "x".join(map(str, c.output_shape)), f"{c.params:,}", f"{c.conv_macs:,}")
        for c in counts
        if c.conv_macs
    ]
    conv = sum(c.conv_macs for c in counts)
    header = ("layer", "kind", "output", "parameters", "conv MACs")
    total = ("total", "", "", f"{sum(c.params for c in counts):,}", f"{conv:,}")
    widths = [max(len(row[i]) for row in (header, *rows, total)) for i in range(len(header))]

    def line(row):
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        return "  ".join(left + right)

    rule = "-" * len(line(header))
    mmcv = conv + sum(c.other for c in counts)
    return "\n".join(
        [line(header), rule, *map(line, rows), rule, line(total), f"MMCV's count: {mmcv:,}"]
    )
