"""Converts logits to probabilities, and detects which of the two scores are."""

import numpy as np

TOLERANCE = 0.01
"""Maximum deviation of the sum of rounded or interpolated probabilities from 1."""


def softmax(logits):
    """Computes probabilities over the last axis.

    >>> import numpy as np
    >>> from keras_crosscbam.runtime.probabilities import softmax
    >>> softmax(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def are_probabilities(scores):
    """Returns whether all scores are in 0..1 and the scores of each pixel sum to 1.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.probabilities import are_probabilities, softmax
        >>> logits = np.float32([[1, -2, 3], [0, 0, 5]])
        >>> are_probabilities(logits), are_probabilities(softmax(logits))
        (False, True)

    Args:
        scores: array of shape `(..., num_classes)`, with at least two classes.
    """
    if scores.shape[-1] < 2 or scores.min() < -TOLERANCE or scores.max() > 1 + TOLERANCE:
        return False
    return bool(np.abs(scores.sum(axis=-1) - 1).max() <= TOLERANCE)


def as_probabilities(scores):
    """Returns probabilities unchanged, and the softmax of other scores.

    It is for networks without a description of their output, such as files from other tools.
    """
    return scores if are_probabilities(scores) else softmax(scores)
