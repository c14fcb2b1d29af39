"""From STDC1 to STDC2 without losing what was learned."""

import math
from dataclasses import replace

import numpy as np

from keras_crosscbam.layers.conv import EPSILON
from keras_crosscbam.models.stdc import STAGE_BLOCKS, STAGE_FILTERS


def deepened(weights):
    """Weights of a network with STDC1, made to fit the same network with STDC2.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.deepen import deepened
        >>> from keras_crosscbam.models.weights import find_weights
        >>> model = kc.STDC2(num_classes=20)
        >>> deepened(find_weights("imagenet20", "stdc1")).load_into(model)  # doctest: +SKIP

    The deep network then computes what the shallow one did, and training goes on from there
    (Chen, Goodfellow and Shlens, "Net2Net", 2016). An STDC block can be repeated like this since
    its parts but for the first are functions of the first one: the first convolution of a repeated
    block only has to pass on the first half of the channels, the others are those of the block
    before.

    Args:
        weights: `Weights`, of a classifier or of a segmentation network.

    Returns:
        `Weights`.

    Raises:
        ValueError: if there is no whole STDC1 in them.
    """
    variables = dict(weights.variables)
    depths = zip(STAGE_BLOCKS["stdc1"], STAGE_BLOCKS["stdc2"], strict=True)
    for stage, (shallow, deep) in zip(STAGE_FILTERS, depths, strict=True):
        last = f"{stage}_block{shallow}_"
        of_last = {path[len(last) :]: v for path, v in variables.items() if path.startswith(last)}
        if not of_last or f"{stage}_block{shallow + 1}_conv1/conv" in variables:
            raise ValueError(f"{weights.source} does not hold the weights of an STDC1")
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
    """A batch normalization that changes nothing about the output of one with a ReLU.

    Its statistics are those of `max(x, 0)` where x is normal with mean beta and deviation gamma:
    what training finds at first, as far as the channels are normally distributed.
    """
    mean, deviation = np.float64(beta), np.maximum(np.abs(np.float64(gamma)), 1e-3)
    ratio = mean / deviation
    above = 0.5 * (1 + np.vectorize(math.erf)(ratio / math.sqrt(2)))
    density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    mean_above = mean * above + deviation * density
    variance = (mean**2 + deviation**2) * above + mean * deviation * density - mean_above**2
    variance = np.maximum(variance, 0)
    return [np.sqrt(variance + EPSILON), mean_above, mean_above, variance]
