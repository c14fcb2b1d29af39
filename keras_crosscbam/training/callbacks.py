"""Callbacks of a training: what is judged, kept, written down and shown, and when it stops."""

import contextlib
import csv
import io
import sys
import time

import h5py
import keras
import numpy as np

from keras_crosscbam.datasets.argument_checks import check_list
from keras_crosscbam.training.atomic import replacing
from keras_crosscbam.training.early_stopping import as_logged
from keras_crosscbam.training.final_epochs import average_with_checkpoints


def check_callbacks(callbacks):
    """Raises a `ValueError` for what is no list of Keras callbacks."""
    check_list("callbacks", callbacks)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                "`callbacks` must be a list of `keras.callbacks.Callback`. "
                f"Received: {callback!r} in it"
            )


class SeedDropout(keras.callbacks.Callback):
    """Starts the dropout of each epoch from a state of its own; Keras does not save such states.

    Args:
        seed: whole number that, with the epoch, determines the masks.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        generators = [getattr(layer, "seed_generator", None) for layer in self.model.layers]
        for index, generator in enumerate(filter(None, generators)):
            generator.state.assign(np.array([self.seed + index, epoch], "uint32"))


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training whose loss is no number any more, and says where that happened.

    Args:
        steps_per_epoch: steps of an epoch.
        files_of: function of a step, counted from 0, that names the files of its batch.
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
            "earlier epochs are kept. A lower learning rate, a longer warm-up or mixed_bfloat16 "
            "instead of mixed_float16 helps, in a new folder."
        )


class KeepBest(keras.callbacks.Callback):
    """Judges the model every few epochs and keeps the best weights, or the last, in a file.

    Where the optimizer averages the weights (`use_ema`), the averaged ones are judged and kept.

    Args:
        validation: function without arguments that returns scores, a dict; they enter the logs.
        monitor: the score to choose by.
        model: the model to save, over the weights of the one trained.
        path: a `.weights.h5` file, replaced whole or not at all; None to save nothing.
        epochs: number of epochs of the training.
        validation_freq: epochs between two judgments; the last epoch always has one.
        keep_last: whether each judged epoch's weights replace those before, whatever the score.
        checkpoints_of: function of an epoch, counted from 0, that gives files of weights; the mean
            of those and the model's own is judged and kept. None for none.
    """

    def __init__(
        self,
        validation,
        monitor,
        model,
        path,
        epochs,
        validation_freq,
        keep_last=False,
        checkpoints_of=None,
    ):
        super().__init__()
        self.validation = validation
        self.monitor = monitor
        self.model_to_save = model
        self.path = path
        self.epochs = epochs
        self.validation_freq = validation_freq
        self.keep_last = keep_last
        self.checkpoints_of = checkpoints_of or (lambda epoch: [])
        self.best = best_score(path) if path else None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.validation_freq and epoch + 1 < self.epochs:
            return
        with (
            ema_weights(self.model),
            average_with_checkpoints(self.model, self.checkpoints_of(epoch)),
        ):
            logs.update(self.validation())
            score = logs[self.monitor]
            # Any number is better than NaN.
            if self.keep_last or self.best is None or np.isnan(self.best) or score > self.best:
                self.best = score
                if self.path:
                    self._save(epoch, score)

    def _save(self, epoch, score):
        with replacing(self.path) as unfinished:
            self.model_to_save.save_weights(unfinished)
            with h5py.File(unfinished, "r+") as file:
                file.attrs.update({"score": score, "epoch": epoch + 1})


def best_score(path):
    """The score that `KeepBest` wrote into a file of weights, or None if there is no file."""
    if not path.exists():
        return None
    try:
        with h5py.File(path) as file:
            return float(file.attrs["score"])
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and go on without it.") from error


@contextlib.contextmanager
def ema_weights(model):
    """Within this context a model has its optimizer's averaged weights, if there are any."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    # Keras' SwapEMAWeights swaps by addition and subtraction, which leaves a rounding error.
    variables = model.trainable_variables
    raw = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


def learning_rate(model):
    """The learning rate of the next update."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class LogAndCheckpoint(keras.callbacks.Callback):
    """Writes each epoch's row into the log, and then the checkpoint that counts it as done.

    Args:
        log: an `EpochLog`.
        checkpoints: a `Checkpoints`.
        steps_per_epoch: steps of an epoch.
        batch_size: images a step.
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
        # The first step may have compiled the network, and does not count.
        if len(self.ends) > 1:
            seconds = self.ends[-1] - self.ends[0]
            row["images_per_second"] = (len(self.ends) - 1) * self.batch_size / seconds
        self.log.add({**row, **logs})
        self.checkpoints.save(self.model, step)


class Progress(keras.callbacks.Callback):
    """One line for the whole training: epoch, loss, mean IoU, images/s and the time left.

    On a terminal the line is rewritten with every step; elsewhere each epoch leaves one.

    Args:
        epochs: number of epochs of the training.
        steps_per_epoch: steps of an epoch.
        batch_size: images a step.
        scores: names in the logs to show, in percent, by what to call them; a title may hold other
            figures of the logs in braces, as in `str.format`.
        stream: where to write; None for standard output.
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
        # The clock starts behind the first step, which compiles the network.
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
    """Rows of numbers by epoch, kept in a CSV file that is replaced whole.

        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_crosscbam.training.callbacks import EpochLog
        >>> log = EpochLog(Path(tempfile.mkdtemp()) / "log.csv")
        >>> log.add({"epoch": 1, "loss": 0.5})
        >>> log.rows
        [{'epoch': 1.0, 'loss': 0.5}]

    Keras' `CSVLogger` appends: a resumed run would leave epochs in it that are run again.

    Args:
        path: the file; read if it exists.
        epochs: rows of later epochs are dropped.
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
        """Adds a row, a dict of numbers with an "epoch", and writes the file."""
        self.rows.append({name: as_logged(value) for name, value in row.items()})
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        with replacing(self.path) as unfinished:
            unfinished.write_text(text.getvalue())
