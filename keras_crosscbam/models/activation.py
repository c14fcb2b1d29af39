"""Finds and removes the final activation of a model."""

import keras

from keras_crosscbam.models.class_names import rewired
from keras_crosscbam.models.surgery import as_functional, inference_model
from keras_crosscbam.private_api import origin

ACTIVATIONS = ("softmax", "sigmoid")
"""The activations that convert logits to probabilities."""

# Names of layers and operations that change no value at inference, and of those that interpolate.
# Interpolated probabilities are still probabilities.
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
    """Returns the name of a model's final activation.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import final_activation
        >>> final_activation(kc.CrossCBAM_M(num_classes=3, classifier_activation="softmax"))
        'softmax'

    The activation may be a layer (`Softmax`, `Activation`), an operation (`keras.ops.softmax`) or
    the argument `activation` of a layer such as `Conv2D`. It may be inside a model that is used as
    a layer, and may be followed by a resizing. An activation inside a user-defined function is not
    found.

    Args:
        model: a functional or sequential model. If it has an auxiliary head, the main output is
            used.

    Returns:
        `"softmax"` for a softmax over the last axis, `"sigmoid"`, or None for a model that returns
        logits.
    """
    name = last_activation(model)
    return name if name in ACTIVATIONS else None


def last_activation(model):
    """Returns the name of the last activation before a model's output, of any kind.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import last_activation
        >>> last_activation(kc.CrossCBAM_M(num_classes=3))
        'linear'

    Args:
        model: as in `final_activation`.

    Returns:
        A name such as `"linear"` or `"tanh"`, or None if no activation is found.
    """
    return _activation_behind(inference_model(model).outputs[0])


def without_activation(model):
    """Removes the final activation of a model, so that it returns logits.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.activation import final_activation, without_activation
        >>> model = kc.CrossCBAM_M(num_classes=3, classifier_activation="softmax")
        >>> final_activation(without_activation(model)) is None
        True

    Args:
        model: as in `final_activation`.

    Returns:
        A functional model that shares its layers with `model`. If the activation is an argument of
        a layer, that layer is copied. A model that returns logits is returned unchanged.

    Raises:
        ValueError: if the model resizes probabilities, because then it has no logits at the size
            of its output.
    """
    if final_activation(model) is None:
        return inference_model(model)
    model = as_functional(inference_model(model))
    return rewired(model, model.input, _logits_of(model.outputs[0], model.name))


def _activation_behind(tensor):
    """Returns the name of the last activation that was applied to a Keras tensor."""
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
    """Returns the Keras tensor of the logits from which a tensor of probabilities is computed."""
    operation, node, index = origin(tensor)
    arguments, options = node.arguments.args, node.arguments.kwargs
    if isinstance(operation, keras.Model):
        inner = _inner_output(operation, index)
        logits = keras.Model(as_functional(operation).input, _logits_of(inner, model_name))
        return logits(*arguments, **options)
    if _interpolates(operation):
        raise ValueError(
            f"{model_name} resizes probabilities in {operation.name!r}, so it has no logits at the "
            "size of its output. Use output='probabilities' or 'labels', or apply the activation "
            "after the resizing."
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
    """Returns a nested model's own output tensor, or None for a subclassed model."""
    outputs = getattr(model, "outputs", None)
    return outputs and outputs[index]


def _activation_of(operation):
    """Returns the name of the activation that an operation is or applies last, or None."""
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid"):
        # A softmax over an axis other than that of the classes gives no class probabilities.
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
