"""Fused batch normalization is Keras' own, but for its speed."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_crosscbam.layers import BatchNormalization

SHAPE = (3, 7, 5, 8)


def step(cls, images, policy="float32", training=True, **kwargs):
    """Output, gradients and statistics after one call of a layer with random weights."""
    layer = cls(momentum=0.9, epsilon=1e-5, dtype=policy, **kwargs)
    layer.build(SHAPE)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    weights = tf.constant(draw.normal(size=SHAPE), "float32")
    images = tf.cast(images, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") * weights)
    sources = [images, layer.gamma.value, layer.beta.value]
    results = [outputs, *tape.gradient(loss, sources), layer.moving_mean, layer.moving_variance]
    return outputs.dtype, [np.asarray(keras.ops.cast(r, "float32")) for r in results]


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.1), ("mixed_float16", 2e-2)]
)
@pytest.mark.parametrize("options", [{}, {"trainable": False}, {"training": False}])
def test_it_equals_that_of_keras(rng, policy, tolerance, options):
    images = rng.normal(1, 2, SHAPE)
    dtype, results = step(BatchNormalization, images, policy, **options)
    wanted_dtype, wanted = step(keras.layers.BatchNormalization, images, policy, **options)
    assert dtype == wanted_dtype
    for result, expected in zip(results, wanted, strict=True):
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_it_equals_that_of_keras_on_torch():
    pytest.importorskip("torch")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "torch",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    program = Path(__file__).with_name("backend_batch_norm.py")
    subprocess.run([sys.executable, program], env=environment, check=True)


def test_it_is_saved_and_loaded(tmp_path):
    inputs = keras.Input(SHAPE[1:])
    model = keras.Model(inputs, BatchNormalization(momentum=0.8)(inputs))
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").layers[-1]
    assert type(layer) is BatchNormalization
    assert layer.momentum == 0.8
