"""Methods for the last epochs of a training: frozen statistics and averaged weights."""

import contextlib

import keras
import numpy as np

from keras_crosscbam.layers import BatchNormalization
from keras_crosscbam.models.weights import variables_of
from keras_crosscbam.models.weights_file import read_weights
from keras_crosscbam.private_api import flatten_layers


class FreezeStatistics(keras.callbacks.Callback):
    """Makes BatchNormalization use its moving statistics, as in inference, from an epoch on.

    The statistics are not updated after that. Scales and offsets are still trained. So the last
    steps train the network as it is used in inference, independent of the statistics of single
    batches.

    Args:
        epoch: first epoch with frozen statistics, counted from 0.
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
        # The step function traced before still updates the statistics.
        self.model.make_train_function(force=True)


@contextlib.contextmanager
def average_with_checkpoints(model, files):
    """Context in which a model has the mean of its own weights and those in checkpoints.

    The statistics of BatchNormalization are averaged, too.

    Args:
        model: the model.
        files: `.weights.h5` files of the same model. If the list is empty, nothing changes.
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
