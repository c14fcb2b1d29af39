"""Batch normalization at the full speed of TensorFlow and PyTorch."""

import keras
from keras import layers, ops


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
        normalize = _FUSED.get(keras.backend.backend())
        fused = training and self.trainable and mask is None and not self.synchronized
        # PyTorch's operation refuses a single value per channel.
        fused = fused and any(side != 1 for side in inputs.shape[:-1])
        if normalize is None or not fused:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = normalize(inputs, self.gamma, self.beta, self.epsilon)
        # The variance comes with Bessel's correction, Keras keeps the one without.
        count = ops.cast(ops.size(inputs) / ops.size(mean), "float32")
        variance = variance * (count - 1) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)


def _by_tensorflow(inputs, gamma, beta, epsilon):
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=epsilon,
    )
    return outputs, mean, variance


def _by_torch(inputs, gamma, beta, epsilon):
    import torch

    # With a momentum of 1 the running statistics become those of the batch.
    mean, variance = (torch.zeros_like(gamma.value, requires_grad=False) for _ in range(2))
    outputs = torch.nn.functional.batch_norm(
        torch.movedim(inputs, -1, 1),  # the memory stays as it is
        mean,
        variance,
        gamma.value,
        beta.value,
        training=True,
        momentum=1.0,
        eps=epsilon,
    )
    return torch.movedim(outputs, 1, -1), mean, variance


_FUSED = {"tensorflow": _by_tensorflow, "torch": _by_torch}
