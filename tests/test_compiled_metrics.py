"""The variables of losses and metrics exist before the first step, which is traced once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_crosscbam.training import SegmentationCrossEntropy, SegmentationMeanIoU, SegmentationOHEM
from keras_crosscbam.training.compiled_metrics import build_metrics


def segmentation():
    image = keras.Input((None, None, 3))
    heads = {name: keras.layers.Conv2D(4, 1, name=name)(image) for name in ("main", "aux")}
    model = keras.Model(image, heads)
    losses = {"main": SegmentationOHEM(), "aux": SegmentationCrossEntropy([1, 2, 3, 4])}
    model.compile("sgd", losses, metrics={"main": [SegmentationMeanIoU(4)]})
    labels = np.random.default_rng(0).integers(0, 4, (6, 8, 8)).astype(np.uint8)
    return model, dict.fromkeys(heads, labels)


def classification():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(image)))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model, np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]


@pytest.mark.parametrize("make", [segmentation, classification])
def test_the_step_is_traced_once_and_its_results_stay_the_same(make, monkeypatch):
    traces, train_step = [], keras.Model.train_step
    monkeypatch.setattr(
        keras.Model, "train_step", lambda self, data: traces.append(1) or train_step(self, data)
    )
    results = []
    for built in (False, True):
        keras.utils.set_random_seed(1)
        model, labels = make()
        images = np.random.default_rng(1).normal(size=(6, 8, 8, 3)).astype(np.float32)
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
        if built:
            build_metrics(model, batches.element_spec[1])
            traces.clear()
        results.append(model.fit(batches, epochs=2, shuffle=False, verbose=0).history)
    assert len(traces) == 1
    assert results[0].keys() == results[1].keys()
    for name, values in results[0].items():
        np.testing.assert_allclose(results[1][name], values, rtol=1e-6, err_msg=name)
