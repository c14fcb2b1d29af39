"""The knowledge distillation loss function."""

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
    """Computes the mean KL divergence of student and teacher over the labeled pixels.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationDistillation
        >>> labels, logits = np.zeros((1, 4, 4)), np.ones((1, 4, 4, 11))
        >>> both = np.concatenate([logits, logits], axis=-1)
        >>> float(SegmentationDistillation()(labels, both))  # the same scores
        0.0

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. The loss of a
    pixel is `T ** 2 * KL(softmax(teacher / T), softmax(student / T))` with the temperature T. The
    result is the mean over the labeled pixels. Pixels without a label are ignored, because they are
    padding of the crop or objects that belong to no class. The teacher gets no gradient.

    With `tf.distribute` the mean is over the labeled pixels of all replicas. The loss is computed
    in float32 with every dtype policy.

    Call arguments:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, 2 * classes)`: those of the student, then
            those of the teacher.

    Returns:
        A float32 scalar, 0 if no pixel is labeled.

    Args:
        temperature: positive number. Above 1, classes with a low probability have more influence.
        ignore_class: label to ignore. Labels that are not classes are also ignored.

    Raises:
        ValueError: for a temperature out of range, sample weights, and labels or logits with a
            wrong shape.
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
                "The logits must be those of student and teacher, with an even number of channels. "
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
