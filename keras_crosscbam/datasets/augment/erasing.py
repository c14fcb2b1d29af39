"""Parts of a crop that are taken away."""

from dataclasses import dataclass

from keras_crosscbam.datasets.checks import check_range
from keras_crosscbam.datasets.labels import IGNORE
from keras_crosscbam.models.inputs import MEAN
from keras_crosscbam.tf_data import tf


@dataclass(frozen=True)
class RandomErasing:
    """Erases a random rectangle of the crop (Zhong et al., "Random erasing", 2020).

        >>> import tensorflow as tf
        >>> from keras_crosscbam.datasets.augment import RandomErasing
        >>> labels = tf.zeros((64, 96), tf.uint8)
        >>> sample = {"images": tf.zeros((64, 96, 3)), "segmentation_masks": labels}
        >>> erased = RandomErasing()(sample, seed=(0, 0))["segmentation_masks"]
        >>> int(tf.reduce_max(erased))
        255

    The rectangle gets the mean color, and its labels the ignore label: what cannot be seen is not
    asked for, since the answer could only be remembered of this very street. What lies around has
    to be told without it.

    Attributes:
        area_range: smallest and largest share of the crop.
        aspect_range: smallest and largest ratio of height to width, in relation to the crop's.
    """

    area_range: tuple[float, float] = (0.02, 0.25)
    aspect_range: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self):
        check_range("area_range", self.area_range, most=1)
        check_range("aspect_range", self.aspect_range, positive=True)

    def __call__(self, sample, seed):
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
        erased = {**sample, "images": tf.where(inside[..., None], 255 * tf.constant(MEAN), images)}
        if "segmentation_masks" in sample:
            labels = sample["segmentation_masks"]
            ignored = tf.constant(IGNORE, labels.dtype)
            erased["segmentation_masks"] = tf.where(inside, ignored, labels)
        return erased
