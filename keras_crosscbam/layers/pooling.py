"""Layers around the average poolings: correction for zero padding, and squaring."""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_crosscbam.layers.switches import Switched


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class UncountPadding(Switched, layers.Layer):
    """Converts averages that include the zero padding into averages of the pixels only.

        >>> import numpy as np
        >>> from keras import layers
        >>> from keras_crosscbam.layers import UncountPadding
        >>> x = np.ones((1, 5, 7, 1))
        >>> counted = layers.AveragePooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
        >>> float(counted[0, 0, 0, 0]), float(UncountPadding()([counted, x])[0, 0, 0, 0])
        (0.4444444477558136, 1.0)

    The averages are over 3x3 pixels at stride 2, with one row or column of zeros at each border.
    Each is divided by the fraction of the 3x3 pixels that is inside the input. Paddle's
    `AvgPool2D` excludes the padding by default. PyTorch's includes it, unless
    `count_include_pad=False`.

    Call arguments:
        inputs: a pair `[averages, x]`: the averages, of shape `(batch, ceil(height / 2),
            ceil(width / 2), channels)`, and the tensor that was averaged, of shape
            `(batch, height, width, channels)`.

    Returns:
        A tensor with the shape of `averages`.
    """

    @property
    def switches(self) -> dict[str, bool]:
        return {"count_include_pad": False}

    def call(self, inputs):
        averages, x = inputs
        inside = ops.pad(ops.ones_like(x[:1, :, :, :1]), [[0, 0], [1, 1], [1, 1], [0, 0]])
        share = ops.average_pool(inside, 3, strides=2, data_format="channels_last")
        return averages / share

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class Square(Switched, layers.Layer):
    """Squares each value, as the published STDC classifier does before global average pooling.

    >>> import numpy as np
    >>> from keras_crosscbam.layers import Square
    >>> float(Square()(np.full((1, 1), 3.0))[0, 0])
    9.0
    """

    @property
    def switches(self) -> dict[str, bool]:
        return {"square_top": True}

    def call(self, inputs):
        return ops.square(inputs)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
