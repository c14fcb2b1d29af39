"""Loss functions based on cross-entropy: cross-entropy, focal loss and OHEM."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.training.losses.valid_pixels import (
    ClassWeightedLoss,
    cross_entropy,
    labeled_pixels,
    mean_over_pixels,
)

if TYPE_CHECKING:
    from keras_crosscbam.types import ClassWeights


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationCrossEntropy(ClassWeightedLoss):
    """Computes the mean cross-entropy over the labeled pixels, optionally weighted by class.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationCrossEntropy
        >>> labels, logits = np.full((1, 4, 4), 255), np.zeros((1, 4, 4, 11))
        >>> float(SegmentationCrossEntropy()(labels, logits))  # nothing is labeled
        0.0

    With class weights the result is the weighted mean, as in PyTorch: the sum of the weighted
    losses divided by the sum of the weights of the labeled pixels. The loss is computed in float32
    with every dtype policy.

    With `tf.distribute` the mean is over the labeled pixels of all replicas.

    For one class, the logits have shape `(batch, height, width, 1)`, the labels are 0 for
    background and 1 for the object, and the loss is the binary cross-entropy of the sigmoid.

    Args:
        class_weights: one positive number for each label, in order or as a dict from label to
            weight; or None. For one class there are two labels: use `(1, w)` for `pos_weight=w` of
            PyTorch, whose mean is over the pixels, not over their weights.
        label_smoothing: fraction e in 0..1 of the target that is spread evenly over all classes.
            The target of the true class is `1 - e` plus its part of e. Each class has its own
            weight, as in PyTorch. Background is also a class: for one class the targets are e / 2
            and 1 - e / 2, as in Keras.
        ignore_class: label to ignore. Labels that are not classes are also ignored.

    Call arguments:
        y_true: labels, integers of shape `(batch, height, width)`.
        y_pred: logits of shape `(batch, height, width, classes)`, not probabilities.

    Returns:
        A float32 scalar, 0 if no pixel is labeled.

    Raises:
        ValueError: for arguments out of range, sample weights, and labels or logits with a wrong
            shape.
    """

    def __init__(
        self,
        class_weights: ClassWeights | None = None,
        label_smoothing: float = 0.0,
        ignore_class: int = IGNORE,
        name: str = "segmentation_cross_entropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(class_weights, ignore_class, name, **kwargs)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"`label_smoothing` must be in 0..1. Received: {label_smoothing!r}")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        labels, logits, valid = labeled_pixels(y_true, y_pred, self.ignore_class)
        class_weights = self.weight_of_classes(logits)
        weights = valid * ops.take(class_weights, labels)
        values = weights * cross_entropy(labels, logits)
        if self.label_smoothing:
            spread = -valid * ops.mean(class_weights * ops.log_softmax(logits), axis=-1)
            values = (1 - self.label_smoothing) * values + self.label_smoothing * spread
        return mean_over_pixels(values, weights)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationFocalLoss(ClassWeightedLoss):
    """Computes the mean focal loss over the labeled pixels, which reduces the loss of easy pixels.

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationFocalLoss
        >>> labels, logits = np.zeros((1, 4, 4)), np.zeros((1, 4, 4, 2))
        >>> round(float(SegmentationFocalLoss(gamma=2)(labels, logits)), 4)  # a quarter of log 2
        0.1733

    Paper, section 3.4, Equation 6, after Lin et al. 2017: `-(1 - p) ** gamma * log(p)`. In the
    paper `p` is the probability in a two-class problem. Here it is the softmax probability of the
    pixel's class, or the sigmoid for one class. The paper adds this loss to cross-entropy,
    `a * CE + (1 - a) * FL`: see `make_loss`.

    Weights, replicas, call arguments, result and errors are those of `SegmentationCrossEntropy`.

    Args:
        gamma: exponent in 0..5, as in the paper. 0 gives cross-entropy.
        class_weights: one positive number for each label, in order or as a dict from label to
            weight; or None.
        ignore_class: label to ignore. Labels that are not classes are also ignored.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        class_weights: ClassWeights | None = None,
        ignore_class: int = IGNORE,
        name: str = "segmentation_focal_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(class_weights, ignore_class, name, **kwargs)
        if not 0 <= gamma <= 5:
            raise ValueError(f"`gamma` must be in 0..5. Received: {gamma!r}")
        self.gamma = gamma

    def call(self, y_true, y_pred):
        labels, logits, valid = labeled_pixels(y_true, y_pred, self.ignore_class)
        weights = valid * ops.take(self.weight_of_classes(logits), labels)
        losses = cross_entropy(labels, logits)
        # 1 - p without cancellation. It is at least epsilon, because for gamma below 1 the
        # derivative of the power is infinite at 0.
        missing = ops.maximum(-ops.expm1(-losses), keras.config.epsilon())
        return mean_over_pixels(weights * ops.power(missing, self.gamma) * losses, weights)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationOHEM(ClassWeightedLoss):
    """Computes the mean cross-entropy over the hard labeled pixels (online hard example mining).

        >>> import numpy as np
        >>> from keras_crosscbam.training import SegmentationOHEM
        >>> labels, logits = np.zeros((1, 1, 4)), np.zeros((1, 1, 4, 2))
        >>> logits[..., 0] = [0, 9, 9, 9]  # one hard pixel, three easy ones
        >>> round(float(SegmentationOHEM()(labels, logits)), 4)  # log 2
        0.6931

    A pixel is hard if the probability of its class is below the threshold. If there are too few
    such pixels, the pixels with the largest cross-entropy are used, including all pixels with the
    same cross-entropy as the last of them. Fan et al. 2021 train the STDC networks with this loss.
    Class weights do not affect which pixels are hard. With `tf.distribute` each replica selects
    the hard pixels of its own part of the batch, and the mean is over the hard pixels of all
    replicas.

    Call arguments, result and errors are those of `SegmentationCrossEntropy`.

    Args:
        threshold: probability of the true class in 0..1; 0.7 in Fan et al.
        min_kept: minimum number of hard pixels, as a fraction in 0..1 of all pixels of the batch,
            labeled or not. It is rounded down to a number of pixels, but is at least one.
        class_weights: one positive number for each label, in order or as a dict from label to
            weight; or None.
        ignore_class: label to ignore. Labels that are not classes are also ignored.
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: float = 1 / 16,
        class_weights: ClassWeights | None = None,
        ignore_class: int = IGNORE,
        name: str = "segmentation_ohem",
        **kwargs: Any,
    ) -> None:
        super().__init__(class_weights, ignore_class, name, **kwargs)
        for argument, value in (("threshold", threshold), ("min_kept", min_kept)):
            if not 0 <= value <= 1:
                raise ValueError(f"`{argument}` must be in 0..1. Received: {value!r}")
        self.threshold = threshold
        self.min_kept = min_kept

    def call(self, y_true, y_pred):
        labels, logits, valid = labeled_pixels(y_true, y_pred, self.ignore_class)
        losses = cross_entropy(labels, logits)
        # -1 is below every cross-entropy, so ignored pixels are never among the hardest.
        hardness = ops.reshape(ops.where(valid > 0, ops.stop_gradient(losses), -1.0), (-1,))
        hardest, _ = ops.top_k(hardness, self._count_kept(hardness), sorted=False)
        hard = (ops.exp(-losses) < self.threshold) | (losses >= ops.min(hardest))
        weights = valid * ops.cast(hard, "float32")
        weights = weights * ops.take(self.weight_of_classes(logits), labels)
        return mean_over_pixels(weights * losses, weights)

    def _count_kept(self, pixels):
        (count,) = ops.shape(pixels)
        if isinstance(count, int):
            return min(max(math.floor(self.min_kept * count), 1), count)
        # `count` is a tensor in a tf.function. A float32 is not exact above 2**24 pixels.
        kept = ops.cast(self.min_kept * ops.cast(count, "float64"), "int32")
        return ops.minimum(ops.maximum(kept, 1), count)

    def get_config(self):
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "min_kept": self.min_kept,
        }
