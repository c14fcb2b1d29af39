"""Augmentations of images together with their labels, in TensorFlow operations for `tf.data`.

An augmentation is a callable of a sample, `{"images", "segmentation_masks"}`, and a seed. Its
result depends only on these two.
"""

from keras_crosscbam.datasets.augment.appearance import (
    RandomChoice,
    Sometimes,
    appearance,
    rand_augment,
)
from keras_crosscbam.datasets.augment.camera import RandomBlur, RandomJpeg, RandomNoise
from keras_crosscbam.datasets.augment.color import (
    PhotometricDistortion,
    RandomContrast,
    RandomGamma,
    RandomLowLight,
    RandomShade,
    RandomTemperature,
)
from keras_crosscbam.datasets.augment.geometry import (
    RandomErasing,
    RandomFlip,
    RandomRotation,
    RandomScaleCrop,
)
from keras_crosscbam.datasets.augment.mixing import ClassMix, CutMix, MixUp

__all__ = [
    "ClassMix",
    "CutMix",
    "MixUp",
    "PhotometricDistortion",
    "RandomBlur",
    "RandomChoice",
    "RandomContrast",
    "RandomErasing",
    "RandomFlip",
    "RandomGamma",
    "RandomJpeg",
    "RandomLowLight",
    "RandomNoise",
    "RandomRotation",
    "RandomScaleCrop",
    "RandomShade",
    "RandomTemperature",
    "Sometimes",
    "appearance",
    "rand_augment",
]
