"""Losses on logits and integer labels, blind to ignored pixels."""

import keras
from keras import ops

from keras_crosscbam.datasets.labels import IGNORE


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Cross-entropy averaged over the labelled pixels, optionally weighted by class.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationCrossEntropy
        >>> labels, logits = np.full((1, 4, 4), 255), np.zeros((1, 4, 4, 11))
        >>> float(SegmentationCrossEntropy()(labels, logits))  # nothing is labelled
        0.0

    With weights the mean is the weighted one: the sum of the weighted losses over the sum of the
    weights of the labelled pixels, as in PyTorch. Computed in float32 in every dtype policy.

    Args:
        class_weights: one positive number per class, or None.
        ignore_class: the label that does not count.

    Call arguments:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, classes)`.

    Returns:
        A scalar; 0 where no pixel is labelled.
    """

    def __init__(
        self, class_weights=None, ignore_class=IGNORE, name="segmentation_cross_entropy", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.ignore_class = ignore_class

    def call(self, y_true, y_pred):
        y_pred = ops.cast(y_pred, "float32")
        labels = ops.cast(y_true, "int32")
        valid = labels != self.ignore_class
        labels = ops.where(valid, labels, 0)
        weights = ops.cast(valid, "float32")
        if self.class_weights is not None:
            weights = weights * ops.take(ops.convert_to_tensor(self.class_weights), labels)
        losses = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1e-6)

    def get_config(self):
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "ignore_class": self.ignore_class,
        }
