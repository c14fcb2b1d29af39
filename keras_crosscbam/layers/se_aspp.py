"""Squeeze-and-Excitation Atrous Spatial Pyramid Pooling (SE-ASPP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_crosscbam.layers.attention import GateConv2D, activation_name
from keras_crosscbam.layers.conv import ConvBNReLU
from keras_crosscbam.layers.switches import Switched


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SEASPP(Switched, layers.Layer):
    """Computes multi-scale context features with atrous convolutions and a gate on the input.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import SEASPP
        >>> tuple(SEASPP(256, dilation_rates=(1, 3))(np.ones((1, 16, 32, 1024))).shape)
        (1, 16, 32, 256)

    Paper, section 3.3, Figure 6. Unlike ASPP it has two atrous branches instead of four, adds
    them instead of concatenating them, and replaces the image pooling branch with a
    squeeze-and-excitation gate on the input:

        atrous = sum of branch_r(x) for each rate r       (1x1 for rate 1, else 3x3 dilated by r)
        excited = x * sigmoid(conv1x1(relu(conv1x1(mean of x over all positions))))
        output = ConvBNReLU3x3([excited, atrous])

    Args:
        filters: number of channels of each branch, of the gate's hidden layer and of the output.
        dilation_rates: dilation rates, one for each branch (paper: `(1, 3)`).
        gate_activation: activation before the sigmoid, as in `ChannelAttention`.

    Call arguments:
        inputs: feature maps of shape `(batch, height, width, channels)`.

    Returns:
        Feature maps of shape `(batch, height, width, filters)`.

    Raises:
        ValueError: if `dilation_rates` is empty, repeats a rate or contains a rate below 1.
    """

    def __init__(
        self,
        filters: int = 256,
        dilation_rates: Sequence[int] = (1, 3),
        gate_activation: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        rates = tuple(dilation_rates)
        if not rates or len(set(rates)) < len(rates) or min(rates) < 1:
            raise ValueError(
                "`dilation_rates` must be one or more different positive integers. "
                f"Received: {dilation_rates!r}"
            )
        self.filters = filters
        self.dilation_rates = rates
        self.gate_activation = gate_activation
        common = {"dtype": self.dtype_policy}
        spatial = {"data_format": "channels_last", **common}
        self.branches = [
            ConvBNReLU(
                filters,
                kernel_size=1 if rate == 1 else 3,
                dilation_rate=rate,
                name=f"branch_rate{rate}",
                **common,
            )
            for rate in rates
        ]
        self.squeeze = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze", **spatial)
        self.reduce = layers.Conv2D(
            filters, 1, kernel_initializer="he_normal", name="reduce", **spatial
        )
        self.relu = layers.ReLU(name="relu", **common)
        self.project = ConvBNReLU(filters, 3, name="project", **common)

    def build(self, input_shape):
        channels = input_shape[-1]
        for branch in self.branches:
            branch.build(input_shape)
        self.reduce.build((None, 1, 1, channels))
        self.expand = GateConv2D(
            channels, activation=self.gate_activation, name="expand", dtype=self.dtype_policy
        )
        self.expand.build((None, 1, 1, self.filters))
        self.project.build((*input_shape[:-1], channels + self.filters))

    def call(self, inputs, training=None):
        atrous = sum(branch(inputs, training=training) for branch in self.branches)
        excited = inputs * self.gate(inputs)
        return self.project(ops.concatenate([excited, atrous], axis=-1), training=training)

    def gate(self, inputs: Any) -> Any:
        """Returns one weight in (0, 1) for each input channel, `(batch, 1, 1, channels)`."""
        return ops.sigmoid(self.expand(self.relu(self.reduce(self.squeeze(inputs)))))

    @property
    def switches(self) -> dict[str, Any]:
        name = activation_name(self.gate_activation)
        return {"gate_activation": name} if name else {}

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "dilation_rates": self.dilation_rates,
            "gate_activation": self.gate_activation,
        }
