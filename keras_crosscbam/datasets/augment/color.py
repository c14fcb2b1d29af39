"""Colors of an image; labels stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.argument_checks import check_number, check_range, check_size
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed


@dataclass(frozen=True)
class PhotometricDistortion:
    """Random brightness, contrast, saturation and hue of the image; labels stay as they are.

    Each of the four acts with a probability of one half. Images of other than three channels have
    neither saturation nor hue: brightness and contrast alone vary.

    Attributes:
        brightness: largest shift, in units of 0..255.
        contrast: range of the factor on the distance from the image's mean.
        saturation: range of the factor on the saturation.
        hue: largest turn, as a share of the full circle.
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
    """Raises the pixels to a random power: brighter or darker, black and white staying as they are.

    Attributes:
        octaves: the power is between `2 ** -octaves` and `2 ** octaves`.
    """

    octaves: float

    def __post_init__(self) -> None:
        check_number("octaves", self.octaves)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        power = 2.0 ** tf.random.stateless_uniform([], seed, -self.octaves, self.octaves)
        images = tf.cast(sample["images"], tf.float32)
        # A quarter of the time of `**`.
        return {**sample, "images": 255 * tf.exp(power * tf.math.log(images / 255))}


@dataclass(frozen=True)
class RandomContrast:
    """Moves the pixels away from the mean of the image, or closer to it.

    Attributes:
        change: the factor on the distance is between `1 - change` and `1 + change`.
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
    """Makes the light warmer or colder: red up and blue down, or the other way round.

    Attributes:
        octaves: red is multiplied by up to `2 ** octaves` and divided by as much, blue the other
            way round.
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
    """Raises a `ValueError` for images of other than three channels."""
    if images.shape[-1] not in (3, None):
        raise ValueError(
            f"{type(augmentation).__name__} is for RGB images, of 3 channels; leave it out, or set "
            f"`appearance=0` in a recipe. Received: images of {images.shape[-1]} channels"
        )


def clip(images):
    """Pixels within 0..255."""
    return tf.clip_by_value(images, 0.0, 255.0)


def _saturate(images, factor):
    """`tf.image.adjust_saturation` in half the time: no way to HSV and back."""
    red, green, blue = tf.split(images, 3, axis=-1)
    high = tf.maximum(tf.maximum(red, green), blue)
    low = tf.minimum(tf.minimum(red, green), blue)
    # A pixel whose lowest channel is at 0 cannot be more saturated.
    factor = tf.minimum(factor, high / tf.maximum(high - low, 1e-6))
    return high + (images - high) * factor


@dataclass(frozen=True)
class RandomShade:
    """Casts soft shadows, as of trees and houses, on random parts of the image.

    Attributes:
        depth: largest share of the light that a shadow takes away, in 0..1.
        cells: rows and columns of the random field whose hills become shadows; more give smaller
            ones.
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
        # The factor makes an edge about an eighth of a cell wide.
        shadow = tf.clip_by_value(0.5 + 4 * hills, 0.0, 1.0)
        depth = tf.random.stateless_uniform([], amount, 0.0, self.depth)
        return {**sample, "images": images * (1 - depth * shadow)}


@dataclass(frozen=True)
class RandomLowLight:
    """Dusk: less light, and paler colors, as eyes and cameras have them when it gets dark.

    Attributes:
        stops: largest number of times that the light is halved. It is the light of the scene:
            pixels, which are its power of 1 / 2.2, fall to 0.73 with each.
        pale: share of the color that is lost with all stops, in 0..1.
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
