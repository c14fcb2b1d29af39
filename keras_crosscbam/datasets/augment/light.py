"""The light on a scene; labels stay as they are."""

from dataclasses import dataclass

from keras_crosscbam.datasets.checks import check_number, check_size
from keras_crosscbam.tf_data import tf


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

    def __post_init__(self):
        check_number("depth", self.depth, most=1)
        check_size("cells", self.cells)

    def __call__(self, sample, seed):
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

    def __post_init__(self):
        check_number("stops", self.stops)
        check_number("pale", self.pale, most=1)

    def __call__(self, sample, seed):
        share = tf.random.stateless_uniform([], seed)
        images = tf.cast(sample["images"], tf.float32)
        gray = tf.reduce_mean(images, axis=-1, keepdims=True)
        images = images + (gray - images) * self.pale * share
        return {**sample, "images": images * 2.0 ** (-self.stops * share / 2.2)}
