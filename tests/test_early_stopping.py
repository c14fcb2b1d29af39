"""A training that does not improve ends early, interrupted or not, and users' callbacks run."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import assert_same_arrays, log_of, run
from training_program import TINY

from keras_crosscbam import cli
from keras_crosscbam.tf_data import tf
from keras_crosscbam.training import PRETRAINING_RECIPES, Phase
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.classification import pretrain
from keras_crosscbam.training.distribution import Workers
from keras_crosscbam.training.early_stopping import EarlyStopping
from keras_crosscbam.training.resumable import open_run

SCORE = "val_mean_iou"


def epochs_of(scores, patience, rows=()):
    """Epochs that are trained of a number of scores; None is an epoch without validation."""
    rows = [{SCORE: score} if score is not None else {} for score in rows]
    callback = EarlyStopping(rows, SCORE, patience, Workers())
    callback.set_model(keras.Model())
    callback.model.stop_training = False
    for epoch, score in enumerate(scores, start=1):
        callback.on_epoch_end(epoch - 1, {} if score is None else {SCORE: score})
        if callback.model.stop_training:
            return epoch
    return len(scores)


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [
        ([0.1, 0.2, 0.2, 0.3, 0.3, 0.1, 0.9], 2, 6),  # an equal score is none better
        ([0.1, None, None, 0.1, None, 0.1, 0.1], 2, 6),  # validations count, not epochs
        ([np.nan, np.nan, np.nan, 0.1], 2, 3),
        ([np.nan, 0.1, np.nan, 0.2, 0.1], 2, 5),
        ([0.3, 0.1, 0.1, 0.1], 0, 4),
        ([0.3, 0.1, 0.1], 3, 3),
        ([0.3, 0.3 + 1e-9, 0.3 + 2e-9], 2, 3),  # the log has seven digits
    ],
)
def test_the_epoch_that_a_training_stops_after(scores, patience, epochs):
    assert epochs_of(scores, patience) == epochs


@settings(deadline=None, max_examples=50)
@given(
    scores=st.lists(st.none() | st.floats(0, 1) | st.just(np.nan), max_size=12),
    patience=st.integers(1, 4),
    data=st.data(),
)
def test_a_training_resumed_from_its_log_stops_after_the_same_epoch(
    tmp_path_factory, scores, patience, data
):
    epochs = epochs_of(scores, patience)
    interrupted = data.draw(st.integers(0, max(epochs - 1, 0)))
    file = tmp_path_factory.mktemp("log") / "log.csv"
    log = EpochLog(file)
    for epoch, score in enumerate(scores[:interrupted], start=1):
        log.add({"epoch": epoch} | ({} if score is None else {SCORE: score}))
    written = [row.get(SCORE) for row in EpochLog(file).rows]
    assert len(written) == interrupted
    assert interrupted + epochs_of(scores[interrupted:], patience, written) == epochs


# One epoch after the other of a linear model, in the folder of a real run.

RECIPE = replace(TINY, phases=(Phase(6, (48, 64)),), early_stopping=2)
SCORES = (0.1, 0.4, 0.3, 0.4, 0.5, 0.6)


def linear_model():
    features = keras.Input((2,))
    return keras.Model(features, keras.layers.Dense(1)(features))


def fit(out, recipe=RECIPE, extra=()):
    """Runs or resumes a training with these scores; returns the epochs in its log."""
    inputs, targets = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    with open_run(out, recipe, 2, {"name": "made"}, Workers()) as run:
        epochs = iter(range(run.step // 2, 6))
        model = run.build(linear_model)
        run.compile(model, loss="mse")
        run.fit(
            model,
            lambda shard: tf.data.Dataset.from_tensors((inputs, targets)).repeat(),
            validation=lambda: {SCORE: SCORES[next(epochs)]},
            monitor=SCORE,
            model_to_save=model,
            files_of=None,
            scores={},
            extra=extra,
        )
    return [row["epoch"] for row in log_of(out)]


class Interrupt(keras.callbacks.Callback):
    """Ends the process's training within an epoch, counted from 0."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path, capsys, epoch):
    assert fit(tmp_path / "whole") == [1, 2, 3, 4]
    assert "stopped early after 2 consecutive validations" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "resumed", extra=[Interrupt(epoch)])
    assert fit(tmp_path / "resumed") == [1, 2, 3, 4]
    whole, resumed = (tmp_path / name / "best.weights.h5" for name in ("whole", "resumed"))
    assert_same_arrays(whole, resumed)
    capsys.readouterr()
    assert fit(tmp_path / "whole") == [1, 2, 3, 4]
    assert "already finished, 4 of 6 epochs. Nothing to train" in capsys.readouterr().out


def test_without_early_stopping_all_epochs_are_trained(tmp_path):
    assert fit(tmp_path, replace(RECIPE, early_stopping=0)) == [1, 2, 3, 4, 5, 6]


def test_the_command_sets_the_field_of_the_recipe(made_camvid, tmp_path, monkeypatch):
    given = []

    def train(train_set, val_set, recipe, out):
        given.append(recipe.early_stopping)

    monkeypatch.setattr("keras_crosscbam.training.train", train)
    words = ["train", "--data", str(made_camvid), "--out", str(tmp_path)]
    assert cli.main([*words, "--early-stopping", "3"]) == 0
    assert cli.main(words) == 0
    assert given == [3, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"early_stopping": -1}, r"`early_stopping` must be a whole number of at least 0"),
        ({"early_stopping": 2, "keep": "last"}, "set one of them"),
        (
            {"early_stopping": 2, "average_epochs": 1},
            r"`average_epochs` applies to the last",
        ),
        ({"early_stopping": 2, "freeze_batch_norm_epochs": 1}, "`freeze_batch_norm_epochs`"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


# Users' callbacks


class Recorded(keras.callbacks.Callback):
    """Notes what is there at the end of an epoch, and adds a figure to the logs."""

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        written = len(EpochLog(self.out / "log.csv").rows)
        self.seen.append((epoch, SCORE in logs, written))
        logs["mine"] = 7 + epoch


def test_users_callbacks_run_between_validation_and_log(tmp_path):
    recorded = Recorded(tmp_path)
    recipe = replace(RECIPE, phases=(Phase(2, (48, 64)),), validation_freq=2)
    fit(tmp_path, recipe, extra=[recorded])
    assert recorded.seen == [(0, False, 0), (1, True, 1)]
    assert [row["mine"] for row in log_of(tmp_path)] == [7, 8]


@pytest.mark.parametrize("callbacks", [keras.callbacks.TerminateOnNaN(), ["tensorboard"], None])
def test_callbacks_must_be_a_list_of_them(made_camvid, tmp_path, callbacks):
    with pytest.raises(ValueError, match=r"`callbacks` must be a list.*Received: "):
        run(made_camvid, tmp_path, callbacks=callbacks)
    recipe = PRETRAINING_RECIPES["imagenet20-stdc1"]
    with pytest.raises(ValueError, match=r"`callbacks` must be a list.*Received: "):
        pretrain(None, None, recipe, tmp_path, callbacks=callbacks)
    assert not list(tmp_path.iterdir())
