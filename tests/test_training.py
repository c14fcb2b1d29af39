"""Training: overfitting real frames in plain Keras, and recipes from beginning to end."""

import json
import shutil
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from trained import assert_same_arrays, log_of, run
from training_program import TINY

from keras_crosscbam import CrossCBAM, cli, evaluate
from keras_crosscbam.datasets import CAMVID_CLASSES, IGNORE, load_camvid
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.training import (
    Phase,
    SegmentationCrossEntropy,
    SegmentationMeanIoU,
    recipes,
)
from keras_crosscbam.training.segmentation import phased_batches, train
from keras_crosscbam.training.validation import SegmentationValidation


def test_fit_overfits_ten_real_frames(data_root):
    """The acceptance test of network, loss and metric: compile, fit, predict, nothing else."""
    frames = load_camvid(data_root / "camvid-480x360", "train").subset(range(0, 360, 36))
    # One crop of each frame, at twice its size: logits are made at 1/8 of the input, and so small
    # an input should not consist of edges.
    crops = training_batches(
        frames, (96, 128), batch_size=10, scale_range=(2, 2), augmentations=(), stop_step=1
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


def test_a_run_leaves_its_description_log_checkpoints_and_weights(undisturbed):
    # Through JSON, as tuples become lists.
    described = json.loads((undisturbed / "run.json").read_text())
    assert described["recipe"] == json.loads(json.dumps(asdict(TINY)))
    assert described["data"]["train_frames"] == 6
    assert [row["epoch"] for row in log_of(undisturbed)] == [1, 2]
    assert [row["step"] for row in log_of(undisturbed)] == [3, 6]
    for row in log_of(undisturbed):
        assert 0 <= row["val_mean_iou"] <= 1
        assert np.isfinite(row["loss"])
    names = sorted(path.name[:14] for path in (undisturbed / "checkpoints").iterdir())
    assert names == ["step-000000003", "step-000000006"]


def test_the_best_weights_give_the_logged_score(undisturbed, made_camvid):
    """The network without its auxiliary head, judged outside the training, with its names."""
    best = CrossCBAM(input_shape=(None, None, 3), weights=undisturbed / "best.weights.h5")
    assert best.classes.names == CAMVID_CLASSES.names
    scores = evaluate(best, load_camvid(made_camvid, "val"))
    logged = max(log_of(undisturbed), key=lambda row: row["val_mean_iou"])
    assert scores["mean_iou"] == pytest.approx(logged["val_mean_iou"], abs=1e-6)
    assert scores["pixel_accuracy"] == pytest.approx(logged["val_pixel_accuracy"], abs=1e-6)
    assert scores["classes_in_mean"] == logged["val_classes_in_mean"]
    for name, iou in scores["iou"].items():
        assert iou == pytest.approx(logged.get(f"val_iou_{name}", np.nan), abs=1e-6, nan_ok=True)


def test_judging_at_another_size_equals_evaluation(network, data_root):
    """Shrunk images and enlarged logits, in the graph and outside it, on smooth real frames."""
    frames = load_camvid(data_root / "camvid-480x360", "val").subset([0, 50])
    validated = SegmentationValidation(network, frames, (720, 960))()
    expected = evaluate(network, frames, (720, 960))
    assert validated["val_pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=2e-3)
    assert validated["val_mean_iou"] == pytest.approx(expected["mean_iou"], abs=2e-3)


def test_a_finished_run_is_not_run_again(undisturbed, made_camvid):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.glob("**/*.h5")}
    assert run(made_camvid, undisturbed) == undisturbed / "best.weights.h5"
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.glob("**/*.h5")}


def test_the_command_says_that_a_run_is_finished(undisturbed, made_camvid, monkeypatch, capsys):
    monkeypatch.setitem(recipes.RECIPES, "tiny", TINY)
    arguments = ("--recipe", "tiny", "--data", made_camvid, "--out", undisturbed)
    assert cli.main(["train", *map(str, arguments)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{undisturbed}: already finished, all 2 epochs. Nothing to train.",
        f"Best weights: {undisturbed / 'best.weights.h5'}",
    ]


def test_a_finished_run_without_its_weights_is_no_success(undisturbed, made_camvid, tmp_path):
    lost = shutil.copytree(undisturbed, tmp_path / "lost")
    (lost / "best.weights.h5").unlink()
    with pytest.raises(ValueError, match=r"lost is a finished run without its best\.weights\.h5"):
        run(made_camvid, lost)


@pytest.mark.parametrize(
    ("change", "frames", "message"),
    [
        (
            {"seed": 6},
            6,
            r"undisturbed contains a run with other recipe \(seed was 5 and is 6",
        ),
        ({}, 4, r"undisturbed contains a run with other data \(train_frames was 6 and is 4 now, "),
    ],
)
def test_a_folder_of_another_run_is_refused(undisturbed, made_camvid, change, frames, message):
    sets = [load_camvid(made_camvid, split) for split in ("train", "val")]
    sets[0] = sets[0].subset(range(frames))
    with pytest.raises(ValueError, match=message):
        train(*sets, replace(TINY, **change), undisturbed)


def test_averaged_slow_balanced_training_with_all_switches(undisturbed, made_camvid, tmp_path):
    """Everything a recipe can turn on at once, from the weights of another run."""
    recipe = replace(
        TINY,
        weights=str(undisturbed / "best.weights.h5"),
        phases=(Phase(1, (64, 64)),),
        backbone_rate=0.0,
        accumulate=2,
        ema=0.9,
        balanced_sampling=True,
        class_balance=0.5,
        loss="ce:0.5,dice:0.5",
        aux_loss="focal",
        dtype_policy="mixed_float16",
        steps_per_epoch=4,
    )
    best = run(made_camvid, tmp_path, recipe)
    assert np.isfinite(log_of(tmp_path)[0]["loss"])
    # A frozen encoder stays as it was, its statistics included; the rest has moved.
    start = CrossCBAM(num_classes=11, input_shape=(64, 64, 3), weights=recipe.weights)
    end = CrossCBAM(num_classes=11, input_shape=(64, 64, 3), weights=best)
    moved = {
        a.path for a, b in zip(start.weights, end.weights, strict=True) if not np.array_equal(a, b)
    }
    assert moved
    assert not [path for path in moved if path.startswith(("stem", "stage"))]


def test_an_ablated_network_without_auxiliary_loss(made_camvid, tmp_path):
    switches = {"use_se_aspp": False, "fusion": None}
    recipe = replace(TINY, architecture=switches, aux_weight=0.0, phases=(Phase(1, (64, 64)),))
    best = run(made_camvid, tmp_path, recipe)
    (row,) = log_of(tmp_path)
    assert row["loss"] == pytest.approx(row["main_loss"])
    baseline = CrossCBAM(input_shape=(None, None, 3), num_classes=11, weights=best, **switches)
    scores = evaluate(baseline, load_camvid(made_camvid, "val"))
    assert scores["mean_iou"] == pytest.approx(row["val_mean_iou"], abs=1e-6)


def test_unknown_weights_leave_the_dtype_policy_alone(made_camvid, tmp_path):
    mixed = replace(TINY, dtype_policy="mixed_float16", weights="nonsense")
    with pytest.raises(ValueError, match="No weights 'nonsense'"):
        run(made_camvid, tmp_path, mixed)
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


@pytest.mark.parametrize("start", range(7))
def test_phases_follow_each_other(made_camvid, start):
    """From any step on, within an epoch too, the stream is the tail of the whole."""
    data = load_camvid(made_camvid, "train")
    whole = list(phased_batches(data, TINY, steps=3).as_numpy_iterator())
    assert [images.shape[1:3] for images, _ in whole] == [(64, 64)] * 3 + [(48, 80)] * 3
    tail = list(phased_batches(data, TINY, steps=3, start_step=start).as_numpy_iterator())
    assert len(tail) == 6 - start
    for (images, labels), (expected, _) in zip(tail, whole[start:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels["main"], labels["aux"])


def test_the_same_seed_gives_the_same_weights(undisturbed, killed):
    """Two processes agree to the last bit, the optimizer's state included."""
    (mine,), (other,) = (
        sorted(out.glob("checkpoints/step-000000003-*")) for out in (killed, undisturbed)
    )
    assert_same_arrays(mine, other)
