"""Augmentations of colors and brightness. Labels are not changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.argument_checks import check_number, check_range, check_size
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed


@dataclass(frozen=True)
class PhotometricDistortion:
    """Changes brightness, contrast, saturation and hue of an image at random.

    Each of the four is changed with a probability of one half. Images without three channels have
    no saturation and hue, so only brightness and contrast are changed.

    Attributes:
        brightness: largest shift, in units of 0..255.
        contrast: smallest and largest factor on the difference from the mean of the image.
        saturation: smallest and largest factor on the saturation.
        hue: largest shift of the hue, as a fraction of the full circle.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 0.05

    def __post_init__(self) -> None:
        check_number("brightness", self.brightness)
        check_range("contrast", self.contrast)
        check_range("saturation", self.saturation)
        check_number("hue", self.hue, most=0.5)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        images = tf.cast(sample["images"], tf.float32)
        chance, amount = tf.unstack(tf.random.split(seed, 2))
        applies = tf.random.stateless_uniform([4], chance) < 0.5
        brightness, contrast, saturation, hue = tf.unstack(tf.random.split(amount, 4))
        steps = [
            lambda x: tf.image.stateless_random_brightness(x, self.brightness, brightness),
            lambda x: tf.image.adjust_contrast(
                x, tf.random.stateless_uniform([], contrast, *self.contrast)
            ),
            lambda x: _saturate(x, tf.random.stateless_uniform([], saturation, *self.saturation)),
            lambda x: tf.image.stateless_random_hue(x, self.hue, hue),
        ]
        if images.shape[-1] not in (3, None):
            applies, steps = applies[:2], steps[:2]
        for act, step in zip(tf.unstack(applies), steps, strict=True):

            def distort(x=images, step=step):
                return tf.clip_by_value(step(x), 0.0, 255.0)

            images = tf.cond(act, distort, lambda x=images: x)
        return {**sample, "images": images}


@dataclass(frozen=True)
class RandomGamma:
    """Raises the pixels to a random power, which does not change black and white.

    Attributes:
        octaves: the power is between `2 ** -octaves` and `2 ** octaves`.
    """

    octaves: float

    def __post_init__(self) -> None:
        check_number("octaves", self.octaves)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        power = 2.0 ** tf.random.stateless_uniform([], seed, -self.octaves, self.octaves)
        images = tf.cast(sample["images"], tf.float32)
        # This takes a quarter of the time of `**`.
        return {**sample, "images": 255 * tf.exp(power * tf.math.log(images / 255))}


@dataclass(frozen=True)
class RandomContrast:
    """Multiplies the difference of the pixels from the image's mean by a random factor.

    Attributes:
        change: largest change of the factor, which is in `1 - change` to `1 + change`.
    """

    change: float

    def __post_init__(self) -> None:
        check_number("change", self.change, most=1)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        factor = 1 + tf.random.stateless_uniform([], seed, -self.change, self.change)
        images = tf.cast(sample["images"], tf.float32)
        mean = tf.reduce_mean(images, axis=[0, 1], keepdims=True)
        return {**sample, "images": clip(mean + (images - mean) * factor)}


@dataclass(frozen=True)
class RandomTemperature:
    """Changes the color temperature of the light: multiplies red by a factor and divides blue.

    Attributes:
        octaves: exponent of the largest factor. The factor is in `2 ** -octaves` to `2 ** octaves`.
    """

    octaves: float

    def __post_init__(self) -> None:
        check_number("octaves", self.octaves)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        warm = 2.0 ** tf.random.stateless_uniform([], seed, -self.octaves, self.octaves)
        images = tf.cast(sample["images"], tf.float32)
        require_color(self, images)
        return {**sample, "images": clip(images * tf.stack([warm, 1.0, 1 / warm]))}


def require_color(augmentation, images):
    """Raises a `ValueError` for images without three channels."""
    if images.shape[-1] not in (3, None):
        raise ValueError(
            f"{type(augmentation).__name__} requires RGB images with 3 channels. Leave it out, or "
            f"set `appearance=0` in a recipe. Received: images with {images.shape[-1]} channels"
        )


def clip(images):
    """Clips pixels to 0..255."""
    return tf.clip_by_value(images, 0.0, 255.0)


def _saturate(images, factor):
    """Computes `tf.image.adjust_saturation` without conversion to HSV, in half the time."""
    red, green, blue = tf.split(images, 3, axis=-1)
    high = tf.maximum(tf.maximum(red, green), blue)
    low = tf.minimum(tf.minimum(red, green), blue)
    # The saturation is largest when the lowest channel is 0.
    factor = tf.minimum(factor, high / tf.maximum(high - low, 1e-6))
    return high + (images - high) * factor


@dataclass(frozen=True)
class RandomShade:
    """Darkens random parts of the image like soft shadows of trees and houses.

    Attributes:
        depth: largest fraction of the light that a shadow removes, in 0..1.
        cells: rows and columns of the random field whose maxima become shadows. More cells give
            smaller shadows.
    """

    depth: float
    cells: tuple[int, int] = (4, 5)

    def __post_init__(self) -> None:
        check_number("depth", self.depth, most=1)
        check_size("cells", self.cells)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        field, amount = tf.unstack(tf.random.split(seed, 2))
        images = tf.cast(sample["images"], tf.float32)
        hills = tf.random.stateless_uniform((*self.cells, 1), field, -1.0, 1.0)
        hills = tf.image.resize(hills, tf.shape(images)[:2], method="bicubic")
        # With this factor, the edge of a shadow is about an eighth of a cell wide.
        shadow = tf.clip_by_value(0.5 + 4 * hills, 0.0, 1.0)
        depth = tf.random.stateless_uniform([], amount, 0.0, self.depth)
        return {**sample, "images": images * (1 - depth * shadow)}


@dataclass(frozen=True)
class RandomLowLight:
    """Reduces brightness and saturation as at dusk.

    Attributes:
        stops: largest number of times that the light of the scene is halved. Each time the pixels,
            which are a power of 1 / 2.2 of the light, are multiplied by 0.73.
        pale: fraction of the saturation that is removed at the largest number of stops, in 0..1.
    """

    stops: float
    pale: float = 0.4

    def __post_init__(self) -> None:
        check_number("stops", self.stops)
        check_number("pale", self.pale, most=1)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        share = tf.random.stateless_uniform([], seed)
        images = tf.cast(sample["images"], tf.float32)
        gray = tf.reduce_mean(images, axis=-1, keepdims=True)
        images = images + (gray - images) * self.pale * share
        return {**sample, "images": images * 2.0 ** (-self.stops * share / 2.2)}
