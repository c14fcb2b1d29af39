"""The callback that validates a model and saves its best weights."""

import contextlib

import h5py
import keras
import numpy as np

from keras_crosscbam.training.atomic import replacing
from keras_crosscbam.training.final_epochs import average_with_checkpoints


class KeepBest(keras.callbacks.Callback):
    """Validates the model every few epochs and saves the best or the last weights in a file.

    If the optimizer averages the weights (`use_ema`), the averaged weights are validated and saved.

    Args:
        validation: function without arguments that returns a dict of scores, which are added to
            the logs.
        monitor: name of the score that is compared.
        model: the model to save. It shares the weights of the model that is trained.
        path: a `.weights.h5` file, which is replaced atomically; None to save nothing.
        epochs: number of epochs of the training.
        validation_freq: number of epochs between two validations. The last epoch is always
            validated.
        keep_last: whether to save the weights after each validation, also with a lower score.
        checkpoints_of: function from an epoch, counted from 0, to a list of weights files. The
            mean of these weights and those of the model is validated and saved. None for no
            averaging.
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
            # Any number is better than a best score of NaN.
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
    """Returns the score that `KeepBest` wrote into a weights file, or None without a file."""
    if not path.exists():
        return None
    try:
        with h5py.File(path) as file:
            return float(file.attrs["score"])
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it to continue.") from error


@contextlib.contextmanager
def ema_weights(model):
    """Context in which a model has the averaged weights of its optimizer, if there are any."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    # Keras' SwapEMAWeights swaps by addition and subtraction, which causes rounding errors.
    variables = model.trainable_variables
    raw = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)
