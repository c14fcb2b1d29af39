"""What a small network learns from a large one's scores."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.training.losses.valid_pixels import (
    SegmentationLoss,
    labeled_pixels,
    logits_of_labels,
    mean_over_pixels,
)


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationDistillation(SegmentationLoss):
    """How far a student's class probabilities are from its teacher's, over the labeled pixels.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationDistillation
        >>> labels, logits = np.zeros((1, 4, 4)), np.ones((1, 4, 4, 11))
        >>> both = np.concatenate([logits, logits], axis=-1)
        >>> float(SegmentationDistillation()(labels, both))  # the same scores
        0.0

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015: with both
    logits divided by the temperature T, `T ** 2 * KL(softmax(teacher / T), softmax(student / T))`
    of each pixel, and the mean over the pixels that have a label. What has no label is left out:
    there the crop is padding, about which a teacher knows nothing, or an object of none of the
    classes. The teacher gets no gradient.

    Under `tf.distribute` the mean is that over the labeled pixels of all replicas. Computed in
    float32 in every dtype policy.

    Call arguments:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, 2 * classes)`: the student's, then the
            teacher's.

    Returns:
        A float32 scalar; 0 where no pixel is labeled.

    Args:
        temperature: positive; above 1 the classes that the teacher holds for unlikely count more.
        ignore_class: the label that does not count; neither do labels that are no class.

    Raises:
        ValueError: for a temperature out of range, sample weights, and labels or logits of a shape
            that does not fit.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        ignore_class: int = IGNORE,
        name: str = "segmentation_distillation",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not 0 < temperature < math.inf:
            raise ValueError(f"`temperature` must be a positive number. Received: {temperature!r}")
        self.temperature = temperature
        self.ignore_class = ignore_class

    def call(self, y_true, y_pred):
        if y_pred.shape[-1] % 2:
            raise ValueError(
                "The logits must be those of student and teacher, equally many. "
                f"Received: logits of shape {tuple(y_pred.shape)}"
            )
        student, teacher = ops.split(ops.cast(y_pred, "float32"), 2, axis=-1)
        _, student, valid = labeled_pixels(y_true, student, self.ignore_class)
        student = ops.log_softmax(student / self.temperature)
        teacher = logits_of_labels(ops.stop_gradient(teacher))
        teacher = ops.log_softmax(teacher / self.temperature)
        divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
        return self.temperature**2 * mean_over_pixels(valid * divergence, valid)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "ignore_class": self.ignore_class,
        }
