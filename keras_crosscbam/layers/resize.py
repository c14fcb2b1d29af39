"""Bilinear resizing to the size of another tensor."""

import keras
from keras import ops

from keras_crosscbam.layers.backend import resize_bilinear


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class ResizeLike(keras.layers.Layer):
    """Resizes feature maps bilinearly to the height and width of a reference.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import ResizeLike
        >>> x, reference = np.ones((1, 23, 30, 8)), np.ones((1, 45, 60, 4))
        >>> tuple(ResizeLike()([x, reference]).shape)
        (1, 45, 60, 8)

    A factor would be wrong where a size is not divisible by 32: 720 rows become 90, 45 and 23
    on the way down, and 23 has to become 45 again, not 46. Sampling is at half-pixel centers,
    clamped at the border, without antialiasing (PyTorch's `align_corners=False`).

    Call arguments:
        inputs: a pair `[x, reference]` of tensors of shape `(batch, height, width, channels)`;
            of the reference only the size is read.

    Returns:
        A tensor of shape `(batch, reference height, reference width, channels of x)` in the
        layer's compute dtype.
    """

    def call(self, inputs):
        x, reference = inputs
        # In float32, as TensorFlow's resize answers; XLA cannot differentiate it in bfloat16.
        x = ops.cast(x, "float32")
        return ops.cast(resize_bilinear(x, reference), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        (batch, _, _, channels), (_, height, width, _) = input_shape
        return (batch, height, width, channels)
