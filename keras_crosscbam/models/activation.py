"""Whether a model gives logits or probabilities: the activation that it ends in."""

import keras

from keras_crosscbam.models.class_names import rewired
from keras_crosscbam.models.surgery import as_functional, inference_model
from keras_crosscbam.private_api import origin

ACTIVATIONS = ("softmax", "sigmoid")
"""The activations that make probabilities of logits."""

# Names of layers and operations that change no value at inference, and of those that interpolate,
# behind which probabilities are probabilities still.
_SAME = ("Cast", "Dropout", "Identity", "SpatialDropout2D")
_INTERPOLATING = (
    "AveragePooling2D",
    "CenterCrop",
    "Cropping2D",
    "Resize",
    "ResizeLike",
    "Resizing",
    "Scores",
    "UpSampling2D",
)


def final_activation(model):
    """Names the activation that a model ends in.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import final_activation
        >>> final_activation(kc.CrossCBAM_M(num_classes=3, classifier_activation="softmax"))
        'softmax'

    It is found as a layer (`Softmax`, `Activation`), as an operation (`keras.ops.softmax`), as the
    argument `activation` of a layer such as `Conv2D`, inside a model that is used as a layer, and
    before a resizing. One inside a function of the user's own is not found.

    Args:
        model: a functional or sequential model; of one with an auxiliary head, the main output.

    Returns:
        `"softmax"` over the last axis, `"sigmoid"`, or None for a model that gives logits.
    """
    name = last_activation(model)
    return name if name in ACTIVATIONS else None


def last_activation(model):
    """Names the activation that a model's scores went through last, whatever it is.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import last_activation
        >>> last_activation(kc.CrossCBAM_M(num_classes=3))
        'linear'

    Args:
        model: as in `final_activation`.

    Returns:
        A name such as `"linear"` or `"tanh"`, or None where it cannot be told.
    """
    return _activation_behind(inference_model(model).outputs[0])


def without_activation(model):
    """The model up to its final activation: from images to logits.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import final_activation, without_activation
        >>> model = kc.CrossCBAM_M(num_classes=3, classifier_activation="softmax")
        >>> final_activation(without_activation(model)) is None
        True

    Args:
        model: as in `final_activation`.

    Returns:
        A functional model over the same weights, but for the layer whose argument the activation
        is, which is a copy; a model that gives logits is returned as it is.

    Raises:
        ValueError: if the probabilities are resized, so that there are no logits of that size.
    """
    if final_activation(model) is None:
        return inference_model(model)
    model = as_functional(inference_model(model))
    return rewired(model, model.input, _logits_of(model.outputs[0], model.name))


def _activation_behind(tensor):
    """The activation that the values of a Keras tensor went through last."""
    operation, node, index = origin(tensor)
    if isinstance(operation, keras.Model):
        inner = _inner_output(operation, index)
        return None if inner is None else _activation_behind(inner)
    name = _activation_of(operation)
    looked_through = _changes_nothing(operation, name) or _interpolates(operation)
    if looked_through and name not in ACTIVATIONS:
        return _activation_behind(node.input_tensors[0])
    return name


def _logits_of(tensor, model_name):
    """The Keras tensor of the logits that a tensor of probabilities was made of."""
    operation, node, index = origin(tensor)
    arguments, options = node.arguments.args, node.arguments.kwargs
    if isinstance(operation, keras.Model):
        inner = _inner_output(operation, index)
        logits = keras.Model(as_functional(operation).input, _logits_of(inner, model_name))
        return logits(*arguments, **options)
    if _interpolates(operation):
        raise ValueError(
            f"{model_name} resizes probabilities in {operation.name!r}, so it has no logits at the "
            "size of its output. Use output='probabilities' or 'labels', or put the activation "
            "behind the resizing."
        )
    name = _activation_of(operation)
    if _changes_nothing(operation, name):
        return _logits_of(node.input_tensors[0], model_name)
    if type(operation).__name__ in ("Activation", "Lambda", "Softmax", "Sigmoid"):
        return node.input_tensors[0]
    linear = type(operation).from_config({**operation.get_config(), "activation": "linear"})
    logits = linear(*arguments, **options)
    linear.set_weights(operation.get_weights())
    return logits


def _inner_output(model, index):
    """An output of a model used as a layer, inside that model; None for a subclassed model."""
    outputs = getattr(model, "outputs", None)
    return outputs and outputs[index]


def _activation_of(operation):
    """The name of the activation that an operation is or ends in, or None."""
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid"):
        # Over another axis than that of the classes it makes no probabilities of classes.
        return kind.lower() if getattr(operation, "axis", -1) in (-1, 3) else None
    function = getattr(operation, "activation", None) or getattr(operation, "function", None)
    if function is None:
        return None
    return getattr(function, "__name__", type(function).__name__.lower()).removesuffix("_v2")


def _interpolates(operation):
    return type(operation).__name__ in _INTERPOLATING


def _changes_nothing(operation, name):
    kind = type(operation).__name__
    return kind in _SAME or (kind == "Activation" and name == "linear")
