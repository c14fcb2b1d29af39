"""Adapter for augmentation layers of Keras and KerasCV in the input pipeline."""

import inspect
from dataclasses import dataclass

import keras
import numpy as np

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.runtime.errors import one_line
from keras_crosscbam.tf_data import tf


@dataclass(frozen=True)
class KerasAugmentation:
    """Applies a layer of Keras or KerasCV as an augmentation to images and their labels.

        >>> import keras
        >>> import tensorflow as tf
        >>> from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation
        >>> rotation = keras.layers.RandomRotation(0.02, fill_mode="constant")
        >>> images, masks = tf.zeros((90, 120, 3)), tf.zeros((90, 120), tf.uint8)
        >>> sample = {"images": images, "segmentation_masks": masks}
        >>> KerasAugmentation(rotation)(sample, seed=(7, 0))["segmentation_masks"].dtype
        tf.uint8

    Pixels that a layer fills with 0, black in the image, get the ignore label. The augmented images
    are float32 in 0..255. A layer with a `value_range` needs `(0, 255)`.

    Layers of Keras use the seed of the sample instead of their own, and their results are
    reproducible. Most layers of KerasCV use TensorFlow's generators in the order of the pipeline's
    threads, so their results are not reproducible, with or without a seed.

    The layer is tested on random images when the object is created. Interpolated labels are
    detected in every sample.

    Attributes:
        layer: a layer that augments a dictionary of `images` and `segmentation_masks`, such as
            `keras.layers.RandomFlip`, a `keras.layers.Pipeline` of such layers, or a layer of
            `keras_cv.layers`.

    Raises:
        ValueError: if it is not such a layer, if it creates, loses or misplaces labels, if its
            pixels are outside of 0..255, if it needs a fixed image size but the size varies, or if
            it is set to channels_first.
        tf.errors.InvalidArgumentError: when a sample is processed, if the layer interpolates its
            labels.
    """

    layer: keras.layers.Layer

    def __post_init__(self):
        if not isinstance(self.layer, keras.layers.Layer):
            raise ValueError(
                f"`layer` must be a layer of Keras or KerasCV. Received: {self.layer!r}"
            )
        layers = (self.layer, *getattr(self.layer, "layers", ()))
        if any(isinstance(layer, keras.layers.RandomElasticTransform) for layer in layers):
            raise ValueError(
                "RandomElasticTransform distorts labels and image differently: leave it out."
            )
        if any(getattr(layer, "data_format", None) == "channels_first" for layer in layers):
            raise ValueError(
                f"{self._name} is set to channels_first, but images are (height, width, channels): "
                'pass data_format="channels_last".'
            )
        problem = self._problem((64, 96), draws=8)
        if problem == self._makes_up:
            # Crops interpolate if they are larger than the image, so test a larger image.
            problem = self._problem((1056, 2080), draws=2)
        if problem:
            raise ValueError(problem)

    def __call__(self, sample, seed):
        labels = tf.cast(sample["segmentation_masks"], tf.uint8)
        inputs = {
            "images": tf.cast(sample["images"], tf.float32),
            # Inverted, so that the ignore label is 0, the value that layers pad with.
            "segmentation_masks": tf.cast(IGNORE - labels, tf.float32)[..., None],
        }
        outputs = self._augment(inputs, seed)
        masks = IGNORE - tf.cast(outputs["segmentation_masks"], tf.float32)[..., 0]
        labels = tf.cast(tf.clip_by_value(masks, 0, IGNORE), tf.uint8)
        exact = tf.reduce_all(tf.cast(labels, tf.float32) == masks)
        with tf.control_dependencies([tf.debugging.Assert(exact, [self._makes_up])]):
            images = tf.clip_by_value(tf.cast(outputs["images"], tf.float32), 0, 255)
        return {"images": images, "segmentation_masks": labels}

    def _augment(self, inputs, seed):
        takes_training = "training" in inspect.signature(self.layer.call).parameters
        options = {"training": True} if takes_training else {}
        try:
            with _DrawsFrom(seed):
                # RandomGrayscale fails for dictionaries in Keras 3.15.
                if isinstance(self.layer, keras.layers.RandomGrayscale):
                    return {**inputs, "images": self.layer(inputs["images"], **options)}
                return self.layer(inputs, **options)
        except Exception as error:
            shape = inputs["images"].shape
            if shape.is_fully_defined():
                raise
            raise ValueError(
                f"{self._name} needs images of a known size: use it after RandomScaleCrop. "
                f"Received: shape {shape}"
            ) from error

    def _problem(self, size, draws):
        """Returns a message if the layer gives wrong results for random samples, else None."""
        rng = np.random.default_rng(0)
        classes = np.array([3, 7, 254, IGNORE], np.uint8)
        sample = {
            "images": rng.integers(0, 256, (*size, 3), np.uint8),
            "segmentation_masks": rng.choice(classes, size),
        }
        try:
            drawn = tf.data.Dataset.range(draws).map(lambda i: self(sample, tf.stack([i, i])))
            drawn = list(drawn.as_numpy_iterator())
        except Exception as error:
            if self._makes_up in str(error):
                return self._makes_up
            raise ValueError(
                f"{self._name} cannot augment images together with labels: {one_line(error)}"
            ) from error
        left = {label for draw in drawn for label in np.unique(draw["segmentation_masks"])}
        if not left.issubset(classes):
            return self._makes_up
        if not left.issuperset(classes[:-1]):
            return f"{self._name} loses labels: pass segmentation_classes=256 if it is an argument."
        if max(draw["images"].max() for draw in drawn) <= 1:
            return (
                f"{self._name} returns pixels that are not in 0..255: pass value_range=(0, 255) if "
                "it is an argument."
            )
        if any(draw["images"].shape != (*draw["segmentation_masks"].shape, 3) for draw in drawn):
            return f"{self._name} returns image and labels of different sizes: leave it out."
        return None

    @property
    def _name(self):
        return type(self.layer).__name__

    @property
    def _makes_up(self):
        return (
            f"{self._name} creates new labels: it must interpolate them by nearest neighbor (no "
            "crop may be larger than its image) and fill with 0, which becomes the ignore label."
        )


def as_augmentation(augmentation):
    """Converts an augmentation to a callable of a sample and a seed.

        >>> import keras
        >>> from keras_crosscbam.datasets.keras_augmentation import as_augmentation
        >>> flip = as_augmentation(keras.layers.RandomFlip("horizontal"))

    Args:
        augmentation: a callable of a sample and a seed, or a layer that `KerasAugmentation`
            supports.

    Raises:
        ValueError: if the augmentation is neither.
    """
    if isinstance(augmentation, keras.layers.Layer):
        return KerasAugmentation(augmentation)
    try:
        inspect.signature(augmentation).bind("sample", "seed")
    except TypeError:
        pass
    else:
        if not isinstance(augmentation, type):
            return augmentation
    raise ValueError(
        "An augmentation must be a callable of a sample and a seed or a layer of Keras or KerasCV. "
        f"Received: {augmentation!r}"
    )


class _DrawsFrom(keras.StatelessScope):
    """Scope in which layers of Keras draw from a seed instead of their generator states."""

    def __init__(self, seed):
        super().__init__()
        self._key = tf.random.stateless_uniform([], seed, None, None, tf.uint32)
        self._draws = 0

    def get_current_value(self, variable):
        if variable.name != "seed_generator_state":
            return super().get_current_value(variable)
        self._draws += 1
        return tf.cast(tf.stack([self._key, self._draws]), variable.dtype)

    def add_update(self, update):
        """Ignores updates of the generator states."""
