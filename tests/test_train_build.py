"""`train(build=...)` trains a network that is not of this package as it trains its own."""

import dataclasses
import functools
import logging

import keras
import numpy as np
import pytest
from trained import assert_same_arrays, log_of, run
from training_program import TINY

import keras_crosscbam as kc
from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.training import Phase

SHORT = dataclasses.replace(TINY, architecture={}, phases=(Phase(1, (32, 48)),), steps_per_epoch=2)


def small(filters, input_shape, classes):
    """A network of two convolutions."""
    image = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(filters, 3, strides=4, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(len(classes), 1, name="second")(x)
    return keras.Model(image, ResizeLike(name="resize")([x, image]), name="small")


class Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_with_the_same_weights(made_camvid, tmp_path):
    recipe = dataclasses.replace(SHORT, phases=(Phase(2, (32, 48)),), steps_per_epoch=1)
    build = functools.partial(small, 4)
    expected = run(made_camvid, tmp_path / "whole", recipe, build=build)
    with pytest.raises(KeyboardInterrupt):
        run(made_camvid, tmp_path / "parts", recipe, build=build, callbacks=[Interruption()])
    resumed = run(made_camvid, tmp_path / "parts", recipe, build=build)
    assert [row["epoch"] for row in log_of(tmp_path / "parts")] == [1, 2]
    assert_same_arrays(resumed, expected)


def test_another_network_is_trained_saved_and_kept(made_camvid, tmp_path):
    build = functools.partial(small, 4)
    best = run(made_camvid, tmp_path, SHORT, build=build)
    keras.utils.set_random_seed(SHORT.seed)
    fresh = small(4, (None, None, 3), range(11))
    trained = small(4, (None, None, 3), range(11))
    trained.load_weights(best)
    # The kernels are those of the recipe's seed, after two steps.
    difference = np.abs(fresh.get_layer("first").kernel - trained.get_layer("first").kernel).max()
    assert 0 < difference < 0.01
    (row,) = log_of(tmp_path)
    val_set = kc.datasets.load_camvid(made_camvid, "val")
    scores = kc.evaluate(trained, val_set)
    assert row["val_mean_iou"] == pytest.approx(scores["mean_iou"], abs=1e-6)

    # Again: finished, with nothing to train; another network or that of the recipe is refused.
    before = best.read_bytes()
    run(made_camvid, tmp_path, SHORT, build=build)
    for other in (functools.partial(small, 5), None):
        with pytest.raises(ValueError, match=r"a run with other data \(network "):
            run(made_camvid, tmp_path, SHORT, build=other)
    assert best.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"architecture": {"alpha": 0.5}}, "architecture"),
        ({"backbone_weights": "imagenet20"}, "backbone_weights"),
        ({"weights": "camvid", "backbone_rate": 0.1}, "backbone_rate, weights"),
        ({"narrowed_from": "imagenet20"}, "narrowed_from"),
    ],
)
def test_a_recipe_with_a_network_of_its_own_is_refused(made_camvid, tmp_path, changes, received):
    recipe = dataclasses.replace(SHORT, **changes)
    with pytest.raises(ValueError, match=rf"must leave out .*Received: {received}$"):
        run(made_camvid, tmp_path, recipe, build=functools.partial(small, 4))
    assert not list(tmp_path.iterdir())


def test_folders_of_earlier_versions_are_resumed(made_camvid, tmp_path, caplog):
    recipe = dataclasses.replace(TINY, phases=(Phase(1, (32, 48)),), steps_per_epoch=1)
    run(made_camvid, tmp_path, recipe)
    file = tmp_path / "run.json"
    written = file.read_text()
    assert '"network": null' in written
    file.write_text(written.replace('"network": null', '"left_out": []'))
    with caplog.at_level(logging.WARNING):
        run(made_camvid, tmp_path, recipe)
    assert "which did not record network" in caplog.text


def sequential(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Conv2D(len(classes), 1)])


class Subclass(keras.Model):
    """A model whose layers are only known when it is called."""


def test_a_sequential_model_is_trained(made_camvid, tmp_path):
    best = run(made_camvid, tmp_path, SHORT, build=sequential)
    model = kc.models.surgery.as_functional(sequential((None, None, 3), range(11)))
    model.load_weights(best)
    scores = kc.evaluate(model, kc.datasets.load_camvid(made_camvid, "val"))
    assert log_of(tmp_path)[-1]["val_mean_iou"] == pytest.approx(scores["mean_iou"], abs=1e-6)


def test_a_model_without_known_inputs_is_refused(made_camvid, tmp_path):
    with pytest.raises(ValueError, match=r"`build` must return .* Received: Subclass"):
        run(made_camvid, tmp_path, SHORT, build=lambda *_: Subclass())
