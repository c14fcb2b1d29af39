"""Statistics of timed calls: percentiles, ratios, and confidence intervals."""

from typing import NamedTuple

import numpy as np

PERCENTILES = (50, 90, 99)


class Interval(NamedTuple):
    """A median and its confidence interval."""

    median: float
    low: float
    high: float

    @property
    def width(self):
        """Width of the interval as a share of the median."""
        return (self.high - self.low) / self.median


def percentiles(seconds):
    """Computes the 50th, 90th and 99th percentile, with linear interpolation.

    >>> from keras_crosscbam.benchmark.statistics import percentiles
    >>> [round(float(p), 2) for p in percentiles(range(101))]
    [50.0, 90.0, 99.0]
    """
    return tuple(float(p) for p in np.percentile(list(seconds), PERCENTILES))


def round_ratios(turns, peer_turns):
    """Computes the time of one contender relative to another, for each round.

        >>> from keras_crosscbam.benchmark.statistics import round_ratios
        >>> round_ratios([[1, 2, 9], [6]], [[4], [2, 4]])
        [0.5, 2.0]

    Both have their turns within the same seconds, so a temporary slowdown of the machine affects
    both and not their ratio.

    Args:
        turns: a list for each round, of the seconds of its calls.
        peer_turns: the same lists of the other contender.

    Returns:
        The ratio of the medians for each round; below 1 is faster than the other contender.
    """
    pairs = zip(turns, peer_turns, strict=True)
    return [float(np.median(turn) / np.median(peer)) for turn, peer in pairs]


def median_interval(values, confidence=0.95, resamples=10_000, seed=0):
    """Computes the median and its bootstrap interval (percentile method).

        >>> from keras_crosscbam.benchmark.statistics import median_interval
        >>> median_interval([2.0] * 5)
        Interval(median=2.0, low=2.0, high=2.0)

    Args:
        values: one value for each round, at least one.
        confidence: probability that the interval contains the true median, between 0 and 1.
        resamples: number of resamples, drawn with replacement.
        seed: seed of the resampling; the same values and seed give the same interval.

    Returns:
        An `Interval`.
    """
    values = np.asarray(list(values), float)
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, len(values), (resamples, len(values)))]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.median(drawn, axis=1), (tail, 100 - tail))
    return Interval(float(np.median(values)), float(low), float(high))


def is_settled(seconds, window=5, tolerance=0.02):
    """Returns whether the time of calls is stable.

    >>> from keras_crosscbam.benchmark.statistics import is_settled
    >>> is_settled([9, 8, 7, 6, 5, 5, 4, 4, 4, 4]), is_settled([4.0] * 10)
    (False, True)

    It is stable if the median of the last `window` calls differs from that of the `window` calls
    before by at most `tolerance`, a share.
    """
    if len(seconds) < 2 * window:
        return False
    before, last = np.median(seconds[-2 * window : -window]), np.median(seconds[-window:])
    return bool(abs(last - before) <= tolerance * before)
