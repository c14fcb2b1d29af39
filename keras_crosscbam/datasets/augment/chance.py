"""Augmentations that act at times."""

import functools
from dataclasses import dataclass

from keras_crosscbam.datasets.checks import check_number
from keras_crosscbam.tf_data import tf


@dataclass(frozen=True)
class Sometimes:
    """Another augmentation, on a share of the samples.

    Attributes:
        augmentation: a callable of a sample and a seed.
        share: of the samples, in 0..1.
    """

    augmentation: object
    share: float

    def __post_init__(self):
        check_number("share", self.share, most=1)

    def __call__(self, sample, seed):
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

    augmentations: tuple
    count: int = 2

    def __call__(self, sample, seed):
        sample = {**sample, "images": tf.cast(sample["images"], tf.float32)}
        for key in tf.unstack(tf.random.split(seed, self.count)):
            which, own = tf.unstack(tf.random.split(key, 2))
            index = tf.random.stateless_uniform([], which, 0, len(self.augmentations), tf.int32)
            branches = [functools.partial(a, sample, own) for a in self.augmentations]
            sample = tf.switch_case(index, branches)
        return sample
