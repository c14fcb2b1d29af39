"""Loss functions by name, and weighted sums of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras

from keras_crosscbam.training.losses.cross_entropy import (
    SegmentationCrossEntropy,
    SegmentationFocalLoss,
    SegmentationOHEM,
)
from keras_crosscbam.training.losses.dice import SegmentationDice
from keras_crosscbam.training.losses.valid_pixels import SegmentationLoss

if TYPE_CHECKING:
    from keras_crosscbam.types import ClassWeights

# A function for each name that creates the loss from the options of all losses.
LOSSES = {
    "ce": lambda weights, gamma, smoothing: SegmentationCrossEntropy(weights, smoothing),
    "focal": lambda weights, gamma, smoothing: SegmentationFocalLoss(gamma, weights),
    "ohem": lambda weights, gamma, smoothing: SegmentationOHEM(class_weights=weights),
    "dice": lambda weights, gamma, smoothing: SegmentationDice(),
}


def make_loss(
    spec: str,
    class_weights: ClassWeights | None = None,
    focal_gamma: float = 2.0,
    label_smoothing: float = 0.0,
) -> SegmentationLoss:
    """Parses a loss specification.

        >>> from keras_crosscbam.training import make_loss
        >>> make_loss("ohem").name
        'segmentation_ohem'
        >>> [(loss.name, weight) for loss, weight in make_loss("ce:0.5,focal:0.5").losses]
        [('segmentation_cross_entropy', 0.5), ('segmentation_focal_loss', 0.5)]

    Args:
        spec: one or more of the names ce, focal, ohem and dice, separated by commas. A name may be
            followed by a colon and a positive weight; the default is 1.
        class_weights: one positive number for each class, in order or as a dict from class index
            to weight; or None. They are used by all losses except dice.
        focal_gamma: `gamma` of the loss focal.
        label_smoothing: `label_smoothing` of the loss ce.

    Returns:
        The loss, or a `WeightedSum` if there are several losses or a weight other than 1.

    Raises:
        ValueError: for an unknown name, an invalid weight or an invalid option.
    """
    terms = []
    for term in spec.split(","):
        name, colon, number = (part.strip() for part in term.partition(":"))
        try:
            make, weight = LOSSES[name], float(number) if colon else 1.0
        except (KeyError, ValueError):
            raise ValueError(
                f"A loss must be one or more of the names {', '.join(LOSSES)} with optional "
                f"weights, such as 'ce:0.5,focal:0.5'. Received: {spec!r}"
            ) from None
        terms.append((make(class_weights, focal_gamma, label_smoothing), weight))
    if len(terms) == 1 and terms[0][1] == 1:
        return terms[0][0]
    return WeightedSum(terms)


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class WeightedSum(SegmentationLoss):
    """Computes a weighted sum of losses.

        >>> import numpy as np
        >>> from keras_crosscbam.training import (
        ...     SegmentationCrossEntropy, SegmentationDice, WeightedSum)
        >>> loss = WeightedSum([(SegmentationCrossEntropy(), 1.0), (SegmentationDice(), 0.5)])
        >>> float(loss(np.full((1, 4, 4), 255), np.zeros((1, 4, 4, 11))))
        0.0

    Call arguments, result and errors are those of `SegmentationCrossEntropy`.

    Args:
        losses: pairs of a loss of this package and its weight, a positive number.
    """

    def __init__(
        self,
        losses: Iterable[tuple[SegmentationLoss, float]],
        name: str = "weighted_sum",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        losses = [(loss, float(weight)) for loss, weight in losses]
        if not losses or not all(
            isinstance(loss, SegmentationLoss) and 0 < weight < math.inf for loss, weight in losses
        ):
            raise ValueError(
                "`losses` must be pairs of a loss of this package and a positive number. "
                f"Received: {losses!r}"
            )
        self.losses = losses

    def call(self, y_true, y_pred):
        return sum(weight * loss.call(y_true, y_pred) for loss, weight in self.losses)

    def get_config(self):
        losses = [[keras.losses.serialize(loss), weight] for loss, weight in self.losses]
        return {**super().get_config(), "losses": losses}

    @classmethod
    def from_config(cls, config):
        losses = [(keras.losses.deserialize(loss), weight) for loss, weight in config["losses"]]
        return cls(**{**config, "losses": losses})
