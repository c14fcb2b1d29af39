"""The roofline model: the time of a kernel from its work and the peak rates of a card.

>>> from keras_crosscbam.benchmark.cards import CARDS
>>> from keras_crosscbam.benchmark.kernels import Kernel
>>> conv = Kernel(("conv",), ("Conv",), "head", macs=10**9, values=10**6, other_bytes=0)
>>> card = CARDS["gtx-1080-ti"]
>>> round(1e3 * ideal_seconds(conv, card, "fp32"), 3), bound(conv, card, "fp32")
(0.176, 'arithmetic')

A network takes `ideal / efficiency + kernels * LAUNCH` seconds. The efficiency is the one constant
that is fitted, on published figures of one card (`keras_crosscbam.benchmark.calibration`).
"""

from keras_crosscbam.benchmark.cards import BYTES

LAUNCH = 5e-6
"""Seconds between two kernels: an assumption of the usual order, not fitted."""


def ideal_seconds(kernel, card, precision):
    """Returns the longer of a kernel's times at the peak rate and at the peak bandwidth."""
    return max(_times(kernel, card, precision))


def bound(kernel, card, precision):
    """Returns what limits a kernel on a card, `"arithmetic"` or `"memory"`."""
    arithmetic, memory = _times(kernel, card, precision)
    return "arithmetic" if arithmetic > memory else "memory"


def _times(kernel, card, precision):
    arithmetic = 2 * kernel.macs / card.rate(precision)
    return arithmetic, kernel.bytes(BYTES[precision]) / (1e9 * card.bandwidth)


def seconds(ideal, kernels, efficiency):
    """Returns the time of a number of kernels.

    >>> round(seconds(ideal=2e-3, kernels=100, efficiency=0.5), 6)
    0.0045
    """
    return ideal / efficiency + kernels * LAUNCH


def fit_efficiency(ideal, kernels, published):
    """Returns the efficiency with the least sum of squared relative errors.

        >>> fit_efficiency([1e-3, 2e-3], [100, 100], [2.5e-3, 4.5e-3])
        0.5

    Args:
        ideal: ideal seconds of each network.
        kernels: number of kernels of each network.
        published: published seconds of each network.
    """
    rows = list(zip(ideal, kernels, published, strict=True))
    # Relative error: slope * ideal / published - (1 - launches / published).
    products = sum(i / p * (1 - k * LAUNCH / p) for i, k, p in rows)
    return sum((i / p) ** 2 for i, k, p in rows) / products
