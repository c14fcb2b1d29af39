"""Bilinear resizing to the size of another tensor."""

import keras
from keras import ops

from keras_crosscbam.layers.backend import resize_bilinear


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class ResizeLike(keras.layers.Layer):
    """Resizes feature maps bilinearly to the height and width of a reference tensor.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import ResizeLike
        >>> x, reference = np.ones((1, 23, 30, 8)), np.ones((1, 45, 60, 4))
        >>> tuple(ResizeLike()([x, reference]).shape)
        (1, 45, 60, 8)

    A fixed factor is wrong for a size that is not divisible by 32: the encoder reduces 720 rows
    to 90, 45 and 23, and the decoder must resize 23 to 45, not 46. Sampling is at half-pixel
    centers, clamped at the border, without antialiasing (PyTorch's `align_corners=False`).

    Call arguments:
        inputs: a pair `[x, reference]` of tensors of shape `(batch, height, width, channels)`.
            Only the size of the reference is used.

    Returns:
        A tensor of shape `(batch, reference height, reference width, channels of x)` in the
        layer's compute dtype.
    """

    def call(self, inputs):
        x, reference = inputs
        # TensorFlow's resize returns float32, and XLA cannot differentiate it in bfloat16.
        x = ops.cast(x, "float32")
        return ops.cast(resize_bilinear(x, reference), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        (batch, _, _, channels), (_, height, width, _) = input_shape
        return (batch, height, width, channels)
