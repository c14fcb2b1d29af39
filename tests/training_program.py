"""A short training in a process of its own, that can be made to die at a certain point.

    python training_program.py DATA OUT [POINT] [FIELD=VALUE ...] [copy=FILE]
    python training_program.py command DATA OUT [FIELD=VALUE ...]

Trains the recipe below, changed as the fields say, and prints a line after the first step. With a
POINT the process kills itself there, with no chance to tidy up, or finds the disk full. With
LOGICAL_CPUS=2 in the environment TensorFlow takes the processor for two devices and trains on both.
With `copy` the weights at the end are also written there. `command` runs `crosscbam train` itself.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import keras
from small_network import SMALL

from keras_crosscbam import cli
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.training import Phase, Recipe, keep_best, recipes, with_settings
from keras_crosscbam.training import callbacks as training_callbacks
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.distribution import Replicas
from keras_crosscbam.training.segmentation import train

# Two epochs of three steps, each epoch a phase of its own, for which the training is traced anew.
TINY = Recipe(
    name="tiny",
    variant="M",
    architecture=SMALL,
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
    "validation": lambda: setattr(keep_best.KeepBest, "on_epoch_end", die),
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
    for argument in arguments:
        if argument.startswith("copy="):
            copy_weights_at_the_end(argument.removeprefix("copy="))
    settings = [a for a in arguments if "=" in a and not a.startswith("copy=")]
    for point in arguments:
        if point in POINTS:
            POINTS[point]()
    say_when_training()
    sets = [load_camvid(data, split) for split in ("train", "val")]
    train(*sets, with_settings(TINY, settings), out, workers=logical_devices(), verbose=0)


def say_when_training():
    def on_train_batch_end(self, batch, logs=None):
        if not self.ends:
            print("training", flush=True)
        record(self, batch, logs)

    record, training_callbacks.LogAndCheckpoint.on_train_batch_end = (
        training_callbacks.LogAndCheckpoint.on_train_batch_end,
        on_train_batch_end,
    )


def copy_weights_at_the_end(path):
    def on_train_end(self, logs=None):
        self.model.save_weights(path)

    training_callbacks.SeedDropout.on_train_end = on_train_end


def command(data, out, *settings):
    recipes.RECIPES["tiny"] = TINY
    options = [word for setting in settings for word in ("--set", setting)]
    sys.exit(cli.main(["train", "--recipe", "tiny", "--data", data, "--out", out, *options]))


def logical_devices():
    count = int(os.environ.get("LOGICAL_CPUS", "0"))
    if not count:
        return None
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * count
    )
    return Replicas([f"CPU:{i}" for i in range(count)])


if __name__ == "__main__":
    if sys.argv[1] == "command":
        command(*sys.argv[2:])
    try:
        main(*sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
