"""The last epochs: averaged checkpoints and frozen statistics of BatchNormalization."""

import itertools
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from test_recipes import TINY as RECIPE
from trained import log_of

from keras_crosscbam.layers import BatchNormalization
from keras_crosscbam.models.weights_file import read_weights
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.distribution import find_workers
from keras_crosscbam.training.final_epochs import FreezeStatistics, average_with_checkpoints
from keras_crosscbam.training.keep_best import KeepBest
from keras_crosscbam.training.resumable import Run

RNG = np.random.default_rng(4)
IMAGES = RNG.normal(3, 2, (12, 4, 4, 3)).astype("float32")
TARGETS = RNG.normal(size=(12, 4, 4, 2)).astype("float32")


def network():
    image = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(4, 1, name="features")(image)
    normal = BatchNormalization(momentum=0.5, name="bn")(features)
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="scores")(normal))
    model.compile("sgd", "mse")
    return model


def values(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def mean(states):
    return [np.mean(arrays, axis=0) for arrays in zip(*states, strict=True)]


def assert_equal(actual, expected, **tolerance):
    for array, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(array, other, **{"rtol": 0, "atol": 0, **tolerance})


# Frozen statistics


class Statistics(keras.callbacks.Callback):
    """The statistics and the scale after each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        layer = self.model.get_layer("bn")
        weights = (layer.moving_mean, layer.moving_variance, layer.gamma)
        self.seen.append([keras.ops.convert_to_numpy(w).copy() for w in weights])


@pytest.mark.parametrize("initial_epoch", [0, 3])
def test_statistics_stay_from_an_epoch_on_and_the_rest_learns(initial_epoch):
    """Also in a training that is resumed after that epoch."""
    model, statistics = network(), Statistics()
    model.fit(
        IMAGES, TARGETS, batch_size=4, epochs=5, initial_epoch=initial_epoch, verbose=0,
        callbacks=[FreezeStatistics(2), statistics],
    )  # fmt: skip
    moved = [
        [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        for before, after in itertools.pairwise(statistics.seen)
    ]
    # From epoch to epoch, counted from 1: 1-2 moves, the later ones only learn the scale.
    expected = [[True, True, True]] + 3 * [[False, False, True]]
    assert moved == expected[initial_epoch:]


def test_frozen_statistics_train_the_network_of_inference():
    model = network()
    model.fit(IMAGES, TARGETS, batch_size=4, epochs=2, verbose=0)
    layer = model.get_layer("bn")
    features = keras.ops.convert_to_tensor(RNG.normal(size=(2, 4, 4, 4)).astype("float32"))

    def normalized(training):
        return keras.ops.convert_to_numpy(layer(features, training=training))

    inference = normalized(training=False)
    layer.frozen_statistics = True
    frozen = normalized(training=True)
    layer.frozen_statistics = False
    assert np.abs(normalized(training=True) - inference).max() > 1e-3
    np.testing.assert_allclose(frozen, inference, atol=1e-6)


# Averages


@pytest.fixture
def states(tmp_path):
    """Checkpoints of three states of one training, oldest first, and their weights."""
    model, checkpoints, found = network(), Checkpoints(tmp_path, keep=3), []
    for step in range(1, 4):
        model.fit(IMAGES, TARGETS, batch_size=4, verbose=0)
        checkpoints.save(model, step)
        found.append(values(model))
    return model, checkpoints, found


def test_the_mean_of_weights_and_statistics(states):
    model, checkpoints, found = states
    with average_with_checkpoints(model, checkpoints.intact(3)[1:]):
        assert_equal(values(model), mean(found), atol=1e-6)
    assert_equal(values(model), found[-1])
    with average_with_checkpoints(model, []):
        assert_equal(values(model), found[-1])


def test_own_weights_come_back_when_judging_fails(states):
    model, checkpoints, found = states
    with pytest.raises(RuntimeError), average_with_checkpoints(model, checkpoints.intact(3)[1:]):
        raise RuntimeError
    assert_equal(values(model), found[-1])


def test_damaged_checkpoints_are_not_averaged(states):
    _, checkpoints, _ = states
    newest, middle, oldest = checkpoints.intact(9)
    assert newest.name > middle.name > oldest.name
    middle.write_bytes(middle.read_bytes()[:-1] + b"x")
    assert checkpoints.intact(2) == [newest, oldest]
    assert checkpoints.intact(0) == []


def test_the_average_is_judged_and_kept(states, tmp_path):
    model, checkpoints, found = states
    seen = []

    def validation():
        seen.append(values(model))
        return {"score": 0.5}

    path = tmp_path / "best.weights.h5"
    others = checkpoints.intact(2)[1:]
    callback = KeepBest(validation, "score", model, path, 4, 1, checkpoints_of=lambda epoch: others)
    callback.set_model(model)
    callback.on_epoch_end(3, {})
    assert_equal(seen[0], mean(found[1:]), atol=1e-6)
    kept = network()
    kept.load_weights(path)
    assert_equal(values(kept), seen[0])
    assert_equal(values(model), found[-1])


def test_a_run_averages_after_its_last_epoch(tmp_path, caplog):
    recipe = replace(RECIPE, average_epochs=2)
    run = Run(tmp_path, recipe, 3, {"name": "made"}, find_workers())
    model = network()
    run.checkpoints.save(model, 3)
    assert run._averaged_with(0) == []
    assert run._averaged_with(1) == run.checkpoints.intact(1)
    for file in (tmp_path / "checkpoints").iterdir():
        file.unlink()
    assert run._averaged_with(1) == []
    assert "only 0 of the 1 checkpoints to average over" in caplog.text
    without = Run(tmp_path / "other", RECIPE, 3, {"name": "made"}, find_workers())
    assert without._averaged_with(1) == []


@pytest.mark.slow
def test_a_training_with_both(made_camvid, tmp_path):
    """Three epochs; what is kept is the mean of the last two checkpoints."""
    from trained import run
    from training_program import TINY

    phases = (TINY.phases[0],) * 3
    recipe = replace(TINY, phases=phases, average_epochs=2, freeze_batch_norm_epochs=1, keep="last")
    best = run(made_camvid, tmp_path / "run", recipe)
    checkpoints = sorted((tmp_path / "run/checkpoints").glob("step-*"))
    older, newer = (read_weights(file)[0] for file in checkpoints)
    for path, arrays in read_weights(best)[0].items():
        assert_equal(arrays, mean([older[path], newer[path]]), atol=1e-6)
        if path.endswith("/bn"):
            # Scale and offset have moved in the last epoch, the statistics have not.
            pairs = zip(older[path], newer[path], strict=True)
            assert [not np.array_equal(a, b) for a, b in pairs] == [True, True, False, False]
    with h5py.File(best) as file:
        assert file.attrs["score"] == pytest.approx(log_of(tmp_path / "run")[-1]["val_mean_iou"])


@pytest.mark.parametrize("field", ["average_epochs", "freeze_batch_norm_epochs"])
@pytest.mark.parametrize("epochs", [-1, 3])
def test_more_epochs_than_there_are_are_refused(field, epochs):
    with pytest.raises(ValueError, match=rf"`{field}` must be in 0..2, the number of epochs"):
        replace(RECIPE, **{field: epochs})


def test_two_averages_are_refused():
    with pytest.raises(ValueError, match=r"`ema` and `average_epochs` both average"):
        replace(RECIPE, ema=0.9, average_epochs=2)
