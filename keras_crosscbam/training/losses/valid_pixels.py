"""Base classes and functions of the losses: labeled pixels, class weights and means over them.

For one class, the single logit z of the object is converted to the two logits (0, z) of background
and object. The softmax of these is the sigmoid of z, so every loss uses the same function for one
class as for several.
"""

import math

import keras
from keras import ops

from keras_crosscbam.training.distribution import count_replicas, sum_over_replicas


class SegmentationLoss(keras.losses.Loss):
    """Base class of losses whose `call` returns a float32 scalar for a batch.

    `__call__` divides this scalar by the number of `tf.distribute` replicas, because their
    gradients are added. The losses of Keras do the same, but not for a scalar.
    """

    def __init__(self, name, **kwargs):
        super().__init__(name=name, dtype="float32", **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} does not support sample weights; use the ignore label."
            )
        return super().__call__(y_true, y_pred) / count_replicas()


class ClassWeightedLoss(SegmentationLoss):
    """Base class of losses that are a mean over labeled pixels, optionally weighted by class.

    Args:
        class_weights: one positive number for each label, in order or as a dict from label to
            weight; or None. For one class there are two labels: background and object.
        ignore_class: label to ignore. Labels that are not classes are also ignored.
    """

    def __init__(self, class_weights, ignore_class, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else _in_order(class_weights)
        self.ignore_class = ignore_class

    def weight_of_classes(self, logits):
        """Returns class weights as a float32 tensor `(labels,)`, all 1 if none were given."""
        if self.class_weights is None:
            return ops.ones((ops.shape(logits)[-1],), "float32")
        if logits.shape[-1] != len(self.class_weights):
            raise ValueError(
                f"The logits must have the {len(self.class_weights)} classes of `class_weights`. "
                "One logit has two classes, background and object. "
                f"Received: logits of shape {tuple(logits.shape)}"
            )
        return ops.convert_to_tensor(self.class_weights, "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "ignore_class": self.ignore_class,
        }


def logits_of_labels(logits):
    """Returns logits of shape `(..., labels)`. Adds a background logit of 0 to a single logit."""
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def _in_order(class_weights):
    """Converts class weights to a list of floats."""
    weights = class_weights
    try:
        if isinstance(weights, dict):
            # All classes must be given, because there is no default weight.
            weights = [weights[index] for index in range(len(weights))]
        if isinstance(weights, str | set):
            weights = ()
        weights = [float(weight) for weight in weights]
    except (KeyError, TypeError, ValueError):
        weights = ()
    if not weights or not all(0 < weight < math.inf for weight in weights):
        raise ValueError(
            "`class_weights` must be one positive number for each label, in order or as a dict "
            f"from each index 0, 1, ... to its weight. Received: {class_weights!r}"
        )
    return weights


def labeled_pixels(y_true, y_pred, ignore_class):
    """Returns labels and logits, and which pixels are labeled.

    Args:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, classes)`, of any floating type.
        ignore_class: label to ignore. Labels that are not classes are also ignored.

    Returns:
        labels: int32 `(batch, height, width)`, 0 for ignored pixels.
        logits: float32 `(batch, height, width, labels)`, with two labels for one class.
        valid: float32 `(batch, height, width)`, 1 for labeled pixels, 0 for ignored pixels.

    Raises:
        ValueError: if the labels do not have one axis less than the logits.
    """
    labels, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
    if len(labels.shape) != len(logits.shape) - 1:
        raise ValueError(
            "The labels must have the shape of the logits without the last axis, the classes. "
            f"Received: labels of shape {tuple(labels.shape)}, logits of {tuple(logits.shape)}"
        )
    logits = logits_of_labels(logits)
    valid = (labels != ignore_class) & (labels >= 0) & (labels < ops.shape(logits)[-1])
    return ops.where(valid, labels, 0), logits, ops.cast(valid, "float32")


def cross_entropy(labels, logits):
    """Returns the negative logarithm of the softmax probability of each pixel's class."""
    # TensorFlow's operation takes 1.6 times as long on a CPU for this number of classes.
    shifted = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    total = ops.log(ops.sum(ops.exp(shifted), axis=-1))
    chosen = ops.one_hot(labels, ops.shape(logits)[-1], dtype=shifted.dtype)
    return total - ops.sum(shifted * chosen, axis=-1)


def mean_over_pixels(values, weights):
    """Returns the sum of the values divided by the sum of the weights; 0 if all weights are 0.

    In a replica of a `tf.distribute` strategy the divisor is the mean of the sums of weights of all
    replicas. So the mean of their results is the mean over the complete batch, also if the replicas
    have different numbers of labeled pixels.

    Args:
        values: float32 tensor, already multiplied by the weights; 0 for ignored pixels.
        weights: float32 tensor; 0 for ignored pixels.
    """
    total, replicas = sum_over_replicas(ops.sum(weights))
    return ops.sum(values) / ops.where(total > 0, total / replicas, 1.0)
