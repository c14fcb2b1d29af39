"""Computes the confidence of predictions: maximum probability, entropy, and a label threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.heat_map import heat_map
from keras_crosscbam.runtime.coarse_logits import labels_of_scores
from keras_crosscbam.runtime.probabilities import are_probabilities, as_probabilities, softmax

_ROWS = 64  # rows of an image that are processed at a time, to limit the memory


class Prediction(NamedTuple):
    """Labels and confidence of an image, each field of shape `(height, width)`.

    Attributes:
        labels: uint8 labels; 255 where the probability is below the threshold.
        probability: probability of the label, the largest one of the pixel, float32, 0..1.
        entropy: entropy of the pixel's probabilities, divided by its maximum, float32: 0 if one
            class has probability 1, and 1 if all classes are equally probable.
    """

    labels: np.ndarray
    probability: np.ndarray
    entropy: np.ndarray


def probabilities_of(scores, output):
    """Converts scores to class probabilities `(..., classes)`.

    Args:
        scores: float32 `(..., classes)`.
        output: kind of the scores, as in the `Description` of the network, such as
            `"probabilities"`.
    """
    return scores if output == "probabilities" else as_probabilities(scores)


def assess(
    scores: np.ndarray, output: str = "logits", threshold: float | None = None
) -> Prediction:
    """Computes labels, maximum probabilities and entropies from scores.

        >>> import numpy as np
        >>> from keras_crosscbam.confidence import assess
        >>> scores = np.float32([[[0, 9], [0, 0]]])
        >>> labels, probability, entropy = assess(scores, threshold=0.9)
        >>> labels.tolist(), probability.round(2).tolist(), entropy.round(2).tolist()
        ([[1, 255]], [[1.0, 0.5]], [[0.0, 1.0]])

    Args:
        scores: float32 `(height, width, classes)`, for at least two classes.
        output: as in `probabilities_of`.
        threshold: labels with a smaller probability are set to 255; None for no threshold.

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
    """Raises a `ValueError` if the threshold is neither None nor a probability."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must be a probability of 0..1. Received: {threshold}")


def confidence_pictures(prediction):
    """Returns the maps of a `Prediction` as pictures.

    Returns:
        A dict of `PIL.Image.Image` objects: `"probability"` and `"entropy"`, 8-bit gray, 0..255 for
        0..1, and `"confidence"`, the probability in color from dark (0) to bright (1), with a color
        scale.
    """

    def gray(values):
        return Image.fromarray(np.rint(values * np.float32(255)).astype(np.uint8))

    return {
        "probability": gray(prediction.probability),
        "entropy": gray(prediction.entropy),
        "confidence": heat_map(prediction.probability, scale="probability of the label"),
    }
