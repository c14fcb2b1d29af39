"""A network of one convolution that ends as Cross-CBAM does, for tests of class names."""

import keras
import numpy as np

from keras_crosscbam.classes import class_table
from keras_crosscbam.layers import ResizeLike, Scores
from keras_crosscbam.models.class_names import SegmentationModel

NAMES = ("road", "car", "sky", "tree")


def named_network(names=NAMES, seed=0, shape=(None, None, 3), aux_head=False):
    """Scores by color, of a table or list of named classes or, for a number, of unnamed ones.

    The scores of a name are the same whatever the order of the names.
    """
    count = names if isinstance(names, int) else len(names)
    image = keras.Input(shape, name="image")
    head = keras.layers.Conv2D(count, 1, name="classifier")
    classes = None if isinstance(names, int) else class_table(names)
    scores = Scores(classes, name="resize", dtype="float32")([head(image), image])
    outputs = {"main": scores, "aux": ResizeLike()([head(image), image])} if aux_head else scores
    model = SegmentationModel(image, outputs, name="network")
    kernel = np.random.default_rng(seed).normal(size=(3, count))
    if classes and set(classes.names) == set(NAMES):
        kernel = kernel[:, [NAMES.index(name) for name in classes.names]]
    # Zero for a middle gray, so that every class has colors of its own.
    head.set_weights([kernel[None, None], -128 * kernel.sum(axis=0)])
    return model
