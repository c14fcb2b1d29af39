"""Loads the teachers of a training and adds them to the model."""

import json
import math
from pathlib import Path

import keras
from keras import layers, ops

from keras_crosscbam.classes import class_table
from keras_crosscbam.models.architecture import architecture_of
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.training.losses.valid_pixels import logits_of_labels
from keras_crosscbam.variants import VARIANTS

# `keras.distillation.Distiller` is not used: it does not support ignored pixels or losses, metrics
# and weights by head, requires a teacher with the heads of the student, and saves the teacher with
# every checkpoint.


def find_teachers(recipe, classes):
    """Reads the weights of a recipe's teachers.

    Args:
        recipe: a `Recipe`.
        classes: classes of the training, a `ClassTable` or a list of names.

    Returns:
        A list of `Weights`, empty if the recipe has no teacher.

    Raises:
        ValueError: if there is no such file or name, or a teacher has other classes.
    """
    named = (recipe.teacher,) if isinstance(recipe.teacher, str) else recipe.teacher or ()
    teachers = [find_weights(name, VARIANTS[recipe.teacher_variant].architecture) for name in named]
    for weights in teachers:
        architecture_of(weights)
        table, known = class_table(classes), _class_names(weights)
        if weights.num_classes != table.num_classes or known not in (None, list(table.names)):
            raise ValueError(
                f"The teacher {weights.source} must have the classes of the training, "
                f"{', '.join(table.names)}. Received: "
                f"{', '.join(known) if known else f'{weights.num_classes} classes'}"
            )
    return teachers


def with_teachers(model, teachers, architecture):
    """Adds the output `"distilled"` to a model, for the loss `SegmentationDistillation`.

    Args:
        model: a model of `CrossCBAM` with an auxiliary head.
        teachers: a list of `Weights`.
        architecture: arguments of `CrossCBAM` that the files of the teachers do not contain.

    Returns:
        A functional model that shares the layers of `model`. Its weights do not include those of
        the teachers.
    """
    networks = []
    for weights in teachers:
        switches = architecture_of(weights) | _recorded(weights).get("architecture", {})
        network = CrossCBAM(
            **(switches | architecture),
            input_shape=model.input_shape[1:],
            name="teacher_network",
        )
        weights.load_into(network)
        network.trainable = False
        networks.append(network)
    taught = Teacher(networks, name="teacher", dtype="float32")(model.input)
    distilled = layers.Concatenate(name="distilled", dtype="float32")(
        [model.output["main"], taught]
    )
    return keras.Model(model.input, {**model.output, "distilled": distilled}, name=model.name)


class Teacher(layers.Layer):
    """Computes the logits of one or several trained networks in inference mode.

    For several networks, the layer returns the logarithm of the mean of their probabilities.

    Args:
        networks: list of models from images to logits. They are not part of the state of this
            layer, so checkpoints and weights files do not contain them.
    """

    def __init__(self, networks, **kwargs):
        super().__init__(**kwargs)
        # In a function, because Keras would track a list of models.
        self._networks = lambda: networks

    def call(self, images):
        logits = [network(images, training=False) for network in self._networks()]
        if len(logits) == 1:
            return ops.stop_gradient(logits[0])
        each = ops.stack([ops.log_softmax(logits_of_labels(x)) for x in logits])
        averaged = ops.logsumexp(each, axis=0) - math.log(len(logits))
        if logits[0].shape[-1] == 1:
            averaged = averaged[..., 1:] - averaged[..., :1]
        return ops.stop_gradient(averaged)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self._networks()[0].output.shape[-1])


def _class_names(weights):
    """Returns the class names of a teacher, or None if they are not known."""
    if weights.classes is not None:
        return list(weights.classes.names)
    return _described(weights).get("data", {}).get("classes")


def _recorded(weights):
    """Returns the recipe that a teacher was trained with, or an empty dict."""
    return weights.entry.get("recipe") or _described(weights).get("recipe", {})


def _described(weights):
    """Returns the contents of the `run.json` next to a weights file, or an empty dict."""
    file = Path(weights.source).with_name("run.json")
    return json.loads(file.read_text()) if file.is_file() else {}
