"""Batch normalization at the full speed of TensorFlow and PyTorch."""

import keras
from keras import layers, ops

from keras_crosscbam.layers.backend import fused_batch_norm


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, in training by one fused operation of the backend.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import BatchNormalization
        >>> layer = BatchNormalization()
        >>> tuple(layer(np.ones((2, 8, 8, 16)), training=True).shape)
        (2, 8, 8, 16)

    Keras computes mean, variance and result one after the other, in float32; the operations of
    TensorFlow and PyTorch read the feature maps fewer times, and in bfloat16 half as much each
    time. Weights, statistics and results are Keras', but for rounding. All else (JAX, inference,
    statistics synchronized over replicas) is left to Keras.

    Takes channels_last feature maps `(batch, height, width, channels)` and the arguments of
    `keras.layers.BatchNormalization`.

    Attributes:
        frozen_statistics: whether training normalizes by the moving statistics, as inference does,
            and leaves them as they are, while scale and offset are still learned. It holds for
            what is traced afterwards.
    """

    frozen_statistics = False

    def call(self, inputs, training=None, mask=None):
        training = training and not self.frozen_statistics
        fused = training and self.trainable and mask is None and not self.synchronized
        # PyTorch's operation refuses a single value per channel.
        fused = fused and any(side != 1 for side in inputs.shape[:-1])
        batch = fused_batch_norm(inputs, self.gamma, self.beta, self.epsilon) if fused else None
        if batch is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = batch
        # The variance comes with Bessel's correction, Keras keeps the one without.
        count = ops.cast(ops.size(inputs) / ops.size(mean), "float32")
        variance = variance * (count - 1) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)
