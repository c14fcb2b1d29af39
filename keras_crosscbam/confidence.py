"""How sure a network is of each pixel: maximum probability, entropy, and a threshold for labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.heat_map import heat_map
from keras_crosscbam.runtime.coarse_logits import labels_of_scores
from keras_crosscbam.runtime.probabilities import are_probabilities, as_probabilities, softmax

_ROWS = 64  # of an image at a time, so that what is computed in between takes little memory


class Prediction(NamedTuple):
    """What a network says of an image, each field `(height, width)`.

    Attributes:
        labels: uint8; 255 where the network is not sure enough.
        probability: float32, that of the label, the largest one of the pixel; 0..1.
        entropy: float32, that of the pixel's probabilities, as a share of the largest possible:
            0 where one class has all of it, 1 where all classes are equally probable.
    """

    labels: np.ndarray
    probability: np.ndarray
    entropy: np.ndarray


def probabilities_of(scores, output):
    """Class probabilities `(..., classes)` of scores.

    Args:
        scores: float32 `(..., classes)`.
        output: what they are by the `Description` of their network: `"probabilities"` or others.
    """
    return scores if output == "probabilities" else as_probabilities(scores)


def assess(
    scores: np.ndarray, output: str = "logits", threshold: float | None = None
) -> Prediction:
    """Labels, maximum probabilities and entropies of scores.

        >>> import numpy as np
        >>> from keras_crosscbam.confidence import assess
        >>> scores = np.float32([[[0, 9], [0, 0]]])
        >>> labels, probability, entropy = assess(scores, threshold=0.9)
        >>> labels.tolist(), probability.round(2).tolist(), entropy.round(2).tolist()
        ([[1, 255]], [[1.0, 0.5]], [[0.0, 1.0]])

    Args:
        scores: float32 `(height, width, classes)`, of two classes or more.
        output: as in `probabilities_of`.
        threshold: labels of a smaller probability become 255; None for no threshold.

    Returns:
        A `Prediction`.
    """
    size, classes = scores.shape[:2], scores.shape[2]
    labels = labels_of_scores(scores[None])[0]
    probability, entropy = np.empty(size, np.float32), np.empty(size, np.float32)
    output = "probabilities" if output == "probabilities" else "logits"
    are_shares = output == "probabilities" or are_probabilities(scores)
    for top in range(0, size[0], _ROWS):
        rows = slice(top, top + _ROWS)
        shares = np.clip(scores[rows] if are_shares else softmax(scores[rows]), 0, 1)
        probability[rows] = shares.max(axis=-1)
        logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        entropy[rows] = -(shares * logarithms).sum(axis=-1) / np.log(classes)
    if threshold is not None:
        labels[probability < threshold] = IGNORE
    return Prediction(labels, probability, entropy)


def check_threshold(threshold):
    """Raises a `ValueError` for what is neither None nor a probability."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be a probability of 0..1. Received: {threshold}")


def confidence_pictures(prediction):
    """The maps of a `Prediction` as pictures.

    Returns:
        A dict of `PIL.Image.Image`s: `"probability"` and `"entropy"`, 8-bit gray, 0..255 for 0..1,
        and `"confidence"`, in color, the probability from dark (0) to bright (1) beside its scale.
    """

    def gray(values):
        return Image.fromarray(np.rint(values * np.float32(255)).astype(np.uint8))

    return {
        "probability": gray(prediction.probability),
        "entropy": gray(prediction.entropy),
        "confidence": heat_map(prediction.probability, scale="probability of the label"),
    }
