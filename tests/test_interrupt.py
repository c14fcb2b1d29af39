"""Ctrl-C: one line that says how to go on, exit status 130, and no unfinished file."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import tiny_network
from PIL import Image
from trained import log_of, start
from training_program import TINY

from keras_crosscbam import cli
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.training import with_settings
from keras_crosscbam.training.atomic import replacing
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.segmentation import train


def wait_for(process, condition):
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def interrupt(process):
    """Sends what a terminal sends at Ctrl-C; returns what stands on the error stream."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return errors


def command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "keras_crosscbam.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_nothing_unfinished(folder):
    assert not [path for path in folder.rglob("*") if "unfinished" in path.name]


def test_a_training_that_is_interrupted_goes_on_after_its_last_epoch(made_camvid, tmp_path):
    """Another process is kept out while it runs, and let in afterwards."""
    out = tmp_path / "run"
    settings = ("phases=400x32x32", "steps_per_epoch=1", "validation_freq=400", "optimizer=sgd")
    process = start("command", made_camvid, out, *settings)
    wait_for(process, Checkpoints(out / "checkpoints").any)
    sets = [load_camvid(made_camvid, split) for split in ("train", "val")]
    recipe = with_settings(TINY, settings)
    with pytest.raises(RuntimeError, match=f"{out}: process {process.pid} on .* is training in"):
        train(*sets, recipe, out)
    errors = interrupt(process)
    assert errors.splitlines()[-1] == (
        "crosscbam train: interrupted. The same command continues after the last finished epoch."
    )
    assert_nothing_unfinished(out)
    # What the next process finds is whole, and no lock.
    step, _ = Checkpoints(out / "checkpoints").newest()
    assert step >= 1
    assert len(log_of(out)) >= step
    with pytest.raises(ValueError, match=r"other recipe \(seed was 5 and is 6 now\)"):
        train(*sets, replace(recipe, seed=6), out)


def noise(path, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(array).save(path)


@pytest.mark.slow
def test_a_pretraining_that_is_interrupted_goes_on_after_its_last_epoch(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            noise(tmp_path / "images" / split / name / "0.png")
    out = tmp_path / "run"
    settings = ("phases=400x32x32", "batch_size=2", "validation_freq=400", "validation_size=32")
    options = [word for setting in settings for word in ("--set", setting)]
    process = command("pretrain", "--data", tmp_path / "images", "--out", out, *options)
    wait_for(process, Checkpoints(out / "checkpoints").any)
    errors = interrupt(process)
    assert errors.splitlines()[-1] == (
        "crosscbam pretrain: interrupted. The same command continues after the last finished epoch."
    )
    assert_nothing_unfinished(out)
    assert Checkpoints(out / "checkpoints").newest()[0] >= 1


def test_other_commands_end_in_one_line(tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    noise(images / "0.png", (200, 300))
    for number in range(1, 400):
        shutil.copy(images / "0.png", images / f"{number}.png")
    model = tiny_network.onnx_file(tmp_path / "m.onnx", size=(None, None))
    process = command("segment", images, "--model", model, "--out", out)
    wait_for(process, lambda: len(list(out.glob("*_overlay.png"))) > 2)
    errors = interrupt(process)
    assert errors.splitlines()[-1] == (
        "crosscbam segment: interrupted. Finished results are in the output folder."
    )
    assert_nothing_unfinished(out)
    for path in out.iterdir():
        with Image.open(path) as picture:
            picture.load()


def test_an_interruption_within_the_writing_of_a_picture_leaves_none(tmp_path, monkeypatch, capsys):
    noise(tmp_path / "images" / "0.png")
    model = tiny_network.onnx_file(tmp_path / "m.onnx", size=(None, None))

    def save_half(self, path):
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", save_half)
    arguments = ["segment", tmp_path / "images", "--model", model, "--out", tmp_path / "out"]
    assert cli.main([str(argument) for argument in arguments]) == 130
    assert not list((tmp_path / "out").iterdir())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("crosscbam segment: interrupted.")


def test_an_interruption_within_the_writing_of_a_file_leaves_the_one_before(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("whole")

    def write_half():
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]
    assert path.read_text() == "whole"
