"""Multiply-accumulate (MAC) counts of functional models, in total and per layer.

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
    """The cost of one call of a layer at batch size 1.

    Attributes:
        path: the layer's name, prefixed with the names of the layers that contain it.
        kind: name of the layer's class.
        output_shape: output shape without the batch, such as `(height, width, channels)`.
        params: number of weights.
        conv_macs: multiply-accumulates of convolutions and dense layers.
        other: other operations that MMCV counts: biases, ReLU outputs, pooling inputs.
    """

    path: str
    kind: str
    output_shape: tuple
    params: int
    conv_macs: int
    other: int


def count_macs(model: keras.Model, convention: str = "mmcv", input_size: Size | None = None) -> int:
    """Counts the multiply-accumulates of a model for one image.

    Args:
        model: a functional `keras.Model`. An auxiliary head is not counted, because it only runs in
            training.
        convention: `"mmcv"` for the paper's "FLOPs" (Tables 5 and 6): MACs of convolutions and
            dense layers, plus one for each bias, ReLU output and pooling input, and none for
            BatchNormalization, resizing and elementwise operations. The paper's numbers contain one
            ReLU output per value of a gate before its sigmoid, because MMCV adds a ReLU after a
            convolution by default, so `GateConv2D` is counted with a ReLU. `"conv"` for the MACs of
            convolutions and dense layers alone.
        input_size: `(height, width)` in pixels; required if the model's input size is not fixed.

    Returns:
        The count, an int.

    Raises:
        ValueError: for an unknown convention, for a model without a fixed size if no size is given,
            and for an unsupported layer, such as a transposed convolution.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"`convention` must be one of {CONVENTIONS}. Received: {convention!r}")
    counts = count_layers(model, input_size)
    macs = sum(count.conv_macs for count in counts)
    return macs + sum(count.other for count in counts) if convention == "mmcv" else macs


def count_layers(model: keras.Model, input_size: Size | None = None) -> list[LayerCount]:
    """Counts the MACs of each call of each layer, in the order of the calls.

    Args:
        model, input_size: as in `count_macs`.

    Returns:
        A list of `LayerCount`, one for each call of a layer with MACs or other counted operations.
        A layer that is called twice, such as the shared perceptron of `ChannelAttention`, is in the
        list twice.
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
            raise ValueError(f"Cannot count a {type(layer).__name__} layer: {'/'.join(path)}")
        if isinstance(layer, layers.ZeroPadding2D):
            padded.append((outputs, args[0]))
        if isinstance(layer, (*_CONVOLUTIONS, layers.ReLU, *_POOLINGS)):
            # MMCV's pooling layers pad their input themselves, so MMCV counts the unpadded input.
            source = next((inner for outer, inner in padded if outer is args[0]), args[0])
            counts.append(_count(layer, "/".join(path), source.shape, outputs.shape))
        path.pop()
        return outputs

    # Layers inside layers are not in the model's graph; a symbolic call runs all of them.
    with mock.patch.object(layers.Layer, "__call__", recording_call):
        # `Operation`'s method runs the call; `Functional`'s only looks up shapes in the graph.
        keras.Operation.compute_output_spec(
            model, keras.KerasTensor(shape, dtype=model.inputs[0].dtype)
        )
    return counts


def _count(layer, path, input_shape, output_shape):
    """Returns the `LayerCount` of one call; both shapes include a batch axis of 1."""
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
    """Sums the calls of each layer, counting its weights once."""
    merged = {}
    for count in counts:
        if earlier := merged.get(count.path):
            macs, other = earlier.conv_macs + count.conv_macs, earlier.other + count.other
            count = replace(count, conv_macs=macs, other=other)
        merged[count.path] = count
    return list(merged.values())


def table(model: keras.Model, input_size: Size | None = None) -> str:
    """Returns a text table of the convolution MACs per layer, followed by the totals."""
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
