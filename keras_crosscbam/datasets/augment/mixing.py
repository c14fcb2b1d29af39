"""One crop out of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets.argument_checks import check_number
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed


@dataclass(frozen=True)
class ClassMix:
    """Pastes some classes of another crop over a crop, pixels and labels (Olsson et al., 2021).

    Each class of the other crop is pasted with a probability of one half; what is unlabeled there
    never is. Rare classes so turn up in many places.

    Attributes:
        share: of the crops that something is pasted over, in 0..1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_number("share", self.share, most=1)

    def applies(self, seed: Seed) -> tf.Tensor:
        """Whether a sample is among those that get something pasted over."""
        return tf.random.stateless_uniform([], seed) < self.share

    def __call__(self, sample: Sample, other: Sample, seed: Seed) -> Sample:
        labels = other["segmentation_masks"]
        pasted = tf.random.stateless_uniform([IGNORE + 1], seed) < 0.5
        over = tf.gather(pasted, tf.cast(labels, tf.int32)) & (labels != IGNORE)
        return {
            "images": tf.where(over[..., None], other["images"], sample["images"]),
            "segmentation_masks": tf.where(over, labels, sample["segmentation_masks"]),
        }


@dataclass(frozen=True)
class MixUp:
    """Averages an image and another one, and their classes, by random shares (Zhang et al., 2018).

    Samples are `{"images", "labels"}` with one number for each class.

    Attributes:
        alpha: of the distribution of the share, Beta(alpha, alpha): 0.2 for shares that are mostly
            near 0 or 1, 1 for any share alike.
    """

    alpha: float

    def __call__(self, sample: Sample, other: Sample, seed: Seed) -> Sample:
        share = _beta(self.alpha, seed)
        return {name: share * x + (1 - share) * other[name] for name, x in sample.items()}


@dataclass(frozen=True)
class CutMix:
    """Pastes a rectangle of another image over an image (Yun et al., 2019).

    Samples are `{"images", "labels"}` with one number for each class, which are averaged by the
    areas.

    Attributes:
        alpha: of the distribution of the area that is left, Beta(alpha, alpha).
    """

    alpha: float

    def __call__(self, sample: Sample, other: Sample, seed: Seed) -> Sample:
        area, place = tf.unstack(tf.random.split(seed, 2))
        size = tf.cast(tf.shape(sample["images"])[:2], tf.float32)
        sides = size * tf.sqrt(1 - _beta(self.alpha, area))
        # Any pixel may be the center; what lies outside is cut off.
        center = tf.random.stateless_uniform([2], place) * size
        rows, columns = (
            tf.abs(at + 0.5 - center[axis]) < sides[axis] / 2
            for axis, at in enumerate((tf.range(size[0]), tf.range(size[1])))
        )
        pasted = rows[:, None] & columns
        share = tf.reduce_mean(tf.cast(pasted, tf.float32))
        return {
            "images": tf.where(pasted[..., None], other["images"], sample["images"]),
            "labels": share * other["labels"] + (1 - share) * sample["labels"],
        }


def _beta(alpha, seed):
    """A number drawn from Beta(alpha, alpha)."""
    first, second = tf.unstack(tf.random.stateless_gamma([2], seed, alpha, dtype=tf.float64))
    # Of a small alpha both can be too small for a float.
    return tf.cast(first / tf.maximum(first + second, 1e-300), tf.float32)
