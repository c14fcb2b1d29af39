"""The Cross Convolutional Block Attention Module (CCBAM), which fuses two feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_crosscbam.layers.attention import ChannelAttention, SpatialAttention, activation_name
from keras_crosscbam.layers.switches import Switched


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class CCBAM(Switched, layers.Layer):
    """Fuses two feature maps. Each is weighted by attention computed from the other.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import CCBAM
        >>> low, high = np.ones((2, 45, 60, 64)), np.ones((2, 45, 60, 64))
        >>> tuple(CCBAM()([low, high]).shape)
        (2, 45, 60, 64)

    Paper, section 3.2, Equation 2, with `CA` = `ChannelAttention` and `SA` = `SpatialAttention`:

        from_high = low * CA_high(high)        from_low = high * CA_low(low)
        output = from_high * SA_low(from_low) + from_low * SA_high(from_high)

    Args:
        reduction: reduction ratio of the channel attention layers (paper: 16).
        gate_activation: activation of all four gates, as in `ChannelAttention`.

    Call arguments:
        inputs: a pair `[low, high]` of equal shape `(batch, height, width, channels)`: encoder
            features, and decoder features resized to the same size.

    Returns:
        The fused features, with the shape of the inputs.

    Raises:
        ValueError: if the two inputs have different numbers of channels.
    """

    def __init__(
        self, reduction: int = 16, gate_activation: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        common = {"gate_activation": gate_activation, "dtype": self.dtype_policy}
        self.reduction = reduction
        self.gate_activation = gate_activation
        self.low_channel_attention = ChannelAttention(
            reduction, name="low_channel_attention", **common
        )
        self.high_channel_attention = ChannelAttention(
            reduction, name="high_channel_attention", **common
        )
        self.low_spatial_attention = SpatialAttention(name="low_spatial_attention", **common)
        self.high_spatial_attention = SpatialAttention(name="high_spatial_attention", **common)

    def build(self, input_shape):
        low, high = input_shape
        if low[-1] != high[-1]:
            raise ValueError(
                "The inputs of CCBAM must have the same number of channels. "
                f"Received: shapes {tuple(low)} and {tuple(high)}"
            )
        self.low_channel_attention.build(low)
        self.high_channel_attention.build(high)
        self.low_spatial_attention.build(high)
        self.high_spatial_attention.build(low)

    def call(self, inputs):
        return self.attend(inputs)[0]

    def attend(self, inputs: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        """Computes the fused features and the gates.

        Returns:
            A pair: the output of a call, and a dict of the gates `"low_channel"` and
            `"high_channel"`, of shape `(batch, 1, 1, channels)`, and `"low_spatial"` and
            `"high_spatial"`, of shape `(batch, height, width, 1)`.
        """
        low, high = inputs
        gates = {"high_channel": self.high_channel_attention(high)}
        from_high = low * gates["high_channel"]
        gates["low_channel"] = self.low_channel_attention(low)
        from_low = high * gates["low_channel"]
        gates["low_spatial"] = self.low_spatial_attention(from_low)
        gates["high_spatial"] = self.high_spatial_attention(from_high)
        return from_high * gates["low_spatial"] + from_low * gates["high_spatial"], gates

    @property
    def switches(self) -> dict[str, Any]:
        name = activation_name(self.gate_activation)
        return {"gate_activation": name} if name else {}

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "gate_activation": self.gate_activation,
        }
