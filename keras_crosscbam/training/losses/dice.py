"""The soft Dice loss function."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.training.losses.valid_pixels import SegmentationLoss, labeled_pixels


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationDice(SegmentationLoss):
    """Computes the soft Dice loss: one minus the mean overlap of the classes in the batch.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationDice
        >>> labels, logits = np.zeros((1, 1, 3)), np.zeros((1, 1, 3, 2))
        >>> round(float(SegmentationDice()(labels, logits)), 4)  # 1 - (2 * 1.5 + 1) / (1.5 + 3 + 1)
        0.2727

    The overlap of a class is `(2 * sum(p * g) + smooth) / (sum(p) + sum(g) + smooth)`, with p the
    softmax probabilities and g the true values, 0 or 1. The sums are over all labeled pixels of the
    batch. The mean is over the classes that occur in the labels, so small classes count as much as
    large ones. For one class, the mean is over background and object. With `tf.distribute` each
    replica computes the loss of its own part of the batch.

    Call arguments, result and errors are those of `SegmentationCrossEntropy`.

    Args:
        smooth: non-negative number of pixels that makes the loss of classes with few pixels
            smoother.
        ignore_class: label to ignore. Labels that are not classes are also ignored.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        ignore_class: int = IGNORE,
        name: str = "segmentation_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not 0 <= smooth < math.inf:
            raise ValueError(f"`smooth` must not be negative. Received: {smooth!r}")
        self.smooth = smooth
        self.ignore_class = ignore_class

    def call(self, y_true, y_pred):
        labels, logits, valid = labeled_pixels(y_true, y_pred, self.ignore_class)
        valid = ops.expand_dims(valid, -1)
        truth = valid * ops.one_hot(labels, logits.shape[-1], dtype="float32")
        predicted = valid * ops.softmax(logits)
        pixels = tuple(range(len(logits.shape) - 1))
        common, truth, predicted = (
            ops.sum(x, axis=pixels) for x in (truth * predicted, truth, predicted)
        )
        occurs = truth > 0
        total = ops.where(occurs, truth + predicted + self.smooth, 1.0)
        missing = ops.where(occurs, 1 - (2 * common + self.smooth) / total, 0.0)
        return ops.sum(missing) / ops.maximum(ops.sum(ops.cast(occurs, "float32")), 1.0)

    def get_config(self):
        return {
            **super().get_config(),
            "smooth": self.smooth,
            "ignore_class": self.ignore_class,
        }
