"""Augmentations that combine two samples."""

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
    """Pastes pixels and labels of some classes of another crop over a crop.

    Olsson et al., 2021. Each class of the other crop is pasted with a probability of one half.
    Unlabeled pixels are not pasted. So rare classes occur in many different scenes.

    Attributes:
        share: fraction of the crops over which classes are pasted, in 0..1.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        check_number("share", self.share, most=1)

    def applies(self, seed: Seed) -> tf.Tensor:
        """Returns whether classes are pasted over a sample, a boolean tensor."""
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
    """Computes a weighted mean of two samples with a random weight (Zhang et al., 2018).

    Samples are `{"images", "labels"}` with one number for each class.

    Attributes:
        alpha: parameter of the distribution of the weight, Beta(alpha, alpha). With 0.2 most
            weights are near 0 or 1. With 1 weights are uniformly distributed.
    """

    alpha: float

    def __call__(self, sample: Sample, other: Sample, seed: Seed) -> Sample:
        share = _beta(self.alpha, seed)
        return {name: share * x + (1 - share) * other[name] for name, x in sample.items()}


@dataclass(frozen=True)
class CutMix:
    """Pastes a rectangle of another image over an image (Yun et al., 2019).

    Samples are `{"images", "labels"}` with one number for each class. The result has the mean of
    the labels, weighted by the areas.

    Attributes:
        alpha: parameter of the distribution of the remaining area, Beta(alpha, alpha).
    """

    alpha: float

    def __call__(self, sample: Sample, other: Sample, seed: Seed) -> Sample:
        area, place = tf.unstack(tf.random.split(seed, 2))
        size = tf.cast(tf.shape(sample["images"])[:2], tf.float32)
        sides = size * tf.sqrt(1 - _beta(self.alpha, area))
        # Every pixel may be the center. The rectangle is clipped to the image.
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
    """Draws a number from Beta(alpha, alpha)."""
    first, second = tf.unstack(tf.random.stateless_gamma([2], seed, alpha, dtype=tf.float64))
    # For a small alpha both numbers can be 0 in floating point.
    return tf.cast(first / tf.maximum(first + second, 1e-300), tf.float32)
