"""What is otherwise in the last epochs of a training: frozen statistics, averaged weights."""

import contextlib

import keras
import numpy as np

from keras_crosscbam.layers import BatchNormalization
from keras_crosscbam.models.weights import read_weights, variables_of
from keras_crosscbam.private_api import flatten_layers


class FreezeStatistics(keras.callbacks.Callback):
    """From an epoch on BatchNormalization normalizes as in inference, by its moving statistics.

    They stay as they are from then on, while scales and offsets are still learned: the last steps
    train the very network that is used later, whatever the few frames of a batch have in common.

    Args:
        epoch: the epoch, counted from 0, to begin with.
    """

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.frozen = False

    def on_epoch_begin(self, epoch, logs=None):
        if self.frozen or epoch < self.epoch:
            return
        self.frozen = True
        for layer in flatten_layers(self.model):
            if isinstance(layer, BatchNormalization):
                layer.frozen_statistics = True
        # The step that was traced so far still moves them.
        self.model.make_train_function(force=True)


@contextlib.contextmanager
def average_with_checkpoints(model, files):
    """Within this context a model has the mean of its own weights and those in checkpoints.

    The statistics of BatchNormalization are averaged like all the rest.

    Args:
        model: the model.
        files: `.weights.h5` files of the same model; without any, nothing changes.
    """
    if not files:
        yield
        return
    own = {
        path: [keras.ops.convert_to_numpy(variable) for variable in variables]
        for path, variables in variables_of(model).items()
    }
    states = [own, *(read_weights(file)[0] for file in files)]
    mean = {
        path: [np.mean(arrays, axis=0) for arrays in zip(*(s[path] for s in states), strict=True)]
        for path in own
    }
    _assign(model, mean)
    try:
        yield
    finally:
        _assign(model, own)


def _assign(model, values):
    for path, variables in variables_of(model).items():
        for variable, value in zip(variables, values[path], strict=True):
            variable.assign(value)
