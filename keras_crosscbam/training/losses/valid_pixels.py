"""What the losses share: float32, the labeled pixels, their weights, and the mean over them.

One logit z, that of an object, is taken as the two logits (0, z) of background and object, whose
softmax is the sigmoid of z. So every loss is the same function for one class as for several.
"""

import math

import keras
from keras import ops

from keras_crosscbam.training.distribution import count_replicas, sum_over_replicas


class SegmentationLoss(keras.losses.Loss):
    """Base of the losses: `call` gives one float32 number for a batch of labels and logits.

    Called as a function, a loss gives this number over the count of `tf.distribute` replicas,
    since their gradients are added up. Keras' own losses do the same, but not for a scalar.
    """

    def __init__(self, name, **kwargs):
        super().__init__(name=name, dtype="float32", **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample weights; use the ignore label."
            )
        return super().__call__(y_true, y_pred) / count_replicas()


class ClassWeightedLoss(SegmentationLoss):
    """Base of the losses that are a mean over labeled pixels, optionally weighted by class.

    Args:
        class_weights: one positive number per label, in order or as a dict from each label to its
            weight; or None. Two for one class: background and object.
        ignore_class: the label that does not count; neither do labels that are no class.
    """

    def __init__(self, class_weights, ignore_class, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else _in_order(class_weights)
        self.ignore_class = ignore_class

    def weight_of_classes(self, logits):
        """Class weights as a float32 tensor `(labels,)`; ones where none were given."""
        if self.class_weights is None:
            return ops.ones((ops.shape(logits)[-1],), "float32")
        if logits.shape[-1] != len(self.class_weights):
            raise ValueError(
                f"The logits must have the {len(self.class_weights)} classes of `class_weights`; "
                "one logit has two, background and object. "
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
    """Logits `(..., labels)`: one alone, that of an object, gets the background's, 0, beside it."""
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def _in_order(class_weights):
    """Class weights as a list of floats, from whatever form they were given in."""
    weights = class_weights
    try:
        if isinstance(weights, dict):
            # No class may be left out: it would get a weight that nobody chose.
            weights = [weights[index] for index in range(len(weights))]
        if isinstance(weights, str | set):
            weights = ()
        weights = [float(weight) for weight in weights]
    except (KeyError, TypeError, ValueError):
        weights = ()
    if not weights or not all(0 < weight < math.inf for weight in weights):
        raise ValueError(
            "`class_weights` must be one positive number per label, in order or as a dict from "
            f"each index 0, 1, ... to its weight. Received: {class_weights!r}"
        )
    return weights


def labeled_pixels(y_true, y_pred, ignore_class):
    """Labels, logits, and which pixels count.

    Args:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, classes)`, of any floating type.
        ignore_class: the label that does not count; neither do labels that are no class.

    Returns:
        labels: int32, 0 for the pixels that do not count.
        logits: float32, one for each label: two for one class.
        valid: float32 of the labels' shape, 1 for the pixels that count, else 0.

    Raises:
        ValueError: if the labels have not one axis less than the logits.
    """
    labels, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
    if len(labels.shape) != len(logits.shape) - 1:
        raise ValueError(
            "The labels must have the shape of the logits but for the last axis, the classes. "
            f"Received: labels of shape {tuple(labels.shape)}, logits of {tuple(logits.shape)}"
        )
    logits = logits_of_labels(logits)
    valid = (labels != ignore_class) & (labels >= 0) & (labels < ops.shape(logits)[-1])
    return ops.where(valid, labels, 0), logits, ops.cast(valid, "float32")


def cross_entropy(labels, logits):
    """Minus the logarithm of the softmax probability of each pixel's class."""
    # TensorFlow's own operation takes 1.6 times as long on a CPU for so few classes.
    shifted = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    total = ops.log(ops.sum(ops.exp(shifted), axis=-1))
    chosen = ops.one_hot(labels, ops.shape(logits)[-1], dtype=shifted.dtype)
    return total - ops.sum(shifted * chosen, axis=-1)


def mean_over_pixels(values, weights):
    """The sum of the values over the sum of the weights; 0 where no weight is.

    In a replica of a `tf.distribute` strategy the divisor is the mean of the replicas' sums of
    weights. So the mean of their results is the mean over the whole batch, however unevenly its
    labeled pixels are spread over the replicas.

    Args:
        values: float32, weighted already: 0 for the pixels that do not count.
        weights: float32, likewise.
    """
    total, replicas = sum_over_replicas(ops.sum(weights))
    return ops.sum(values) / ops.where(total > 0, total / replicas, 1.0)
