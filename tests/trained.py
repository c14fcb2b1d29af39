"""Short trainings, and what they leave behind, for several test files."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from training_program import TINY

from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.resumable import Run
from keras_crosscbam.training.segmentation import train

PROGRAM = Path(__file__).with_name("training_program.py")


def run(root, out, recipe=TINY, **kwargs):
    """Trains in this process."""
    sets = [load_camvid(root, split) for split in ("train", "val")]
    return train(*sets, recipe, out, verbose=0, **kwargs)


class BegunError(Exception):
    """Stops a training before its first step; holds the model."""


def model_at_start(root, out, recipe):
    """The model of a training before its first step."""

    def stop(self, model, *args, **kwargs):
        raise BegunError(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "fit", stop)
        with pytest.raises(BegunError) as begun:
            run(root, out, recipe)
    return begun.value.args[0]


def start(*arguments, **env):
    """Starts the training program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    """Waits for processes, all of which must succeed."""
    errors = [process.communicate()[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error


def log_of(out):
    return EpochLog(out / "log.csv").rows


def newest_checkpoint(out):
    return max((out / "checkpoints").glob("step-*"))


def arrays_of(file):
    """All arrays of a weights file, those of the optimizer included, by their paths."""
    found = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda path, item: found.update({path: item[()]} if hasattr(item, "shape") else {})
        )
    assert found
    return found


def distance(file, other, kind):
    """How far arrays of a kind, "layers" or "optimizer", are apart in relation to their size."""
    actual, expected = (
        np.concatenate([a.ravel() for path, a in arrays_of(f).items() if path.startswith(kind)])
        for f in (file, other)
    )
    apart = np.linalg.norm(actual.astype(float) - expected) / np.linalg.norm(expected.astype(float))
    print(f"{file.name}: {kind} {apart:.1e} apart")
    return apart


def assert_same_arrays(file, other, atol=0):
    actual, expected = arrays_of(file), arrays_of(other)
    assert actual.keys() == expected.keys()
    differences = {path: np.abs(actual[path] - array).max() for path, array in expected.items()}
    worst = max(differences, key=differences.get)
    print(f"{file.name}: max difference {differences[worst]:.1e} at {worst}")
    assert differences[worst] <= atol


def assert_same_end(out, expected):
    """The same log, the same weights to the last bit, and nothing half-written."""
    assert [row["step"] for row in log_of(out)] == [row["step"] for row in log_of(expected)]
    for row, wanted in zip(log_of(out), log_of(expected), strict=True):
        assert {k: v for k, v in row.items() if k != "images_per_second"} == {
            k: v for k, v in wanted.items() if k != "images_per_second"
        }
    assert_same_arrays(newest_checkpoint(out), newest_checkpoint(expected))
    assert_same_arrays(out / "best.weights.h5", expected / "best.weights.h5")
    assert not list(out.glob("**/unfinished*"))
