"""Batch normalization with the fused operations of TensorFlow and PyTorch."""

import keras
from keras import layers, ops

from keras_crosscbam.layers.backend import fused_batch_norm


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that uses one fused operation in training.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import BatchNormalization
        >>> layer = BatchNormalization()
        >>> tuple(layer(np.ones((2, 8, 8, 16)), training=True).shape)
        (2, 8, 8, 16)

    Keras computes mean, variance and result in separate steps, in float32. The fused operations
    of TensorFlow and PyTorch read the feature maps fewer times, and read half as many bytes in
    bfloat16. Weights, statistics and results equal those of Keras, except for rounding. In all
    other cases (JAX, inference, statistics synchronized over replicas) the layer calls Keras.

    Takes channels_last feature maps `(batch, height, width, channels)` and the arguments of
    `keras.layers.BatchNormalization`.

    Attributes:
        frozen_statistics: whether training normalizes by the moving statistics, as inference does,
            and does not update them. Scale and offset are still trained. A change takes effect
            in functions that are traced after it.
    """

    frozen_statistics = False

    def call(self, inputs, training=None, mask=None):
        training = training and not self.frozen_statistics
        fused = training and self.trainable and mask is None and not self.synchronized
        # PyTorch's operation raises an error for a single value per channel.
        fused = fused and any(side != 1 for side in inputs.shape[:-1])
        batch = fused_batch_norm(inputs, self.gamma, self.beta, self.epsilon) if fused else None
        if batch is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = batch
        # `variance` has Bessel's correction. Keras stores the variance without it.
        count = ops.cast(ops.size(inputs) / ops.size(mean), "float32")
        variance = variance * (count - 1) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)
