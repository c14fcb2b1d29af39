"""Channel and spatial attention layers (paper, section 3.2, Figures 4 and 5)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class GateConv2D(layers.Conv2D):
    """1x1 convolution with bias that computes the logits of a sigmoid gate.

    Args:
        filters: number of gates for each position.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        kwargs = {
            "kernel_size": 1,
            "kernel_initializer": "he_normal",
            "data_format": "channels_last",
            **kwargs,
        }
        super().__init__(filters, **kwargs)


def activation_name(activation):
    """Returns the name of an activation function or class, or None for no activation.

    >>> from keras_crosscbam.layers.attention import activation_name
    >>> activation_name("relu"), activation_name("linear"), activation_name(None)
    ('relu', None, None)
    """
    function = keras.activations.get(activation)
    name = getattr(function, "__name__", type(function).__name__)
    return None if name == "linear" else name


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class ChannelAttention(layers.Layer):
    """Computes channel attention: one weight in (0, 1) for each channel (paper, Equation 3).

        >>> import numpy as np
        >>> from keras_crosscbam.layers import ChannelAttention
        >>> tuple(ChannelAttention()(np.ones((2, 45, 60, 64))).shape)
        (2, 1, 1, 64)

    The output is `sigmoid(mlp(max(x)) + mlp(mean(x)))`. The maximum and the mean are taken over
    all positions. Both go through the same perceptron
    `channels -> channels // reduction -> channels`.

    Args:
        reduction: ratio of the input channels to the units of the hidden layer (paper: 16). The
            hidden layer has at least one unit.
        gate_activation: activation between the last convolution and the sigmoid. The paper has
            none. `"relu"`, the default in MMCV's convolutions, keeps gates at 0.5 or above.

    Call arguments:
        inputs: feature maps of shape `(batch, height, width, channels)`.

    Returns:
        Gates of shape `(batch, 1, 1, channels)`, to multiply feature maps by.

    Raises:
        ValueError: if `reduction` is not a positive integer.
    """

    def __init__(
        self, reduction: int = 16, gate_activation: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(reduction, int) or reduction < 1:
            raise ValueError(f"`reduction` must be a positive integer. Received: {reduction!r}")
        self.reduction = reduction
        self.gate_activation = gate_activation

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = max(channels // self.reduction, 1)
        common = {"dtype": self.dtype_policy}
        spatial = {"data_format": "channels_last", **common}
        self.max_pool = layers.GlobalMaxPooling2D(keepdims=True, name="max_pool", **spatial)
        self.mean_pool = layers.GlobalAveragePooling2D(keepdims=True, name="mean_pool", **spatial)
        self.reduce = layers.Conv2D(
            hidden, 1, kernel_initializer="he_normal", name="reduce", **spatial
        )
        self.relu = layers.ReLU(name="relu", **common)
        self.expand = GateConv2D(channels, activation=self.gate_activation, name="expand", **common)
        self.reduce.build((None, 1, 1, channels))
        self.expand.build((None, 1, 1, hidden))

    def _mlp(self, pooled):
        return self.expand(self.relu(self.reduce(pooled)))

    def call(self, inputs):
        return ops.sigmoid(self._mlp(self.max_pool(inputs)) + self._mlp(self.mean_pool(inputs)))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, 1, input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "gate_activation": self.gate_activation,
        }


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SpatialAttention(layers.Layer):
    """Computes spatial attention: one weight in (0, 1) for each position (paper, Equation 4).

        >>> import numpy as np
        >>> from keras_crosscbam.layers import SpatialAttention
        >>> tuple(SpatialAttention()(np.ones((2, 45, 60, 64))).shape)
        (2, 45, 60, 1)

    The output is `sigmoid(conv1x1([max over channels, mean over channels]))`. CBAM uses a 7x7
    convolution here. The paper uses a 1x1 convolution for speed.

    Args:
        gate_activation: activation between the last convolution and the sigmoid. The paper has
            none. `"relu"`, the default in MMCV's convolutions, keeps gates at 0.5 or above.

    Call arguments:
        inputs: feature maps of shape `(batch, height, width, channels)`.

    Returns:
        Gates of shape `(batch, height, width, 1)`, to multiply feature maps by.
    """

    def __init__(self, gate_activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate_activation = gate_activation

    def build(self, input_shape):
        self.conv = GateConv2D(
            1, activation=self.gate_activation, name="conv", dtype=self.dtype_policy
        )
        self.conv.build((*input_shape[:-1], 2))

    def call(self, inputs):
        strongest = ops.max(inputs, axis=-1, keepdims=True)
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        return ops.sigmoid(self.conv(ops.concatenate([strongest, mean], axis=-1)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)

    def get_config(self):
        return {**super().get_config(), "gate_activation": self.gate_activation}
