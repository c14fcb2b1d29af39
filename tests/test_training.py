"""Training: overfitting real frames in plain Keras, and recipes that survive interruptions."""

import csv
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import asdict, replace

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from keras_crosscbam import CrossCBAM
from keras_crosscbam.datasets import IGNORE, load_camvid
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.training import (
    RECIPES,
    Phase,
    Recipe,
    SegmentationCrossEntropy,
    SegmentationMeanIoU,
)
from keras_crosscbam.training.fit import MONITOR, SaveBest, class_weights, phased_batches, train

# Two epochs of three steps, each epoch a phase of its own.
TINY = Recipe(
    name="tiny",
    variant="M",
    phases=(Phase(1, (64, 64)), Phase(1, (48, 80))),
    batch_size=2,
    warmup_steps=2,
    seed=5,
)


# Plain Keras


def test_fit_overfits_ten_real_frames(data_root):
    """The acceptance test of network, loss and metric: compile, fit, predict, nothing else."""
    frames = load_camvid(data_root / "camvid-480x360", "train").subset(range(0, 360, 36))
    # One crop of each frame, at twice its size: logits are made at 1/8 of the input, and so small
    # an input should not consist of edges.
    crops = training_batches(
        frames, (96, 128), batch_size=10, scale_range=(2, 2), photometric=False, epochs=1
    )
    ((images, labels),) = crops.as_numpy_iterator()
    model = CrossCBAM("stdc1", (96, 128, 3), num_classes=11, dropout_rate=0.0)
    model.compile(
        keras.optimizers.Adam(3e-3),
        SegmentationCrossEntropy(),
        metrics=[SegmentationMeanIoU(11)],
    )
    history = model.fit(images, labels, batch_size=10, epochs=70, verbose=0).history
    right = model.predict(images, verbose=0).argmax(axis=-1) == labels
    accuracy = right[labels != IGNORE].mean()
    print(f"pixel accuracy {accuracy:.4f}, training mean IoU {history['mean_iou'][-1]:.4f}")
    assert accuracy > 0.95


# Recipes


@pytest.fixture(scope="session")
def made_camvid(tmp_path_factory):
    """Six frames to learn from and two to judge by, in SegNet's layout."""
    root, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split, frames in (("train", 6), ("val", 2)):
        lines = []
        for i in range(frames):
            # Blocks of 11 classes and void, each with its own grey, and noise.
            ids = rng.integers(0, 12, (5, 6), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            image = 20 * ids[..., None] + rng.integers(0, 20, (*ids.shape, 3), np.uint8)
            for folder, array in ((split, image), (f"{split}annot", ids)):
                (root / folder).mkdir(exist_ok=True)
                Image.fromarray(array).save(root / folder / f"{i}.png")
            lines.append(f"{split}/{i}.png {split}annot/{i}.png\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def run(root, out, recipe=TINY, **kwargs):
    sets = [load_camvid(root, split) for split in ("train", "val")]
    return train(*sets, recipe, out, validation_freq=1, verbose=0, **kwargs)


@pytest.fixture(scope="session")
def undisturbed(made_camvid, tmp_path_factory):
    """The folder of a run from beginning to end."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run(made_camvid, out) == out / "model.weights.h5"
    return out


def run_until_killed(root, out):
    """A run whose process dies, with no chance to tidy up, in the middle of the second epoch."""

    def kill(callback, batch, logs=None):
        if callback.model.optimizer.iterations == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    keras.callbacks.CSVLogger.on_train_batch_end = kill
    run(root, out)


@pytest.fixture(scope="session")
def killed(made_camvid, tmp_path_factory):
    """The folder of the same run as `undisturbed`, as its killed process left it behind."""
    out = tmp_path_factory.mktemp("runs") / "killed"
    # Spawned, not forked: TensorFlow does not survive a fork.
    process = multiprocessing.get_context("spawn").Process(
        target=run_until_killed, args=(made_camvid, out)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return out


def arrays_of(file):
    """All arrays of a weights file, those of the optimizer included, by their paths."""
    found = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda path, item: found.update({path: item[()]} if hasattr(item, "shape") else {})
        )
    assert found
    return found


def assert_same_arrays(file, other, atol=0):
    actual, expected = arrays_of(file), arrays_of(other)
    assert actual.keys() == expected.keys()
    differences = {path: np.abs(actual[path] - array).max() for path, array in expected.items()}
    worst = max(differences, key=differences.get)
    print(f"{file.name}: max difference {differences[worst]:.1e} at {worst}")
    assert differences[worst] <= atol


def log_of(out):
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_recipe_log_and_weights(undisturbed):
    # Through JSON, as tuples become lists.
    recipe = json.loads(json.dumps(asdict(TINY)))
    assert json.loads((undisturbed / "recipe.json").read_text()) == recipe
    assert [row["epoch"] for row in log_of(undisturbed)] == ["0", "1"]
    for row in log_of(undisturbed):
        assert 0 <= float(row["val_main_mean_iou"]) <= 1
        assert np.isfinite(float(row["loss"]))
    assert (undisturbed / "best.weights.h5").is_file()


def test_the_final_weights_are_the_best_without_the_auxiliary_head(undisturbed, made_camvid):
    final = CrossCBAM(
        input_shape=(80, 96, 3), num_classes=11, weights=undisturbed / "model.weights.h5"
    )
    val = load_camvid(made_camvid, "val")
    metric = SegmentationMeanIoU(11)
    for i in range(len(val)):
        image, labels = val[i]
        metric.update_state(labels[None], final.predict(image[None], verbose=0))
    best = max(float(row["val_main_mean_iou"]) for row in log_of(undisturbed))
    assert float(metric.result()) == pytest.approx(best, abs=2e-3)


def test_the_same_seed_gives_the_same_weights(undisturbed, killed):
    """Two processes agree to the last bit, the optimizer's state included, after an epoch."""
    assert_same_arrays(
        killed / "backup/latest.weights.h5", undisturbed / "backup/latest.weights.h5.bkp"
    )


def test_a_resumed_run_equals_an_undisturbed_one(undisturbed, killed, made_camvid, tmp_path):
    resumed = shutil.copytree(killed, tmp_path / "resumed")
    run(made_camvid, resumed)
    assert [row["epoch"] for row in log_of(resumed)] == ["0", "1"]
    for file in ("model.weights.h5", "backup/latest.weights.h5"):
        assert_same_arrays(resumed / file, undisturbed / file, atol=1e-6)


def test_a_finished_run_is_not_run_again(undisturbed, made_camvid, tmp_path):
    again = shutil.copytree(undisturbed, tmp_path / "again")
    assert run(made_camvid, again) == again / "model.weights.h5"
    assert log_of(again) == log_of(undisturbed)
    for file in ("model.weights.h5", "backup/latest.weights.h5"):
        assert_same_arrays(again / file, undisturbed / file)


def test_a_folder_of_another_recipe_is_refused(undisturbed, made_camvid):
    with pytest.raises(ValueError, match="undisturbed holds a run of another recipe"):
        run(made_camvid, undisturbed, replace(TINY, seed=6))


def test_training_starts_from_given_weights(undisturbed, made_camvid, tmp_path, monkeypatch):
    def fit(model, *args, **kwargs):
        """No step at all: the start is what is kept as the best."""
        model.save_weights(tmp_path / "best.weights.h5")

    monkeypatch.setattr(keras.Model, "fit", fit)
    start = undisturbed / "model.weights.h5"
    assert_same_arrays(run(made_camvid, tmp_path, weights=start), start)


def test_unknown_weights_leave_the_dtype_policy_alone(made_camvid, tmp_path):
    mixed = replace(TINY, dtype_policy="mixed_float16")
    with pytest.raises(ValueError, match="No weights 'nonsense'"):
        run(made_camvid, tmp_path, mixed, weights="nonsense")
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("split", ["train", "val"])
def test_bad_data_is_found_before_the_training(made_camvid, tmp_path, split):
    sets = {name: load_camvid(made_camvid, name) for name in ("train", "val")}
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    *good, (image, _) = sets[split].pairs
    sets[split] = replace(sets[split], pairs=(*good, (image, bad)))
    with pytest.raises(ValueError, match=r"bad\.png: not a readable image"):
        train(sets["train"], sets["val"], TINY, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("start", [0, 1])
def test_phases_follow_each_other(made_camvid, start):
    stream = phased_batches(load_camvid(made_camvid, "train"), TINY, start_epoch=start)
    crops = []
    for images, labels in stream.as_numpy_iterator():
        assert set(labels) == {"main", "aux"}
        np.testing.assert_array_equal(labels["main"], labels["aux"])
        assert images.shape[:-1] == labels["main"].shape
        crops.append(images.shape[1:3])
    assert crops == ([(64, 64)] * 3 + [(48, 80)] * 3)[3 * start :]


def test_phases_have_batches_of_their_own(made_camvid):
    """A second phase at the same size goes on with the first one's stream."""
    data = load_camvid(made_camvid, "train")
    split, whole = (
        phased_batches(data, replace(TINY, phases=phases)).as_numpy_iterator()
        for phases in ((Phase(1, (64, 64)), Phase(2, (64, 64))), (Phase(3, (64, 64)),))
    )
    for (images, _), (expected, _) in zip(split, whole, strict=True):
        np.testing.assert_array_equal(images, expected)


# Class weights and recipe errors


@pytest.mark.parametrize("balance", [0.25, 0.5, 1])
def test_class_weights_follow_the_shares(balance):
    counts = np.array([600, 300, 100])
    weights = np.array(class_weights(counts, replace(TINY, class_balance=balance)))
    assert weights / weights[0] == pytest.approx((counts / 600) ** -balance)
    # On average over the labelled pixels the loss is neither raised nor lowered.
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_class_weights_of_an_absent_class_are_finite():
    weights = class_weights(np.array([10, 0]), TINY)
    assert np.isfinite(weights).all()
    assert weights[0] == pytest.approx(1)


def test_no_class_weights_without_balance():
    assert class_weights(np.array([1, 2]), replace(TINY, class_balance=0)) is None


def test_recipe_counts_the_epochs_of_all_phases():
    assert replace(TINY, phases=(Phase(3, (64, 64)), Phase(4, (64, 64)))).epochs == 7


def test_recipes_are_listed_by_their_names():
    assert RECIPES
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "XL"}, r"`variant` must be one of .*'M1'.*Received: 'XL'"),
        ({"phases": ()}, r"`phases` must hold epochs.*Received: \(\)"),
        ({"phases": (Phase(2, (64, 64)), Phase(0, (64, 64)))}, r"`phases` .*epochs=0"),
    ],
)
def test_senseless_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_best_weights_are_kept_through_epochs_without_validation(tmp_path):
    """`ModelCheckpoint(save_best_only=True)` would save after those too."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    callback = SaveBest(tmp_path / "best.weights.h5", best=0.3)
    callback.set_model(model)
    saved = []
    for epoch, logs in enumerate([{MONITOR: 0.2}, {MONITOR: 0.5}, {}, None, {MONITOR: 0.4}]):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        callback.on_epoch_end(epoch, logs)
        saved.append(callback.path.exists())
    assert saved == [False, True, True, True, True]
    model.load_weights(callback.path)
    assert model.get_weights()[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]
