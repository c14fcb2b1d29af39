"""Losses, metric and Keras' callbacks together, as a program on the backend of KERAS_BACKEND.

    python backend_fit.py FOLDER

Prints as JSON what Keras' callbacks make of a validation that is good, better, and then bad
(`callbacks`), and with what words logits of a wrong number of channels are refused (`refused`).
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from keras_crosscbam.training import (
    SegmentationCrossEntropy,
    SegmentationFocalLoss,
    SegmentationMeanIoU,
    SegmentationOHEM,
    WeightedSum,
)

CLASSES = 3
LABELS = np.array([[[0, 1, 2, 255], [0, 1, 1, 2]]], np.uint8)
WEIGHTS = {1: 2.0, 0: 1.0, 2: 4.0}
LOSSES = {
    "cross_entropy": SegmentationCrossEntropy(WEIGHTS),
    "smoothed": SegmentationCrossEntropy(WEIGHTS, label_smoothing=0.1),
    "focal": SegmentationFocalLoss(class_weights=WEIGHTS),
    "ohem": SegmentationOHEM(class_weights=WEIGHTS),
    "sum": WeightedSum([(SegmentationCrossEntropy(WEIGHTS), 0.5)]),
}


def compiled(loss, metric_name="mean_iou", channels=CLASSES):
    """Logits that are the input at first, and hardly learn."""
    dense = keras.layers.Dense(channels, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((None, None, channels)), dense])
    metric = SegmentationMeanIoU(CLASSES, name=metric_name)
    model.compile(keras.optimizers.SGD(1e-3), loss, metrics=[metric])
    return model


def logits_with(share):
    """Logits of which this share comes out right."""
    right = np.eye(CLASSES, dtype=np.float32)[LABELS % 255]
    columns = np.arange(LABELS.shape[2]) < share * LABELS.shape[2]
    return np.where(columns[:, None], right, np.roll(right, 1, axis=-1))


def callbacks(folder, name):
    """Three epochs: the score, whether training would stop, the models kept, the learning rate."""
    folder.mkdir()
    monitor, model, epochs = f"val_{name}", compiled(SegmentationCrossEntropy(), name), []
    stop = keras.callbacks.EarlyStopping(monitor)
    keep = keras.callbacks.ModelCheckpoint(folder / "{epoch}.keras", monitor, save_best_only=True)
    slow = keras.callbacks.ReduceLROnPlateau(monitor, factor=0.5, patience=1)
    # One call of `fit` before, as a user would make it, in which nothing but the mode can fail.
    data = logits_with(0.5), LABELS
    seen = keras.callbacks.EarlyStopping(name)
    model.fit(*data, validation_data=data, callbacks=[seen, stop, slow], verbose=0)
    for callback in (stop, keep, slow):
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, share in enumerate((0.5, 1.0, 0.25)):
        scores = model.evaluate(logits_with(share), LABELS, return_dict=True, verbose=0)
        for callback in (stop, keep, slow):
            callback.on_epoch_end(epoch, {f"val_{key}": value for key, value in scores.items()})
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        kept = sorted(path.stem for path in folder.iterdir())
        epochs.append((scores[name], bool(model.stop_training), kept, rate))
    return epochs


def refused(channels):
    """What each loss, and the metric alone and in a model, say to logits of so many channels."""
    logits = np.zeros((*LABELS.shape, channels), np.float32)
    model = compiled(SegmentationCrossEntropy(), channels=channels)
    calls = {name: lambda loss=loss: loss(LABELS, logits) for name, loss in LOSSES.items()}
    calls["metric"] = lambda: SegmentationMeanIoU(CLASSES).update_state(LABELS, logits)
    calls["model"] = lambda: model.evaluate(logits, LABELS, verbose=0)
    said = {}
    for name, call in calls.items():
        try:
            call()
            said[name] = "nothing"
        except ValueError as error:
            said[name] = str(error)
    return said


def results(folder):
    names = ("mean_iou", "my_iou")
    return {
        "callbacks": {name: callbacks(Path(folder) / name, name) for name in names},
        "refused": {channels: refused(channels) for channels in (1, 2, 4)},
    }


if __name__ == "__main__":
    print(json.dumps(results(*sys.argv[1:])))
