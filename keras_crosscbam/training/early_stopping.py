"""Early stopping of a training that can be resumed."""

import keras
import numpy as np


class EarlyStopping(keras.callbacks.Callback):
    """Stops a training after `patience` consecutive validations without a new best score.

    `keras.callbacks.EarlyStopping` loses its count when a training is interrupted, and also counts
    epochs without validation. This callback reads the scores from the log, so a resumed training
    stops after the same epoch as one without interruption.

    Args:
        rows: the rows of the `EpochLog` so far.
        monitor: name of the score in the rows and in the logs.
        patience: number of validations; 0 to never stop.
        workers: the `Workers` that `find_workers` returns. The chief decides for all.
    """

    def __init__(self, rows, monitor, patience, workers):
        super().__init__()
        self.scores = [row[monitor] for row in rows if monitor in row]
        self.monitor = monitor
        self.patience = patience
        self.workers = workers

    @property
    def is_over(self):
        """Whether the training has to stop."""
        # The first of equal scores is the best one. NaN is lower than every score.
        scores = [-np.inf if np.isnan(score) else score for score in self.scores]
        waited = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
        return 0 < self.patience <= waited

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in logs or not self.patience:
            return
        self.scores.append(as_logged(logs[self.monitor]))
        if self.workers.of_chief(self.is_over):
            self.model.stop_training = True


def as_logged(value):
    """Returns a number as it is read from the log, rounded to 7 digits."""
    return float(f"{value:.7g}")
