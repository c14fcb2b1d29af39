"""Augmentations of lens, sensor and file: blur, noise and JPEG. Labels are not changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.argument_checks import check_number, check_range
from keras_crosscbam.datasets.augment.color import clip, require_color
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed


@dataclass(frozen=True)
class RandomBlur:
    """Blurs an image with a Gaussian kernel of random width.

    Attributes:
        sigma: largest standard deviation in pixels. The smallest is a quarter of a pixel. The
            kernel ends at three standard deviations.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        images = tf.cast(sample["images"], tf.float32)
        sigma = tf.random.stateless_uniform([], seed, 0.25, max(self.sigma, 0.25))
        radius = tf.cast(tf.math.ceil(3 * sigma), tf.int32)
        at = tf.cast(tf.range(-radius, radius + 1), tf.float32)
        taps = tf.nn.softmax(-0.5 * (at / sigma) ** 2)
        # One axis at a time. Images are reflected at the borders, which keeps the brightness there.
        height, width = (tf.shape(images)[axis] for axis in (0, 1))
        radius = tf.minimum(radius, tf.minimum(height, width) - 1)
        taps = taps[tf.size(taps) // 2 - radius : tf.size(taps) // 2 + radius + 1]
        taps = taps / tf.reduce_sum(taps)
        blurred = images
        for _ in range(2):
            blurred = tf.transpose(_along_rows(blurred, taps, radius), (1, 0, 2))
        return {**sample, "images": tf.ensure_shape(blurred, images.shape)}


def _along_rows(images, taps, radius):
    """Filters an array (height, width, channels) from top to bottom."""
    padded = tf.pad(images, [[radius, radius], [0, 0], [0, 0]], mode="REFLECT")
    shape = tf.shape(padded)
    flat = tf.reshape(padded, (1, shape[0], shape[1] * shape[2], 1))
    filtered = tf.nn.conv2d(flat, taps[:, None, None, None], 1, "VALID")
    return tf.reshape(filtered, tf.shape(images))


@dataclass(frozen=True)
class RandomNoise:
    """Adds normally distributed noise to each pixel and channel, with random strength.

    Attributes:
        sigma: largest standard deviation, in units of 0..255.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        amount, values = tf.unstack(tf.random.split(seed, 2))
        images = tf.cast(sample["images"], tf.float32)
        sigma = tf.random.stateless_uniform([], amount, 0.0, self.sigma)
        noise = tf.random.stateless_normal(tf.shape(images), values)
        return {**sample, "images": clip(images + sigma * noise)}


@dataclass(frozen=True)
class RandomJpeg:
    """Compresses and decompresses an image as JPEG with random quality.

    Attributes:
        quality: smallest and largest quality, in 0..100.
    """

    quality: tuple[int, int]

    def __post_init__(self) -> None:
        check_range("quality", self.quality, most=100)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        require_color(self, sample["images"])
        low, high = self.quality
        images = tf.cast(tf.round(tf.cast(sample["images"], tf.float32)), tf.uint8)
        quality = tf.random.stateless_uniform([], seed, low, high + 1, tf.int32)
        decoded = tf.image.adjust_jpeg_quality(images, quality)
        return {**sample, "images": tf.ensure_shape(tf.cast(decoded, tf.float32), images.shape)}
