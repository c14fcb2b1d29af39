"""The TensorFlow function of a model for export, and its description."""

import hashlib

import keras
import numpy as np

from keras_crosscbam._version import __version__
from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.models.activation import final_activation, without_activation
from keras_crosscbam.models.class_names import classes_of
from keras_crosscbam.private_api import origin
from keras_crosscbam.runtime.description import OUTPUTS, Description

PIXELS = {"float": "float32", "uint8": "uint8"}
"""Names of the pixel dtypes in descriptions, by the values of `input`."""


def describe(model, input, output):
    """Returns the `Description` of an exported model.

    It contains the names of the classes, if the model has them. Its `extra` contains the version
    of this package, the SHA-256 of the weights, and the entry that the file takes pixels of 0..255.

    Args:
        model: a functional model that takes pixels of 0..255.
        input: `"float"` or `"uint8"`.
        output: `"logits"`, `"probabilities"`, `"labels"` or `"coarse_logits"`.

    Raises:
        ValueError: for another input or output.
    """
    if input not in PIXELS or output not in OUTPUTS:
        raise ValueError(
            f"`input` must be one of {tuple(PIXELS)}, `output` of {OUTPUTS}. "
            f"Received: input={input!r}, output={output!r}"
        )
    extra = {
        "version": __version__,
        "weights_sha256": _sha256(model.get_weights()),
        "normalization": "inside",
    }
    return Description("nhwc", PIXELS[input], output, classes_of(model), extra)


def _sha256(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def serving_function(model, batch, description):
    """Returns a function from images to a dict with one output, named by its kind.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.export.serving import describe, serving_function
        >>> model = kc.CrossCBAM_M(num_classes=3, input_shape=(64, 96, 3))
        >>> serve = serving_function(model, 1, describe(model, "uint8", "labels"))
        >>> serve.get_concrete_function().structured_outputs["labels"].shape
        TensorShape([1, 64, 96])

    Args:
        model: a functional model from images to scores; its size is that of the function. A final
            softmax or sigmoid is removed for logits.
        batch: the fixed batch size, or None for any.
        description: a `Description`; only its pixels and output are used.

    Returns:
        A `tf.function` with one signature, whose argument is named `image`.

    Raises:
        ValueError: for coarse logits of a model that does not end in an upsampling of its scores,
            and for logits of a model that resizes probabilities.
    """
    import tensorflow as tf

    output, activation = description.output, final_activation(model)
    scores = without_activation(model) if output in ("logits", "coarse_logits") else model
    if output == "coarse_logits":
        scores = without_upsampling(scores)
    one_class, threshold = model.output_shape[-1] == 1, 0.0 if activation is None else 0.5
    spec = tf.TensorSpec((batch, *model.input_shape[1:]), description.pixels, name="image")

    @tf.function(input_signature=[spec])
    def serve(image):
        result = scores(tf.cast(image, tf.float32), training=False)
        if output == "probabilities" and activation is None:
            result = tf.sigmoid(result) if one_class else tf.nn.softmax(result)
        if output == "labels" and one_class:
            result = tf.squeeze(tf.cast(result > threshold, tf.int32), -1)
        elif output == "labels":
            result = tf.argmax(result, -1, output_type=tf.int32)
        return {output: tf.cast(result, tf.uint8) if output == "labels" else result}

    return serve


def without_upsampling(model):
    """Returns a model without its final upsampling to the size of the image."""
    layer, node, _ = origin(model.outputs[0])
    if not isinstance(layer, ResizeLike):
        raise ValueError(
            "Coarse logits need a model that ends in the layer ResizeLike. "
            f"Received: {model.name}, which ends in {layer.name}; use output='logits'."
        )
    return keras.Model(model.input, node.input_tensors[0])
