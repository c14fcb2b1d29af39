"""Augmentation of an image together with its labels, in TensorFlow ops for `tf.data`."""

from dataclasses import dataclass

from keras_crosscbam.datasets.checks import check_number, check_range, check_size
from keras_crosscbam.datasets.labels import IGNORE
from keras_crosscbam.models.inputs import MEAN
from keras_crosscbam.tf_data import tf


@dataclass(frozen=True)
class RandomScaleCrop:
    """Random scale, padding and crop in one step: every output has the crop's size.

    An image is thought scaled by a factor of `scale_range`, uniformly drawn; a window of
    `crop_size` is cut out of it at random, or, where it is smaller than the window, it lies at
    random in the window, surrounded by the mean colour and the ignore label. Only the part of the
    image that ends up in the window is resized, which is several times faster.

    Images are resized bilinearly, labels by nearest neighbour on the same half-pixel grid.

    Attributes:
        crop_size: `(height, width)` in pixels.
        scale_range: smallest and largest factor.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self):
        check_size("crop_size", self.crop_size)
        check_range("scale_range", self.scale_range, positive=True)

    def __call__(self, sample, seed):
        images, labels = sample["images"], sample["segmentation_masks"]
        seeds = tf.random.split(seed, 3)
        scale = tf.random.stateless_uniform([], seeds[0], *self.scale_range)
        size = tf.cast(tf.shape(images)[:2], tf.float32)
        crop = tf.constant(self.crop_size, tf.float32)
        # The visible part of the scaled image, then the same window in pixels of the source.
        visible = tf.minimum(tf.round(size * scale), crop)
        window = tf.clip_by_value(tf.round(visible / scale), 1.0, size)
        start = _random_below(size - window, seeds[1])
        window, visible = tf.cast(window, tf.int32), tf.cast(tf.maximum(visible, 1.0), tf.int32)
        images = tf.slice(images, [start[0], start[1], 0], [window[0], window[1], -1])
        labels = tf.slice(labels, start, window)
        images = tf.image.resize(images, visible, method="bilinear")
        labels = tf.image.resize(labels[..., None], visible, method="nearest")[..., 0]

        room = tf.constant(self.crop_size) - visible
        before = _random_below(tf.cast(room, tf.float32), seeds[2])
        paddings = tf.stack([before, room - before], axis=1)
        labels = tf.pad(labels, paddings, constant_values=IGNORE)
        mean = 255 * tf.constant(MEAN)
        images = tf.cond(
            tf.reduce_any(room > 0),
            lambda: tf.pad(images - mean, tf.concat([paddings, [[0, 0]]], axis=0)) + mean,
            lambda: images,
        )
        return {
            "images": tf.ensure_shape(images, (*self.crop_size, 3)),
            "segmentation_masks": tf.ensure_shape(labels, self.crop_size),
        }


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors image and labels left to right with a probability of one half."""

    def __call__(self, sample, seed):
        flip = tf.random.stateless_uniform([], seed) < 0.5
        return {
            name: tf.cond(flip, lambda x=x: tf.reverse(x, axis=[1]), lambda x=x: x)
            for name, x in sample.items()
        }


@dataclass(frozen=True)
class PhotometricDistortion:
    """Random brightness, contrast, saturation and hue of the image; labels stay as they are.

    Each of the four acts with a probability of one half.

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

    def __post_init__(self):
        check_number("brightness", self.brightness)
        check_range("contrast", self.contrast)
        check_range("saturation", self.saturation)
        check_number("hue", self.hue, most=0.5)

    def __call__(self, sample, seed):
        images = tf.cast(sample["images"], tf.float32)
        chance, amount = tf.unstack(tf.random.split(seed, 2))
        acts = tf.random.stateless_uniform([4], chance) < 0.5
        brightness, contrast, saturation, hue = tf.unstack(tf.random.split(amount, 4))
        steps = (
            lambda x: tf.image.stateless_random_brightness(x, self.brightness, brightness),
            lambda x: tf.image.adjust_contrast(
                x, tf.random.stateless_uniform([], contrast, *self.contrast)
            ),
            lambda x: _saturate(x, tf.random.stateless_uniform([], saturation, *self.saturation)),
            lambda x: tf.image.stateless_random_hue(x, self.hue, hue),
        )
        for act, step in zip(tf.unstack(acts), steps, strict=True):

            def distort(x=images, step=step):
                return tf.clip_by_value(step(x), 0.0, 255.0)

            images = tf.cond(act, distort, lambda x=images: x)
        return {**sample, "images": images}


@dataclass(frozen=True)
class ClassMix:
    """Pastes some classes of another crop over a crop, pixels and labels (Olsson et al., 2021).

    Each class of the other crop is pasted with a probability of one half; what is unlabelled there
    never is. Rare classes so turn up in many places.

    Attributes:
        share: of the crops that something is pasted over, in 0..1.
    """

    share: float = 0.5

    def __post_init__(self):
        check_number("share", self.share, most=1)

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


def _saturate(images, factor):
    """`tf.image.adjust_saturation` in half the time: no way to HSV and back."""
    red, green, blue = tf.split(images, 3, axis=-1)
    high = tf.maximum(tf.maximum(red, green), blue)
    low = tf.minimum(tf.minimum(red, green), blue)
    # A pixel whose lowest channel is at 0 cannot be more saturated.
    factor = tf.minimum(factor, high / tf.maximum(high - low, 1e-6))
    return high + (images - high) * factor


def _random_below(room, seed):
    """Whole numbers drawn uniformly from 0..room, both included, for a vector of rooms."""
    drawn = tf.random.stateless_uniform(tf.shape(room), seed) * (room + 1)
    return tf.cast(tf.minimum(tf.floor(drawn), room), tf.int32)
