"""Geometric augmentations: scale, crop, flip, rotation and erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets.argument_checks import check_number, check_range, check_size
from keras_crosscbam.models.inputs import statistics
from keras_crosscbam.private_api import transform_projectively
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from keras_crosscbam.types import Sample, Seed


@dataclass(frozen=True)
class RandomScaleCrop:
    """Scales, pads and crops an image and its labels at random, in one step.

    The image is scaled by a factor drawn uniformly from `scale_range`, and a window of `crop_size`
    is cut out at a random position. If the scaled image is smaller than the window, it is placed at
    a random position in the window, and the rest is filled with the mean color and the ignore
    label. Only the part of the image inside the window is resized, which is several times faster.

    Images are resized bilinearly, labels by nearest neighbor on the same half-pixel grid.

    Attributes:
        crop_size: `(height, width)` in pixels.
        scale_range: smallest and largest factor.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        check_size("crop_size", self.crop_size)
        check_range("scale_range", self.scale_range, positive=True)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        images, labels = sample["images"], sample["segmentation_masks"]
        channels, mean = images.shape[-1], _mean_color(images)
        seeds = tf.random.split(seed, 3)
        scale = tf.random.stateless_uniform([], seeds[0], *self.scale_range)
        size = tf.cast(tf.shape(images)[:2], tf.float32)
        crop = tf.constant(self.crop_size, tf.float32)
        # The size of the visible part, in pixels of the scaled image and of the source.
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
        images = tf.cond(
            tf.reduce_any(room > 0),
            lambda: tf.pad(images - mean, tf.concat([paddings, [[0, 0]]], axis=0)) + mean,
            lambda: images,
        )
        return {
            "images": tf.ensure_shape(images, (*self.crop_size, channels)),
            "segmentation_masks": tf.ensure_shape(labels, self.crop_size),
        }


@dataclass(frozen=True)
class RandomFlip:
    """Mirrors image and labels left to right with a probability of one half."""

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        flip = tf.random.stateless_uniform([], seed) < 0.5
        return {
            name: tf.cond(flip, lambda x=x: tf.reverse(x, axis=[1]), lambda x=x: x)
            for name, x in sample.items()
        }


@dataclass(frozen=True)
class RandomRotation:
    """Rotates image and labels about their center by a random angle.

        >>> import tensorflow as tf
        >>> from keras_crosscbam.datasets.augment import RandomRotation
        >>> labels = tf.zeros((64, 96), tf.uint8)
        >>> sample = {"images": tf.zeros((64, 96, 3)), "segmentation_masks": labels}
        >>> rotated = RandomRotation(5)(sample, seed=(0, 0))
        >>> int(rotated["segmentation_masks"][0, 0])
        255

    Images are interpolated bilinearly, labels by nearest neighbor. Pixels from outside the image
    get the mean color and the ignore label.

    Attributes:
        degrees: largest angle in degrees, in both directions.
    """

    degrees: float

    def __post_init__(self) -> None:
        check_number("degrees", self.degrees, most=180)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        limit = self.degrees * math.pi / 180
        angle = tf.random.stateless_uniform([], seed, -limit, limit)
        images = tf.cast(sample["images"], tf.float32)
        mean = _mean_color(images)
        rotated = {**sample, "images": _rotate(images - mean, angle, "BILINEAR", 0.0) + mean}
        if "segmentation_masks" in sample:
            labels = sample["segmentation_masks"][..., None]
            rotated["segmentation_masks"] = _rotate(labels, angle, "NEAREST", float(IGNORE))[..., 0]
        return rotated


def _rotate(images, angle, interpolation, outside):
    """Rotates a tensor (height, width, channels) about its center by an angle in radians."""
    size = tf.shape(images)[:2]
    row, column = tf.unstack((tf.cast(size, tf.float32) - 1) / 2)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # The transform maps columns and rows of the output to those of the input.
    right = column - cos * column + sin * row
    down = row - sin * column - cos * row
    zero = tf.zeros([])
    transform = tf.stack([cos, -sin, right, sin, cos, down, zero, zero])
    rotated = transform_projectively(
        images[None], transform[None], size, interpolation, fill_value=outside
    )
    return tf.ensure_shape(rotated[0], images.shape)


def _mean_color(images):
    """Returns the color in 0..255 that is normalized to 0, for RGB if channels are unknown."""
    mean, _ = statistics(images.shape[-1] or 3)
    return 255 * tf.constant(mean)


def _random_below(room, seed):
    """Draws integers uniformly from 0 to `room`, inclusive, for each element of `room`."""
    drawn = tf.random.stateless_uniform(tf.shape(room), seed) * (room + 1)
    return tf.cast(tf.minimum(tf.floor(drawn), room), tf.int32)


@dataclass(frozen=True)
class RandomErasing:
    """Erases a random rectangle of an image and its labels (Zhong et al., 2020).

        >>> import tensorflow as tf
        >>> from keras_crosscbam.datasets.augment import RandomErasing
        >>> labels = tf.zeros((64, 96), tf.uint8)
        >>> sample = {"images": tf.zeros((64, 96, 3)), "segmentation_masks": labels}
        >>> erased = RandomErasing()(sample, seed=(0, 0))["segmentation_masks"]
        >>> int(tf.reduce_max(erased))
        255

    Zhong et al., "Random erasing", 2020. The rectangle gets the mean color, and its labels get the
    ignore label, because a network could predict them only by memorizing the image. The network
    must predict the pixels around the rectangle without it.

    Attributes:
        area_range: smallest and largest area, as a fraction of the crop.
        aspect_range: smallest and largest ratio of height to width, relative to that of the crop.
    """

    area_range: tuple[float, float] = (0.02, 0.25)
    aspect_range: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        check_range("area_range", self.area_range, most=1)
        check_range("aspect_range", self.aspect_range, positive=True)

    def __call__(self, sample: Sample, seed: Seed) -> Sample:
        images = tf.cast(sample["images"], tf.float32)
        area, aspect, place = tf.unstack(tf.random.split(seed, 3))
        area = tf.random.stateless_uniform([], area, *self.area_range)
        low, high = tf.math.log(self.aspect_range[0]), tf.math.log(self.aspect_range[1])
        aspect = tf.exp(tf.random.stateless_uniform([], aspect, low, high))
        size = tf.cast(tf.shape(images)[:2], tf.float32)
        sides = size * tf.minimum(tf.sqrt(area * tf.stack([aspect, 1 / aspect])), 1.0)
        first = tf.random.stateless_uniform([2], place) * (size - sides)
        rows, columns = (
            (at >= tf.round(first[axis])) & (at < tf.round(first[axis] + sides[axis]))
            for axis, at in enumerate((tf.range(size[0]), tf.range(size[1])))
        )
        inside = rows[:, None] & columns
        erased = {**sample, "images": tf.where(inside[..., None], _mean_color(images), images)}
        if "segmentation_masks" in sample:
            labels = sample["segmentation_masks"]
            ignored = tf.constant(IGNORE, labels.dtype)
            erased["segmentation_masks"] = tf.where(inside, ignored, labels)
        return erased
