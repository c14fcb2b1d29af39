"""How other streets look through other cameras, as one list of augmentations with a strength."""

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
"""The share of the crops that each of the augmentations of `appearance` acts on."""


def appearance(strength: float) -> list[Sometimes]:
    """Augmentations that change how a scene looks, in the order in which a camera has them.

        >>> from keras_crosscbam.datasets.augment import RandomFlip, appearance
        >>> augmentations = [RandomFlip(), *appearance(0.5)]

    First the light (shade, dusk, its color), then the lens (blur), the sensor (noise, gamma,
    contrast), and the file (JPEG). Each acts on a quarter of the crops, so that one of ten is left
    as it is.

    Args:
        strength: in 0..1, by which the largest change of each is multiplied.

    Returns:
        A list of callables of a sample and a seed.

    Raises:
        ValueError: for a strength outside 0..1.
    """
    return [Sometimes(change, SHARE) for change in _changes(strength)]


def rand_augment(strength: float) -> RandomChoice:
    """Two changes for each image, of appearance or a rotation, after Cubuk et al. (2020).

        >>> from keras_crosscbam.datasets.augment import RandomFlip, rand_augment
        >>> augmentations = [RandomFlip(), rand_augment(0.5)]

    For images that are only classified: RandAugment with the operations of `appearance` and a
    rotation by up to 30 degrees.

    Args:
        strength: in 0..1, by which the largest change of each is multiplied.

    Returns:
        A callable of a sample and a seed.

    Raises:
        ValueError: for a strength outside 0..1.
    """
    return RandomChoice((*_changes(strength), RandomRotation(30.0 * strength)), count=2)


def _changes(strength):
    """The augmentations of `appearance`, each of which acts on every sample."""
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
    """Another augmentation, on a share of the samples.

    Attributes:
        augmentation: a callable of a sample and a seed.
        share: of the samples, in 0..1.
    """

    augmentation: Callable[[Sample, Seed], Sample]
    share: float

    def __post_init__(self) -> None:
        check_number("share", self.share, most=1)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        chance, own = tf.unstack(tf.random.split(seed, 2))
        # Both branches must be of one type, whatever the augmentation makes of integers.
        sample = {**sample, "images": tf.cast(sample["images"], tf.float32)}
        return tf.cond(
            tf.random.stateless_uniform([], chance) < self.share,
            lambda: self.augmentation(sample, own),
            lambda: sample,
        )


@dataclass(frozen=True)
class RandomChoice:
    """Some of several augmentations, drawn anew for each sample and done one after the other.

    Attributes:
        augmentations: a tuple of callables of a sample and a seed.
        count: how many are drawn; one may be drawn twice.
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
