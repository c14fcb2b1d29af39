"""The layer `ConvBNReLU`: convolution, batch normalization and ReLU."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from keras_crosscbam.layers.backend import convolve_dilated
from keras_crosscbam.layers.batch_norm import BatchNormalization

EPSILON = 1e-5
"""The value that batch normalization adds to the variance."""


def batch_norm(**kwargs):
    """Returns a BatchNormalization layer with momentum 0.9 (0.1 in PyTorch's definition)."""
    return BatchNormalization(momentum=0.9, epsilon=EPSILON, **kwargs)


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class ConvBNReLU(layers.Layer):
    """Convolution without bias, batch normalization and ReLU, with symmetric padding.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import ConvBNReLU
        >>> tuple(ConvBNReLU(32, 3, strides=2)(np.ones((1, 321, 481, 3))).shape)
        (1, 161, 241, 32)

    Every side is padded with `dilation_rate * (kernel_size // 2)` zeros. The `"same"` padding of
    Keras pads a convolution of stride 2 on the right and bottom only. This shifts the feature
    maps relative to those of other frameworks, so their weights would give different results.

    Args:
        filters: number of output channels.
        kernel_size: side of the square kernel, an odd integer.
        strides: stride of the convolution, in both directions.
        dilation_rate: distance between the kernel elements; 1 for an ordinary convolution.

    Call arguments:
        inputs: feature maps of shape `(batch, height, width, channels)`.

    Returns:
        Feature maps of shape `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    Raises:
        ValueError: if `kernel_size` is even, because symmetric padding is then impossible.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation_rate: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd. Received: {kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self._dilated = dilation_rate > 1 and strides == 1
        common = {"dtype": self.dtype_policy}
        # At stride 1 "same" padding is symmetric and needs no separate padding layer.
        self.pad = None
        if strides > 1:
            self.pad = layers.ZeroPadding2D(
                dilation_rate * (kernel_size // 2),
                data_format="channels_last",
                name="pad",
                **common,
            )
        self.conv = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            data_format="channels_last",
            dilation_rate=dilation_rate,
            use_bias=False,
            kernel_initializer="he_normal",
            name="conv",
            **common,
        )
        self.bn = batch_norm(name="bn", **common)
        self.relu = layers.ReLU(name="relu", **common)

    def build(self, input_shape):
        self.conv.build(self._padded(input_shape))
        self.bn.build((*input_shape[:-1], self.filters))

    def call(self, inputs, training=None):
        if training and self._dilated:
            x = convolve_dilated(self.conv, inputs)
        else:
            x = self.conv(inputs if self.pad is None else self.pad(inputs))
        return self.relu(self.bn(x, training=training))

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(self._padded(input_shape))

    def _padded(self, input_shape):
        return input_shape if self.pad is None else self.pad.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
        }
