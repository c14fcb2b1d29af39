"""The teachers of a training: found, checked, and set beside the network that learns."""

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

# `keras.distillation.Distiller` is not used: it knows neither ignored pixels nor losses, metrics
# and weights by head, wants a teacher with the student's heads, and saves it with every checkpoint.


def find_teachers(recipe, classes):
    """Reads the weights of a recipe's teachers.

    Args:
        recipe: a `Recipe`.
        classes: what the training is about, a `ClassTable` or a list of names.

    Returns:
        A list of `Weights`, empty if the recipe has no teacher.

    Raises:
        ValueError: if there is no such file or name, or a teacher knows other classes.
    """
    named = (recipe.teacher,) if isinstance(recipe.teacher, str) else recipe.teacher or ()
    teachers = [find_weights(name, VARIANTS[recipe.teacher_variant].architecture) for name in named]
    for weights in teachers:
        architecture_of(weights)
        table, known = class_table(classes), _class_names(weights)
        if weights.num_classes != table.num_classes or known not in (None, list(table.names)):
            raise ValueError(
                f"The teacher {weights.source} must know the classes of the training, "
                f"{', '.join(table.names)}. Received: "
                f"{', '.join(known) if known else f'{weights.num_classes} classes'}"
            )
    return teachers


def with_teachers(model, teachers, architecture):
    """The model with one more output, `"distilled"`, for the loss `SegmentationDistillation`.

    Args:
        model: a model of `CrossCBAM` with an auxiliary head.
        teachers: a list of `Weights`.
        architecture: arguments of `CrossCBAM` that the files of the teachers do not tell.

    Returns:
        A functional model over the same layers. The teachers are no part of its weights.
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
    """The logits of a trained network in inference mode, or of several together.

    The probabilities of several networks are averaged; their logarithm is then what is returned.

    Args:
        networks: models from images to logits. They are no part of this layer's state, so that
            neither checkpoints nor files of weights hold them.
    """

    def __init__(self, networks, **kwargs):
        super().__init__(**kwargs)
        # Keras would track a list of models.
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
    """The names of the classes that a teacher knows, or None."""
    if weights.classes is not None:
        return list(weights.classes.names)
    return _described(weights).get("data", {}).get("classes")


def _recorded(weights):
    """The recipe that a teacher was trained by, as far as it is known."""
    return weights.entry.get("recipe") or _described(weights).get("recipe", {})


def _described(weights):
    """What the folder of a run says about the weights in it."""
    file = Path(weights.source).with_name("run.json")
    return json.loads(file.read_text()) if file.is_file() else {}
