"""What is trained: real frames in plain Keras, and recipes of various networks."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from small_network import SMALL
from trained import log_of, run
from training_program import TINY

from keras_crosscbam import CrossCBAM, evaluate
from keras_crosscbam.datasets import IGNORE, load_camvid
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.training import Phase, SegmentationCrossEntropy, SegmentationMeanIoU
from keras_crosscbam.training.validation import SegmentationValidation


@pytest.mark.parametrize(
    ("count", "network"),
    [(3, {"alpha": 0.25}), pytest.param(10, {}, marks=pytest.mark.slow)],
    ids=["narrow", "whole"],
)
def test_fit_overfits_real_frames(data_root, count, network):
    """The acceptance test of network, loss and metric: compile, fit, predict, nothing else."""
    frames = load_camvid(data_root / "camvid-480x360", "train").subset(range(0, 36 * count, 36))
    # One crop of each frame, at twice its size: logits are made at 1/8 of the input, and so small
    # an input should not consist of edges.
    crops = training_batches(
        frames, (96, 128), batch_size=count, scale_range=(2, 2), augmentations=(), stop_step=1
    )
    ((images, labels),) = crops.as_numpy_iterator()
    model = CrossCBAM("stdc1", (96, 128, 3), num_classes=11, dropout_rate=0.0, **network)
    model.compile(
        keras.optimizers.Adam(3e-3),
        SegmentationCrossEntropy(),
        metrics=[SegmentationMeanIoU(11)],
    )
    history = model.fit(images, labels, batch_size=count, epochs=70, verbose=0).history
    right = model.predict(images, verbose=0).argmax(axis=-1) == labels
    accuracy = right[labels != IGNORE].mean()
    print(f"pixel accuracy {accuracy:.4f}, training mean IoU {history['mean_iou'][-1]:.4f}")
    assert accuracy > 0.95


def test_judging_at_another_size_equals_evaluation(network, data_root):
    """Shrunk images and enlarged logits, in the graph and outside it, on smooth real frames."""
    frames = load_camvid(data_root / "camvid-480x360", "val").subset([0, 50])
    validated = SegmentationValidation(network, frames, (720, 960))()
    expected = evaluate(network, frames, (720, 960))
    assert validated["val_pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=2e-3)
    assert validated["val_mean_iou"] == pytest.approx(expected["mean_iou"], abs=2e-3)


def test_averaged_slow_balanced_taught_training_with_all_switches(made_camvid, tmp_path):
    """Everything a recipe can turn on at once, from other weights, with SE-ASPP and CCBAM."""
    architecture = {"alpha": SMALL["alpha"]}
    network = {"num_classes": 11, "input_shape": (64, 64, 3), **architecture}
    start = CrossCBAM(**network)
    start.save_weights(tmp_path / "start.weights.h5")
    recipe = replace(
        TINY,
        architecture=architecture,
        weights=str(tmp_path / "start.weights.h5"),
        phases=(Phase(1, (64, 64)),),
        teacher=(str(tmp_path / "start.weights.h5"),) * 2,
        temperature=2.0,
        class_mix=0.5,
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
    best = run(made_camvid, tmp_path / "run", recipe)
    (row,) = log_of(tmp_path / "run")
    parts = row["main_loss"] + recipe.aux_weight * row["aux_loss"] + row["distilled_loss"]
    assert row["loss"] == pytest.approx(parts, rel=1e-3)
    assert row["distilled_loss"] > 0
    # A frozen encoder stays as it was, its statistics included; the rest has moved.
    end = CrossCBAM(weights=best, **network)
    moved = {
        a.path for a, b in zip(start.weights, end.weights, strict=True) if not np.array_equal(a, b)
    }
    assert moved
    assert not [path for path in moved if path.startswith(("stem", "stage"))]


def test_an_ablated_network_without_auxiliary_loss(made_camvid, tmp_path):
    recipe = replace(TINY, optimizer="sgd", aux_weight=0.0, phases=(Phase(1, (64, 64)),))
    best = run(made_camvid, tmp_path, recipe)
    (row,) = log_of(tmp_path)
    assert row["loss"] == pytest.approx(row["main_loss"])
    baseline = CrossCBAM(input_shape=(None, None, 3), num_classes=11, weights=best, **SMALL)
    scores = evaluate(baseline, load_camvid(made_camvid, "val"))
    assert scores["mean_iou"] == pytest.approx(row["val_mean_iou"], abs=1e-6)


def test_unknown_weights_leave_the_dtype_policy_alone(made_camvid, tmp_path):
    mixed = replace(TINY, dtype_policy="mixed_float16", weights="nonsense")
    with pytest.raises(ValueError, match="No weights 'nonsense'"):
        run(made_camvid, tmp_path, mixed)
    assert keras.config.dtype_policy().name == "float32"
