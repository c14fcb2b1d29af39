"""One crop out of two."""

from dataclasses import dataclass

import tensorflow as tf

from keras_crosscbam.datasets.labels import IGNORE


@dataclass(frozen=True)
class ClassMix:
    """Pastes some classes of another crop over a crop, pixels and labels (Olsson et al., 2021).

    Each class of the other crop is pasted with a probability of one half; what is unlabelled there
    never is. Rare classes so turn up in many places.

    Attributes:
        share: of the crops that something is pasted over, in 0..1.
    """

    share: float = 0.5

    def acts(self, seed):
        """Whether a sample is among those that get something pasted over."""
        return tf.random.stateless_uniform([], seed) < self.share

    def __call__(self, sample, other, seed):
        labels = other["segmentation_masks"]
        pasted = tf.random.stateless_uniform([IGNORE + 1], seed) < 0.5
        over = tf.gather(pasted, tf.cast(labels, tf.int32)) & (labels != IGNORE)
        return {
            "images": tf.where(over[..., None], other["images"], sample["images"]),
            "segmentation_masks": tf.where(over, labels, sample["segmentation_masks"]),
        }
