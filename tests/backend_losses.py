"""Losses and their gradients as a program, on the backend that KERAS_BACKEND names.

    python backend_losses.py BATCHES.npz RESULTS.npz

BATCHES.npz holds `labels` and `logits`; RESULTS.npz gets each loss's value and gradient.
"""

import sys

import keras
import numpy as np

from keras_crosscbam.training import (
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocalLoss,
    SegmentationMeanIoU,
    SegmentationOHEM,
    WeightedSum,
)

CLASSES = 5
WEIGHTS = (0.5, 1, 2, 4, 0.1)

CASES = {
    "cross_entropy": SegmentationCrossEntropy(),
    "cross_entropy_weighted": SegmentationCrossEntropy(WEIGHTS),
    "cross_entropy_smoothed": SegmentationCrossEntropy(label_smoothing=0.2),
    "cross_entropy_both": SegmentationCrossEntropy(WEIGHTS, 0.1),
    "focal": SegmentationFocalLoss(),
    "focal_weighted": SegmentationFocalLoss(0.5, WEIGHTS),
    "focal_5": SegmentationFocalLoss(5),
    "ohem": SegmentationOHEM(),
    "ohem_few": SegmentationOHEM(0.01, 0.4),
    "ohem_weighted": SegmentationOHEM(0.3, 0.2, WEIGHTS),
    "dice": SegmentationDice(),
    "dice_plain": SegmentationDice(smooth=0.0),
    "sum": WeightedSum([(SegmentationFocalLoss(1), 0.25), (SegmentationDice(), 2)]),
}

OF_ONE_CLASS = {
    "cross_entropy": SegmentationCrossEntropy(),
    "cross_entropy_both": SegmentationCrossEntropy((1, 3), 0.1),
    "focal_weighted": SegmentationFocalLoss(0.5, (0.5, 2)),
    "ohem": SegmentationOHEM(),
    "dice": SegmentationDice(),
    "sum": WeightedSum([(SegmentationFocalLoss(1), 0.25), (SegmentationDice(), 2)]),
}


def of_one_class(labels, logits):
    """Labels 0 and 1 and one logit for each, made of those of more classes."""
    return np.where(labels < CLASSES, labels % 2, labels), logits[..., :1]


def value_and_gradient(loss, labels, logits):
    """A loss, compiled where the backend compiles, and its gradient to the logits, as NumPy."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, logits.shape[-1]))])
        def compiled(logits):
            # Sizes are unknown when this is traced, as in training on images of any size.
            known = tf.ensure_shape(tf.constant(labels), (None,) * 3)
            value = loss(known, logits)
            return value, tf.gradients(value, logits)[0]

        results = compiled(tf.constant(logits))
    elif keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(lambda logits: loss(labels, logits)))
        results = compiled(logits)
    else:
        import torch

        variable = torch.tensor(logits, requires_grad=True)
        value = loss(labels, variable)
        value.backward()
        results = value.detach(), variable.grad
    return [np.asarray(result) for result in results]


def main(batches, results):
    batch = np.load(batches)
    values = {}
    for name, loss in CASES.items():
        value, gradient = value_and_gradient(loss, batch["labels"], batch["logits"])
        values |= {name: value, f"{name}_gradient": gradient}
    labels, logits = of_one_class(batch["labels"], batch["logits"])
    for name, loss in OF_ONE_CLASS.items():
        value, gradient = value_and_gradient(loss, labels, logits)
        values |= {f"one_{name}": value, f"one_{name}_gradient": gradient}
    metric = SegmentationMeanIoU(num_classes=1)
    metric.update_state(labels, logits)
    values["one_mean_iou"] = metric.per_class()
    np.savez(results, **values)


if __name__ == "__main__":
    main(*sys.argv[1:])
