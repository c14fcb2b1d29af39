"""What a training judges, keeps, writes down and shows, and when it stops."""

import io
import math
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from test_checkpoints import files_up_to

from keras_crosscbam.training import (
    SegmentationCrossEntropy,
    SegmentationMeanIoU,
    callbacks,
)
from keras_crosscbam.training.callbacks import (
    EpochLog,
    LogAndCheckpoint,
    Progress,
    SeedDropout,
    StopOnNaN,
)
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.keep_best import KeepBest, best_score, ema_weights
from keras_crosscbam.training.segmentation import progress_scores


def compiled(optimizer=None, units=1):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, name="dense")])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def fill(model, number):
    model.set_weights([np.full_like(w, number) for w in model.get_weights()])


class Scores:
    """A judge that gives one score after the other and remembers the weights it saw."""

    def __init__(self, model, *scores):
        self.model, self.scores, self.seen = model, list(scores), []

    def __call__(self):
        self.seen.append(self.model.get_weights())
        return {"val_score": self.scores.pop(0), "val_other": 0.5}


def keep_best(model, path, scores, epochs, every=1):
    callback = KeepBest(Scores(model, *scores), "val_score", model, path, epochs, every)
    callback.set_model(model)
    return callback


# KeepBest


def test_only_better_weights_are_kept(tmp_path):
    model, path = compiled(), tmp_path / "best.weights.h5"
    callback = keep_best(model, path, [0.2, 0.5, 0.4, 0.5, 0.6], epochs=5)
    kept = []
    for epoch in range(5):
        fill(model, epoch)
        logs = {"loss": 1.0}
        callback.on_epoch_end(epoch, logs)
        assert logs.keys() == {"loss", "val_score", "val_other"}
        other = compiled()
        other.load_weights(path)
        kept.append((other.get_weights()[0].max(), best_score(path)))
    assert kept == [(0, 0.2), (1, 0.5), (1, 0.5), (1, 0.5), (4, 0.6)]
    assert [file.name for file in tmp_path.iterdir()] == ["best.weights.h5"]
    with h5py.File(path) as file:
        assert dict(file.attrs)["epoch"] == 5


@pytest.mark.parametrize(("every", "validated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_every_few_epochs_and_the_last_are_judged(tmp_path, every, validated):
    model = compiled()
    callback = keep_best(model, tmp_path / "best.weights.h5", [0.1] * 5, epochs=5, every=every)
    epochs = []
    for epoch in range(5):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        epochs += [epoch + 1] * ("val_score" in logs)
    assert epochs == validated


def test_a_resumed_training_has_to_beat_the_file(tmp_path):
    model, path = compiled(), tmp_path / "best.weights.h5"
    fill(model, 1)
    keep_best(model, path, [0.7], epochs=1).on_epoch_end(0, {})
    fill(model, 2)
    resumed = keep_best(model, path, [0.6, 0.8], epochs=3)
    resumed.on_epoch_end(1, {})
    assert best_score(path) == 0.7
    resumed.on_epoch_end(2, {})
    assert best_score(path) == 0.8


def test_nan_never_stays_the_best(tmp_path):
    """Neither within a training nor when one goes on that kept it."""
    nan, model, path = math.nan, compiled(), tmp_path / "best.weights.h5"
    callback = keep_best(model, path, [nan, 0.1, nan, 0.2], epochs=4)
    found = []
    for epoch in range(4):
        callback.on_epoch_end(epoch, {})
        found.append(best_score(path))
    assert found == [pytest.approx(nan, nan_ok=True), 0.1, 0.1, 0.2]
    keep_best(model, other := tmp_path / "other.weights.h5", [nan], epochs=1).on_epoch_end(0, {})
    keep_best(model, other, [0.3], epochs=2).on_epoch_end(1, {})
    assert best_score(other) == 0.3


def test_without_a_path_it_judges_and_keeps_nothing():
    logs = {}
    keep_best(compiled(), None, [0.7], epochs=1).on_epoch_end(0, logs)
    assert logs["val_score"] == 0.7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_may_not_grow_leaves_the_best_before(tmp_path):
    model, path = compiled(units=20_000), tmp_path / "best.weights.h5"
    callback = keep_best(model, path, [0.1, 0.2], epochs=2)
    callback.on_epoch_end(0, {})
    before = path.read_bytes()
    with files_up_to(50_000), pytest.raises(RuntimeError) as raised:
        callback.on_epoch_end(1, {})
    assert str(raised.value).startswith(f"{path} cannot be written (File too large). Fix this")
    assert str(raised.value).endswith("it resumes from the last checkpoint.")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"no HDF5"]
)
def test_a_damaged_file_of_weights_is_named(tmp_path, damage):
    model, path = compiled(), tmp_path / "best.weights.h5"
    keep_best(model, path, [0.7], epochs=1).on_epoch_end(0, {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"best\.weights\.h5 is damaged \(.*Remove it"):
        best_score(path)


def test_weights_without_a_score_are_none_of_ours(tmp_path):
    path = tmp_path / "best.weights.h5"
    compiled().save_weights(path)
    with pytest.raises(ValueError, match=r"best\.weights\.h5 is damaged"):
        best_score(path)
    assert best_score(tmp_path / "none.weights.h5") is None


def test_callbacks_of_keras_follow_the_score_that_the_training_is_judged_by(tmp_path):
    """Two heads, as in `train`: the score comes from the judge, its direction from the metric."""
    image = keras.Input((4, 4, 3))
    heads = {name: keras.layers.Dense(3, name=name)(image) for name in ("main", "aux")}
    model = keras.Model(image, heads)
    model.compile(
        keras.optimizers.SGD(1e-3),
        loss=dict.fromkeys(heads, SegmentationCrossEntropy()),
        metrics={"main": [SegmentationMeanIoU(3)]},
    )
    scores = iter((0.2, 0.5, 0.4, 0.6))

    def validation():
        return {"val_mean_iou": next(scores)}

    images, labels = np.zeros((2, 4, 4, 3), "float32"), np.zeros((2, 4, 4), np.uint8)
    keep = KeepBest(validation, "val_mean_iou", model, tmp_path / "best.weights.h5", 4, 1)
    stop = keras.callbacks.EarlyStopping("val_mean_iou", restore_best_weights=True)
    slow = keras.callbacks.ReduceLROnPlateau("val_mean_iou", factor=0.5, patience=1)
    history = model.fit(
        images, dict.fromkeys(heads, labels), epochs=4, callbacks=[keep, stop, slow], verbose=0
    )
    assert history.history["val_mean_iou"] == [0.2, 0.5, 0.4]
    assert (stop.best, stop.best_epoch, keep.best) == (0.5, 1, 0.5)
    assert float(model.optimizer.learning_rate) == pytest.approx(5e-4)


# Averaged weights


def averaging(scaled):
    optimizer = keras.optimizers.SGD(0.3, use_ema=True, ema_momentum=0.9)
    return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer


@pytest.fixture(params=[False, True], ids=["plain", "loss scaling"])
def trained(request):
    """A model whose averaged weights differ from its own, and both."""
    model = compiled(averaging(request.param), units=3)
    rng = np.random.default_rng(3)
    for _ in range(4):
        model.train_on_batch(rng.normal(size=(4, 2)), rng.normal(size=(4, 3)))
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = [keras.ops.convert_to_numpy(a) for a in inner._model_variables_moving_average]
    raw = model.get_weights()
    assert all(np.abs(a - r).max() > 1e-3 for a, r in zip(averages, raw, strict=True))
    return model, raw, averages


def assert_equal(actual, expected):
    for array, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def test_averaged_weights_are_judged_and_kept_and_the_raw_ones_go_on(trained, tmp_path):
    model, raw, averages = trained
    callback = keep_best(model, tmp_path / "best.weights.h5", [0.5], epochs=1)
    callback.on_epoch_end(0, {})
    assert_equal(callback.validation.seen[0], averages)
    assert_equal(model.get_weights(), raw)
    kept = compiled(units=3)
    kept.load_weights(tmp_path / "best.weights.h5")
    assert_equal(kept.get_weights(), averages)


def test_raw_weights_come_back_when_judging_fails(trained):
    model, raw, averages = trained
    callback = keep_best(model, None, scores=[], epochs=1)
    with pytest.raises(IndexError):
        callback.on_epoch_end(0, {})
    assert_equal(callback.validation.seen[0], averages)
    assert_equal(model.get_weights(), raw)


def test_without_averages_the_weights_are_judged_as_they_are():
    model = compiled()
    weights = model.get_weights()
    with ema_weights(model):
        assert_equal(model.get_weights(), weights)


# StopOnNaN


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_loss_names_step_rate_and_files(bad):
    """In a real `fit`: the sixth batch of three an epoch, counted from 1."""
    model = compiled(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)))
    x, y = np.ones((18, 2), "float32"), np.zeros((18, 1), "float32")
    y[16] = bad

    def batches():
        for first in range(0, 18, 3):
            yield x[first : first + 3], y[first : first + 3]

    asked = []

    def files_of(step):
        asked.append(step)
        return [f"frames/{frame}.png" for frame in range(3 * step, 3 * step + 3)]

    with pytest.raises(RuntimeError) as raised:
        model.fit(
            batches(), steps_per_epoch=3, epochs=2, callbacks=[StopOnNaN(3, files_of)], verbose=0
        )
    message = str(raised.value)
    assert message.startswith(
        f"The loss became {float(bad)} at step 6, at a learning rate of 0.0435."
    )
    assert "The batch: frames/15.png, frames/16.png, frames/17.png." in message
    assert asked == [5]


def test_a_finite_loss_passes():
    callback = StopOnNaN(2, files_of=None)
    callback.on_epoch_begin(0)
    for logs in ({"loss": 1e30}, {"loss": 0.0}, {}, None):
        callback.on_train_batch_end(0, logs)


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, in place of `time.perf_counter`."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def train(progress, clock, epochs, steps, seconds, first=0):
    """Two seconds of compiling, then steps and, behind each epoch, a validation without length."""
    for epoch in range(first, epochs):
        progress.on_epoch_begin(epoch)
        for step in range(steps):
            clock.seconds += 2 if (epoch, step) == (first, 0) else seconds
            progress.on_train_batch_end(step, {"loss": 1 / (step + 1), "acc": 0.25})
        logs = {"loss": 0.5, "acc": 0.25}
        if epoch + 1 == epochs:
            logs["val_score"] = 0.66463
        progress.on_epoch_end(epoch, logs)


SCORES = {"mIoU": "acc", "val mIoU": "val_score"}


def test_each_epoch_leaves_a_line_in_a_file(clock):
    stream = io.StringIO()
    train(Progress(2, 4, 8, SCORES, stream), clock, epochs=2, steps=4, seconds=0.5)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  step 4/4  loss 0.5000  mIoU 25.00 %  16.0 images/s  0:00:02 left",
        "epoch 2/2  step 4/4  loss 0.5000  mIoU 25.00 %  val mIoU 66.46 %  16.0 images/s"
        "  0:00:00 left",
    ]


def test_a_mean_says_over_how_many_classes_it_is():
    stream = io.StringIO()
    logs = {"loss": 0.5, "main_mean_iou": 0.25, "val_mean_iou": 1.0, "val_classes_in_mean": 2}
    progress = Progress(1, 4, 8, progress_scores(classes=3), stream)
    progress.on_epoch_begin(0)
    progress.on_epoch_end(0, logs)
    expected = "loss 0.5000  mIoU 25.00 %  val mIoU over 2 of 3 classes 100.00 %"
    assert expected in stream.getvalue()


def test_a_terminal_shows_every_step_in_one_place(clock):
    stream = Terminal()
    train(Progress(2, 3, 4, {}, stream), clock, epochs=2, steps=3, seconds=1800)
    text = stream.getvalue()
    # Steps overwrite each other; an epoch ends its line.
    assert text.count("\r\x1b[K") == 8
    assert [len(line.split("\r\x1b[K")) - 1 for line in text.split("\n")] == [4, 4, 0]
    shown = text.replace("\n", "").split("\r\x1b[K")[1:]
    assert shown[0] == "epoch 1/2  step 1/3  loss 1.0000"  # no speed yet: it compiled
    assert shown[1].startswith("epoch 1/2  step 2/3  loss 0.5000  0.0 images/s  2:00:00 left")
    assert shown[6].endswith("0:00:00 left")


def test_a_resumed_training_counts_from_where_it_is(clock):
    stream = io.StringIO()
    train(Progress(5, 2, 1, {}, stream), clock, epochs=4, steps=2, seconds=1, first=3)
    assert stream.getvalue() == "epoch 4/5  step 2/2  loss 0.5000  1.0 images/s  0:00:02 left\n"


def test_standard_output_is_the_default(capsys, clock):
    train(Progress(1, 1, 1, {}), clock, epochs=1, steps=1, seconds=1)
    assert capsys.readouterr().out == "epoch 1/1  step 1/1  loss 0.5000\n"


# Record


def test_an_epoch_is_logged_then_counted_as_done(tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 6, 0.0)
    model, other = (compiled(keras.optimizers.SGD(schedule)) for _ in range(2))
    checkpoints, log = Checkpoints(tmp_path / "checkpoints"), EpochLog(tmp_path / "log.csv")
    x, y = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
    record = LogAndCheckpoint(log, checkpoints, 3, 2)
    model.fit(x, y, batch_size=2, epochs=2, callbacks=[record], verbose=0, shuffle=False)
    rows = EpochLog(log.path).rows
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0], abs=1e-6)
    assert all(row["images_per_second"] > 0 and math.isfinite(row["loss"]) for row in rows)
    step, file = checkpoints.newest()
    assert step == 6
    other.load_weights(file)
    assert_equal(other.get_weights(), model.get_weights())
    assert int(other.optimizer.iterations) == 6


def test_speed_leaves_out_the_first_step(tmp_path, clock):
    record = LogAndCheckpoint(EpochLog(tmp_path / "log.csv"), Checkpoints(tmp_path / "c"), 3, 10)
    record.set_model(compiled())
    record.on_epoch_begin(0)
    for seconds in (60, 2, 2):
        clock.seconds += seconds
        record.on_train_batch_end(0)
    clock.seconds += 1000  # a validation
    record.on_epoch_end(0, {"loss": 0.5})
    assert record.log.rows[0]["images_per_second"] == pytest.approx(5)


def test_one_step_has_no_speed(tmp_path):
    record = LogAndCheckpoint(EpochLog(tmp_path / "log.csv"), Checkpoints(tmp_path / "c"), 1, 10)
    record.set_model(compiled())
    record.on_epoch_begin(0)
    record.on_train_batch_end(0)
    record.on_epoch_end(0, {"loss": 0.5})
    assert "images_per_second" not in record.log.rows[0]


# SeedDropout


def test_dropout_of_an_epoch_depends_on_seed_epoch_and_layer_alone():
    image = keras.Input((1000,))
    dropped = [keras.layers.Dropout(0.5)(image) for _ in range(2)]
    model = keras.Model(image, dropped)
    x = np.ones((1, 1000), "float32")

    def masks(seed, epoch):
        callback = SeedDropout(seed)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        return tuple(keras.ops.convert_to_numpy(y).tobytes() for y in model(x, training=True))

    first = masks(0, 3)
    assert first[0] != first[1]
    model(x, training=True)  # whatever was drawn meanwhile
    assert masks(0, 3) == first
    assert not {*first} & {*masks(0, 4)}
    assert not {*first} & {*masks(7, 3)}
