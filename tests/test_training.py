"""Trainings from beginning to end, again, and further; folders that are taken or refused."""

import json
import shutil
import signal
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from trained import assert_same_arrays, assert_same_end, log_of, newest_checkpoint, run, start
from training_program import TINY

from keras_crosscbam import CrossCBAM, cli, evaluate
from keras_crosscbam.datasets import CAMVID_CLASSES, load_camvid
from keras_crosscbam.training import recipes
from keras_crosscbam.training.segmentation import phased_batches, train


@pytest.fixture(scope="module")
def undisturbed(made_camvid, tmp_path_factory):
    """The folder of a short training from beginning to end, whose step is traced once."""
    out, traces = tmp_path_factory.mktemp("runs") / "undisturbed", []
    train_step = keras.Model.train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.Model, "train_step", lambda self, data: traces.append(1) or train_step(self, data)
        )
        assert run(made_camvid, out) == out / "best.weights.h5"
    assert len(traces) == 1
    return out


@pytest.fixture(scope="module")
def killed(made_camvid, tmp_path_factory):
    """The folder of the same training, whose process was killed writing its second checkpoint."""
    out = tmp_path_factory.mktemp("runs") / "killed"
    process = start(made_camvid, out, "second checkpoint half written")
    error = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, error
    return out


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
    best = CrossCBAM(
        input_shape=(None, None, 3), weights=undisturbed / "best.weights.h5", **TINY.architecture
    )
    assert best.classes.names == CAMVID_CLASSES.names
    scores = evaluate(best, load_camvid(made_camvid, "val"))
    logged = max(log_of(undisturbed), key=lambda row: row["val_mean_iou"])
    assert scores["mean_iou"] == pytest.approx(logged["val_mean_iou"], abs=1e-6)
    assert scores["pixel_accuracy"] == pytest.approx(logged["val_pixel_accuracy"], abs=1e-6)
    assert scores["classes_in_mean"] == logged["val_classes_in_mean"]
    for name, iou in scores["iou"].items():
        assert iou == pytest.approx(logged.get(f"val_iou_{name}", np.nan), abs=1e-6, nan_ok=True)


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


@pytest.fixture(scope="module")
def stream(made_camvid):
    """All batches of the short training."""
    batches = phased_batches(load_camvid(made_camvid, "train"), TINY, steps=3)
    return list(batches.as_numpy_iterator())


@pytest.mark.parametrize("start", range(7))
def test_phases_follow_each_other(made_camvid, stream, start):
    """From any step on, within an epoch too, the stream is the tail of the whole."""
    data, whole = load_camvid(made_camvid, "train"), stream
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


def test_a_run_killed_while_it_wrote_a_checkpoint_resumes(
    undisturbed, killed, made_camvid, tmp_path
):
    resumed = shutil.copytree(killed, tmp_path / "resumed")
    assert list(resumed.glob("checkpoints/unfinished*"))
    run(made_camvid, resumed)
    assert_same_end(resumed, undisturbed)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(undisturbed, made_camvid, tmp_path, caplog):
    resumed = shutil.copytree(undisturbed, tmp_path / "resumed")
    newest = newest_checkpoint(resumed)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run(made_camvid, resumed)
    assert f"{newest.name} is damaged" in caplog.text
    assert_same_end(resumed, undisturbed)


def test_a_folder_from_before_a_field_existed_goes_on(undisturbed, made_camvid, tmp_path):
    """What the field's default says is what was done then."""
    folder = shutil.copytree(undisturbed, tmp_path / "old")
    described = json.loads((folder / "run.json").read_text())
    for name in ("teacher", "temperature", "teacher_architecture", "narrowed_from"):
        del described["recipe"][name]
    (folder / "run.json").write_text(json.dumps(described))
    assert run(made_camvid, folder) == folder / "best.weights.h5"
    with pytest.raises(ValueError, match=r"other recipe \(temperature was 1.0 and is 2.0 now\)"):
        run(made_camvid, folder, replace(TINY, temperature=2.0))
