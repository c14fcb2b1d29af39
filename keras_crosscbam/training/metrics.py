"""Mean intersection over union (IoU) as a Keras metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_crosscbam.classes import IGNORE, count_labels
from keras_crosscbam.confusion import iou_per_class
from keras_crosscbam.datasets.argument_checks import check_whole
from keras_crosscbam.training.losses.valid_pixels import logits_of_labels

if TYPE_CHECKING:
    import numpy as np


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationMeanIoU(keras.metrics.Metric):
    """Computes the mean IoU over the classes from logits, for all pixels since the last reset.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationMeanIoU
        >>> metric = SegmentationMeanIoU(num_classes=2)
        >>> metric.update_state(np.array([[[0, 1, 255]]]), np.array([[[[9, 0], [0, 9], [9, 0]]]]))
        >>> float(metric.result())
        1.0

    Classes that occur neither in the labels nor in the predictions are left out of the mean, as in
    cityscapesScripts. Unlike `keras.metrics.MeanIoU`, this metric takes logits.

    With `num_classes=1` the logits have shape `(batch, height, width, 1)`, and a pixel is predicted
    as the object, label 1, if its logit is above 0, that is, if its probability is above 0.5. The
    result is the mean of the IoU of background and the IoU of the object. `per_class()` returns
    both, in this order.

    Args:
        num_classes: number of classes, which is the number of channels of the logits.
        ignore_class: label to ignore. Labels that are not classes are also ignored.

    Call arguments:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, num_classes)`.

    Raises:
        ValueError: for logits with another number of classes, and for sample weights.
    """

    def __init__(
        self, num_classes: int, ignore_class: int = IGNORE, name: str = "mean_iou", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        # Keras' callbacks read this in mode "auto": a higher value is better.
        self._direction = "up"
        check_whole("num_classes", num_classes, least=1)
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        # An int32 would overflow at 2**31 pixels. A float32 above 2**24 loses single counts, but
        # here the counts of a batch are added at once.
        self._labels = count_labels(num_classes)
        self.confusion = self.add_weight(
            name="confusion", shape=(self._labels, self._labels), initializer="zeros"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                "SegmentationMeanIoU does not support sample weights; use the ignore label."
            )
        y_pred = ops.convert_to_tensor(y_pred)
        if y_pred.shape[-1] != self.num_classes:
            raise ValueError(
                f"The logits must have `num_classes={self.num_classes}` channels. "
                f"Received: logits of shape {tuple(y_pred.shape)}"
            )
        self.confusion.assign_add(ops.cast(self._count(y_true, y_pred), self.confusion.dtype))

    def _count(self, y_true, y_pred):
        logits = logits_of_labels(ops.convert_to_tensor(y_pred))
        truth = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        prediction = ops.reshape(ops.cast(ops.argmax(logits, axis=-1), "int32"), (-1,))
        bins = self._labels * self._labels
        # Labels that are not classes are counted in an additional bin, which is then removed.
        valid = (truth != self.ignore_class) & (truth >= 0) & (truth < self._labels)
        cell = ops.where(valid, truth * self._labels + prediction, bins)
        counts = ops.segment_sum(ops.ones_like(cell), cell, num_segments=bins + 1)
        return ops.reshape(counts[:bins], (self._labels, self._labels))

    def result(self):
        intersection = ops.diag(self.confusion)
        union = ops.sum(self.confusion, axis=0) + ops.sum(self.confusion, axis=1) - intersection
        present = ops.cast(union > 0, "float32")
        iou = intersection / ops.maximum(union, 1)
        return ops.sum(iou) / ops.maximum(ops.sum(present), 1)

    def per_class(self) -> np.ndarray:
        """Returns the IoU of each label as a NumPy array, NaN for labels that never occurred."""
        return iou_per_class(ops.convert_to_numpy(self.confusion))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
        }
