"""The dilated convolution for training is Keras' own: results, gradients, and where it is used."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_crosscbam.layers import ConvBNReLU
from keras_crosscbam.layers.dilated import dilated_convolution


def by_keras(inputs, kernel, rate):
    return ops.conv(inputs, kernel, padding="same", dilation_rate=rate)


def differentiate(convolve, inputs, kernel, rate, upstream):
    """The outputs, and the gradients of their weighted sum, for sizes unknown beforehand."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 5), inputs.dtype)])
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = convolve(inputs, kernel, rate)
        return outputs, *tape.gradient(outputs, [inputs, kernel], upstream)

    return [tf.cast(result, "float32").numpy() for result in run(inputs)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
@pytest.mark.parametrize(("side", "rate"), [(3, 2), (3, 3), (5, 2), (1, 2)])
def test_it_equals_that_of_keras(rng, dtype, tolerance, size, side, rate):
    def draw(*shape):
        return tf.cast(tf.constant(rng.normal(size=shape)), dtype)

    arguments = draw(2, *size, 5), draw(side, side, 5, 7), rate, draw(2, *size, 7)
    results = differentiate(dilated_convolution, *arguments)
    expected = differentiate(by_keras, *arguments)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=tolerance * abs(wanted).max())


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 5e-2)])
def test_a_layer_trains_as_if_keras_convolved(rng, monkeypatch, policy, tolerance):
    images = tf.constant(rng.normal(size=(2, 9, 12, 5)), "float32")
    layer = ConvBNReLU(6, 3, dilation_rate=3, dtype=policy)
    layer.build(images.shape)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.cast(layer(images, training=True), "float32") ** 3)
        return [g.numpy() for g in tape.gradient(loss, [w.value for w in layer.trainable_weights])]

    direct, used = gradients(), []

    def spy(*arguments):
        used.append(arguments)
        return by_keras(*arguments)

    monkeypatch.setattr("keras_crosscbam.layers.backend.dilated_convolution", spy)
    for result, wanted in zip(direct, gradients(), strict=True):
        np.testing.assert_allclose(result, wanted, atol=tolerance * abs(wanted).max())
    assert len(used) == 1
    layer(images, training=False)
    assert len(used) == 1, "inference is left to Keras"
