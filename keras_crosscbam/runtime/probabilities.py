"""Logits and probabilities, told apart by their values and turned into one another."""

import numpy as np

TOLERANCE = 0.01
"""How far the sum of rounded or interpolated probabilities may be from 1."""


def softmax(logits):
    """Probabilities over the last axis.

    >>> import numpy as np
    >>> from keras_crosscbam.runtime.probabilities import softmax
    >>> softmax(np.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def are_probabilities(scores):
    """Whether all scores are in 0..1, and those of each pixel have the sum 1.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.probabilities import are_probabilities, softmax
        >>> logits = np.float32([[1, -2, 3], [0, 0, 5]])
        >>> are_probabilities(logits), are_probabilities(softmax(logits))
        (False, True)

    Args:
        scores: `(..., num_classes)`, of two classes or more.
    """
    if scores.shape[-1] < 2 or scores.min() < -TOLERANCE or scores.max() > 1 + TOLERANCE:
        return False
    return bool(np.abs(scores.sum(axis=-1) - 1).max() <= TOLERANCE)


def as_probabilities(scores):
    """Scores that are probabilities as they are; the softmax of any others.

    It tells what a network gives that does not say so, such as a file written elsewhere.
    """
    return scores if are_probabilities(scores) else softmax(scores)
