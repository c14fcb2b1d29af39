"""Losses as a program on two replicas, each a logical CPU device with its half of the batches.

    python replica_losses.py BATCHES.npz RESULTS.npz

BATCHES.npz holds `labels` and `logits`. RESULTS.npz gets, for each loss, the mean of the replicas'
results, and what a small model of `build_model` has learned in `fit`.
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from backend_losses import taught

from keras_crosscbam.training import (
    SegmentationCrossEntropy,
    SegmentationDistillation,
    SegmentationFocalLoss,
    SegmentationOHEM,
)

CLASSES = 5
WEIGHTS = (0.5, 1, 2, 4, 0.1)
CASES = {
    "cross_entropy": SegmentationCrossEntropy(WEIGHTS, 0.1),
    "focal": SegmentationFocalLoss(class_weights=WEIGHTS),
    "ohem": SegmentationOHEM(0.9, 0),
    "distillation": taught(SegmentationDistillation(2.0)),
}


def build_model():
    """Logits from each pixel by itself; the same initial weights in each call."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((None, None, CLASSES)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile(keras.optimizers.SGD(1.0), SegmentationCrossEntropy(WEIGHTS))
    return model


def fit(model, batch):
    """Three steps over all the batch; returns the losses and the kernel."""
    history = model.fit(
        batch["logits"], batch["labels"], len(batch["labels"]), epochs=3, shuffle=False, verbose=0
    )
    return {"losses": history.history["loss"], "kernel": np.asarray(model.layers[0].kernel)}


def main(batches, results):
    batch = dict(np.load(batches))
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    labels, logits = (np.stack(np.split(batch[name], 2)) for name in ("labels", "logits"))

    @tf.function
    def replicas_losses(loss):
        def half_loss():
            half = tf.distribute.get_replica_context().replica_id_in_sync_group
            return loss(tf.gather(labels, half), tf.gather(logits, half))

        return strategy.run(half_loss)

    values = {
        name: strategy.reduce("SUM", replicas_losses(loss), axis=None)
        for name, loss in CASES.items()
    }
    with strategy.scope():
        model = build_model()
    np.savez(results, **values, **fit(model, batch))


if __name__ == "__main__":
    main(*sys.argv[1:])
