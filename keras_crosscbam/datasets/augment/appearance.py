"""Lists of augmentations of light and camera, controlled by a single strength."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.argument_checks import check_number
from keras_crosscbam.datasets.augment.camera import RandomBlur, RandomJpeg, RandomNoise
from keras_crosscbam.datasets.augment.color import (
    RandomContrast,
    RandomGamma,
    RandomLowLight,
    RandomShade,
    RandomTemperature,
)
from keras_crosscbam.datasets.augment.geometry import RandomRotation
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed

SHARE = 0.25
"""The fraction of the crops to which each augmentation of `appearance` is applied."""


def appearance(strength: float) -> list[Sometimes]:
    """Returns augmentations that change the light of a scene and properties of the camera.

        >>> from keras_crosscbam.datasets.augment import RandomFlip, appearance
        >>> augmentations = [RandomFlip(), *appearance(0.5)]

    Their order is that of image formation: the light (shade, low light, color temperature), the
    lens (blur), the sensor (noise, gamma, contrast), and the file (JPEG). Each is applied to a
    quarter of the crops, so one crop in ten is not changed.

    Args:
        strength: factor in 0..1 on the largest change of each augmentation.

    Returns:
        A list of callables of a sample and a seed.

    Raises:
        ValueError: for a strength outside 0..1.
    """
    return [Sometimes(change, SHARE) for change in _changes(strength)]


def rand_augment(strength: float) -> RandomChoice:
    """Returns an augmentation that applies two random changes (Cubuk et al., 2020).

        >>> from keras_crosscbam.datasets.augment import RandomFlip, rand_augment
        >>> augmentations = [RandomFlip(), rand_augment(0.5)]

    It is RandAugment with the operations of `appearance` and a rotation by up to 30 degrees, for
    classification.

    Args:
        strength: factor in 0..1 on the largest change of each augmentation.

    Returns:
        A callable of a sample and a seed.

    Raises:
        ValueError: for a strength outside 0..1.
    """
    return RandomChoice((*_changes(strength), RandomRotation(30.0 * strength)), count=2)


def _changes(strength):
    """Returns the augmentations of `appearance`, which change every sample here."""
    check_number("strength", strength, most=1)
    return [
        RandomShade(0.7 * strength),
        RandomLowLight(2.5 * strength, pale=0.4 * strength),
        RandomTemperature(0.4 * strength),
        RandomBlur(2.0 * strength),
        RandomNoise(16.0 * strength),
        RandomGamma(0.8 * strength),
        RandomContrast(0.5 * strength),
        RandomJpeg((round(100 - 80 * strength), 100)),
    ]


@dataclass(frozen=True)
class Sometimes:
    """Applies an augmentation to a random fraction of the samples.

    Attributes:
        augmentation: a callable of a sample and a seed.
        share: fraction of the samples, in 0..1.
    """

    augmentation: Callable[[Sample, Seed], Sample]
    share: float

    def __post_init__(self) -> None:
        check_number("share", self.share, most=1)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        chance, own = tf.unstack(tf.random.split(seed, 2))
        # Both branches must return the same dtype, and augmentations may return float32.
        sample = {**sample, "images": tf.cast(sample["images"], tf.float32)}
        return tf.cond(
            tf.random.stateless_uniform([], chance) < self.share,
            lambda: self.augmentation(sample, own),
            lambda: sample,
        )


@dataclass(frozen=True)
class RandomChoice:
    """Applies randomly selected augmentations to each sample, one after the other.

    Attributes:
        augmentations: a tuple of callables of a sample and a seed.
        count: number of augmentations to select. The same one may be selected twice.
    """

    augmentations: tuple[Callable[[Sample, Seed], Sample], ...]
    count: int = 2

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        sample = {**sample, "images": tf.cast(sample["images"], tf.float32)}
        for key in tf.unstack(tf.random.split(seed, self.count)):
            which, own = tf.unstack(tf.random.split(key, 2))
            index = tf.random.stateless_uniform([], which, 0, len(self.augmentations), tf.int32)
            branches = [functools.partial(a, sample, own) for a in self.augmentations]
            sample = tf.switch_case(index, branches)
        return sample
