"""Augmentations that act at times."""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Sometimes:
    """Another augmentation, on a share of the samples.

    Attributes:
        augmentation: a callable of a sample and a seed.
        share: of the samples, in 0..1.
    """

    augmentation: object
    share: float

    def __call__(self, sample, seed):
        chance, own = tf.unstack(tf.random.split(seed, 2))
        # Both branches must be of one type, whatever the augmentation makes of integers.
        sample = {**sample, "images": tf.cast(sample["images"], tf.float32)}
        return tf.cond(
            tf.random.stateless_uniform([], chance) < self.share,
            lambda: self.augmentation(sample, own),
            lambda: sample,
        )
