"""Batch normalization at TensorFlow's full speed."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, in training on TensorFlow by one fused operation.

        >>> import numpy as np
        >>> from keras_crosscbam.layers import BatchNormalization
        >>> layer = BatchNormalization()
        >>> tuple(layer(np.ones((2, 8, 8, 16)), training=True).shape)
        (2, 8, 8, 16)

    Keras computes mean, variance and result one after the other, in float32; TensorFlow's own
    operation reads the feature maps fewer times, and in bfloat16 half as much each time. Weights,
    statistics and results are Keras', but for rounding. All else (other backends, inference,
    statistics synchronized over replicas) is left to Keras.

    Takes channels_last feature maps `(batch, height, width, channels)` and the arguments of
    `keras.layers.BatchNormalization`.
    """

    def call(self, inputs, training=None, mask=None):
        fused = training and self.trainable and mask is None and not self.synchronized
        if keras.backend.backend() != "tensorflow" or not fused:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        # It returns the variance with Bessel's correction, Keras keeps the one without.
        count = tf.cast(tf.size(inputs) / tf.size(mean), "float32")
        variance = variance * (count - 1) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)
