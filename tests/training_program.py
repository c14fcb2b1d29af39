"""A short training in a process of its own, that can be made to die at a certain point.

    python training_program.py DATA OUT [POINT] [FIELD=VALUE ...]

Trains the recipe below, changed as the fields say. With a POINT the process kills itself there,
with no chance to tidy up, or finds the disk full.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import keras

from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.training import Phase, Recipe, with_settings
from keras_crosscbam.training import callbacks as training_callbacks
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.fit import train

# Two epochs of three steps, each epoch a phase of its own.
TINY = Recipe(
    name="tiny",
    variant="M",
    phases=(Phase(1, (64, 64)), Phase(1, (48, 80))),
    batch_size=2,
    validation_freq=1,
    warmup_steps=2,
    seed=5,
)


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_step(count):
    steps = []

    def on_train_batch_end(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == count:
            die()

    training_callbacks.SeedDropout.on_train_batch_end = on_train_batch_end


def die_within_the_writing_of(name, share, count=1):
    """Leaves a part of the file of weights that is written for the so-manieth time."""
    save_weights, written = keras.Model.save_weights, []

    def save_part(self, path):
        save_weights(self, path)
        written.extend([path] * path.name.endswith(name))
        if len(written) == count:
            os.truncate(path, int(share * path.stat().st_size))
            die()

    keras.Model.save_weights = save_part


def die_instead_of_renaming(start):
    replace = Path.replace

    def replace_or_die(self, target):
        if Path(target).name.startswith(start):
            die()
        return replace(self, target)

    Path.replace = replace_or_die


def fill_the_disk():
    """From here on no file can grow beyond a megabyte; Python ignores the signal."""
    save = Checkpoints.save

    def save_on_full_disk(self, model, step):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        save(self, model, step)

    Checkpoints.save = save_on_full_disk


POINTS = {
    "first step": lambda: die_in_step(1),
    "second step": lambda: die_in_step(2),
    "fifth step": lambda: die_in_step(5),
    "validation": lambda: setattr(training_callbacks.KeepBest, "on_epoch_end", die),
    "best weights begun": lambda: die_within_the_writing_of("best.weights.h5", 0.3),
    "best weights written": lambda: die_instead_of_renaming("best"),
    "log written": lambda: setattr(Checkpoints, "save", die),
    "log not renamed": lambda: die_instead_of_renaming("log"),
    "checkpoint begun": lambda: die_within_the_writing_of("unfinished.weights.h5", 0.01),
    "checkpoint half written": lambda: die_within_the_writing_of("unfinished.weights.h5", 0.5),
    "second checkpoint half written": lambda: die_within_the_writing_of(
        "unfinished.weights.h5", 0.5, count=2
    ),
    "checkpoint written": lambda: die_instead_of_renaming("step-"),
    "old checkpoint not removed": lambda: setattr(Path, "unlink", die),
    "full disk": fill_the_disk,
}


def main(data, out, *arguments):
    settings = [argument for argument in arguments if "=" in argument]
    for point in arguments:
        if point in POINTS:
            POINTS[point]()
    sets = [load_camvid(data, split) for split in ("train", "val")]
    train(*sets, with_settings(TINY, settings), out, verbose=0)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
