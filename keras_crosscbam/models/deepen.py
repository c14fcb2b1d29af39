"""Converts weights of STDC1 to weights of the deeper STDC2."""

import math
from dataclasses import replace

import numpy as np

from keras_crosscbam.layers.conv import EPSILON
from keras_crosscbam.models.stdc import STAGE_BLOCKS, STAGE_FILTERS


def deepened(weights):
    """Converts weights of a network with STDC1 for the same network with STDC2.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.deepen import deepened
        >>> from keras_crosscbam.models.weights import find_weights
        >>> model = kc.STDC2(num_classes=20)
        >>> deepened(find_weights("imagenet20", "stdc1")).load_into(model)  # doctest: +SKIP

    The deep network then computes the same function as the shallow one, and training continues
    from there (Chen, Goodfellow and Shlens, "Net2Net", 2016). An STDC block can be repeated in
    this way because all its parts are functions of the first one. The first convolution of a
    repeated block passes on the first half of the channels. The other convolutions are copies of
    those of the previous block.

    Args:
        weights: `Weights` of a classifier or of a segmentation network.

    Returns:
        The converted `Weights`.

    Raises:
        ValueError: if the weights do not contain a complete STDC1.
    """
    variables = dict(weights.variables)
    depths = zip(STAGE_BLOCKS["stdc1"], STAGE_BLOCKS["stdc2"], strict=True)
    for stage, (shallow, deep) in zip(STAGE_FILTERS, depths, strict=True):
        last = f"{stage}_block{shallow}_"
        of_last = {path[len(last) :]: v for path, v in variables.items() if path.startswith(last)}
        if not of_last or f"{stage}_block{shallow + 1}_conv1/conv" in variables:
            raise ValueError(f"{weights.source} does not contain the weights of an STDC1")
        half = of_last["conv1/conv"][0].shape[-1]
        passing = {
            "conv1/conv": [np.eye(2 * half, half)[None, None]],
            "conv1/bn": _unchanging(*of_last["conv1/bn"]),
        }
        for block in range(shallow + 1, deep + 1):
            repeated = {**of_last, **passing}
            variables |= {f"{stage}_block{block}_{path}": v for path, v in repeated.items()}
    return replace(weights, variables=variables)


def _unchanging(gamma, beta, *_):
    """Returns variables of a batch normalization that does not change the ReLU output before it.

    The statistics are those of `max(x, 0)`, where x is normally distributed with mean beta and
    standard deviation gamma. These are close to the statistics in the first training steps, if the
    channels are normally distributed.
    """
    mean, deviation = np.float64(beta), np.maximum(np.abs(np.float64(gamma)), 1e-3)
    ratio = mean / deviation
    above = 0.5 * (1 + np.vectorize(math.erf)(ratio / math.sqrt(2)))
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    mean_above = mean * above + deviation * density
    variance = (mean**2 + deviation**2) * above + mean * deviation * density - mean_above**2
    variance = np.maximum(variance, 0)
    return [np.sqrt(variance + EPSILON), mean_above, mean_above, variance]
