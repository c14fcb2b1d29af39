"""Callbacks of a training: checkpoints, logs, progress and checks of the loss."""

import csv
import io
import sys
import time

import keras
import numpy as np

from keras_crosscbam.datasets.argument_checks import check_list
from keras_crosscbam.training.atomic import replacing
from keras_crosscbam.training.early_stopping import as_logged


def check_callbacks(callbacks):
    """Raises a `ValueError` if `callbacks` is not a list of Keras callbacks."""
    check_list("callbacks", callbacks)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                "`callbacks` must be a list of `keras.callbacks.Callback`. "
                f"Received: {callback!r} in the list"
            )


class SeedDropout(keras.callbacks.Callback):
    """Sets the random state of dropout at the start of each epoch, since Keras does not save it.

    Args:
        seed: integer that, together with the epoch, determines the dropout masks.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        generators = [getattr(layer, "seed_generator", None) for layer in self.model.layers]
        for index, generator in enumerate(filter(None, generators)):
            generator.state.assign(np.array([self.seed + index, epoch], "uint32"))


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training with an error if the loss is not finite, and names the batch.

    Args:
        steps_per_epoch: number of steps in an epoch.
        files_of: function from a step, counted from 0, to the files of its batch.
    """

    def __init__(self, steps_per_epoch, files_of):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.files_of = files_of
        self.first = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.first = epoch * self.steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if np.isfinite(loss):
            return
        step = self.first + batch
        files = ", ".join(map(str, self.files_of(step)))
        raise RuntimeError(
            f"The loss became {float(loss)} at step {step + 1}, at a learning rate of "
            f"{learning_rate(self.model):.3g}. The batch: {files}. Checkpoints and best weights of "
            "earlier epochs are kept. Start again in a new folder with a lower learning rate, a "
            "longer warm-up, or mixed_bfloat16 instead of mixed_float16."
        )


def learning_rate(model):
    """Returns the learning rate of the next update."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class LogAndCheckpoint(keras.callbacks.Callback):
    """Writes the row of each epoch into the log, and then a checkpoint.

    The order matters: an epoch is finished when its checkpoint is written.

    Args:
        log: an `EpochLog`.
        checkpoints: a `Checkpoints`.
        steps_per_epoch: number of steps in an epoch.
        batch_size: number of images in a step.
    """

    def __init__(self, log, checkpoints, steps_per_epoch, batch_size):
        super().__init__()
        self.log = log
        self.checkpoints = checkpoints
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size

    def on_epoch_begin(self, epoch, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        step = (epoch + 1) * self.steps_per_epoch
        row = {"epoch": epoch + 1, "step": step, "learning_rate": learning_rate(self.model)}
        # The first step is not timed, because it may compile the network.
        if len(self.ends) > 1:
            seconds = self.ends[-1] - self.ends[0]
            row["images_per_second"] = (len(self.ends) - 1) * self.batch_size / seconds
        self.log.add({**row, **logs})
        self.checkpoints.save(self.model, step)


class Progress(keras.callbacks.Callback):
    """Prints one line with epoch, loss, mean IoU, images/s and the remaining time.

    On a terminal the line is rewritten after every step. Otherwise one line is printed for each
    epoch.

    Args:
        epochs: number of epochs of the training.
        steps_per_epoch: number of steps in an epoch.
        batch_size: number of images in a step.
        scores: dict from a title to the name of a score in the logs, which is shown in percent. A
            title may contain names of other values in the logs in braces, as in `str.format`.
        stream: text stream to write to; None for standard output.
    """

    def __init__(self, epochs, steps_per_epoch, batch_size, scores, stream=None):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.scores = scores
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.started = None
        self.done = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # The time is measured from the end of the first step, which compiles the network.
        if self.started is None:
            self.started = time.perf_counter()
        else:
            self.done += 1
        if self.live:
            self._write(batch + 1, logs, end="")

    def on_epoch_end(self, epoch, logs=None):
        self._write(self.steps_per_epoch, logs, end="\n")

    def _write(self, step, logs, end):
        parts = [
            f"epoch {self.epoch + 1}/{self.epochs}",
            f"step {step}/{self.steps_per_epoch}",
            f"loss {logs['loss']:.4f}",
            *(
                f"{title.format(**logs)} {100 * logs[name]:.2f} %"
                for title, name in self.scores.items()
                if name in logs
            ),
        ]
        if self.done:
            seconds = (time.perf_counter() - self.started) / self.done
            left = (self.epochs - self.epoch) * self.steps_per_epoch - step
            parts += [f"{self.batch_size / seconds:.1f} images/s", f"{_clock(left * seconds)} left"]
        start = "\r\x1b[K" if self.live else ""
        self.stream.write(start + "  ".join(parts) + end)
        self.stream.flush()


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class EpochLog:
    """Rows of numbers, one for each epoch, in a CSV file that is replaced atomically.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_crosscbam.training.callbacks import EpochLog
        >>> log = EpochLog(Path(tempfile.mkdtemp()) / "log.csv")
        >>> log.add({"epoch": 1, "loss": 0.5})
        >>> log.rows
        [{'epoch': 1.0, 'loss': 0.5}]

    Keras' `CSVLogger` appends rows, so a resumed run would write the rows of repeated epochs twice.

    Args:
        path: path of the file, which is read if it exists.
        epochs: number of epochs. Rows of later epochs are removed.
    """

    def __init__(self, path, epochs=None):
        self.path = path
        self.rows = []
        if path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows.append({name: float(value) for name, value in row.items() if value})
        if epochs is not None:
            self.rows = [row for row in self.rows if row["epoch"] <= epochs]

    def add(self, row):
        """Adds a row, a dict of numbers with the key "epoch", and writes the file."""
        self.rows.append({name: as_logged(value) for name, value in row.items()})
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        with replacing(self.path) as unfinished:
            unfinished.write_text(text.getvalue())
