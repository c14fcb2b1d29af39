"""Converts models from half precision to float32."""

import contextlib

import keras

from keras_crosscbam.models.class_names import carry_classes
from keras_crosscbam.models.surgery import as_functional
from keras_crosscbam.private_api import flatten_layers

HALF = ("float16", "bfloat16")


def in_float32(model):
    """Returns a copy of a model that computes in float32.

        >>> import keras, keras_crosscbam as kc
        >>> from keras_crosscbam.models.precision import in_float32
        >>> keras.config.set_dtype_policy("mixed_bfloat16")
        >>> model = kc.STDC1(num_classes=3)
        >>> keras.config.set_dtype_policy("float32")
        >>> in_float32(model).get_layer("stage3").compute_dtype
        'float32'

    Args:
        model: a functional or sequential model.

    Returns:
        A functional model with copied weights, or the model itself if none of its layers,
        nested ones included, computes or stores weights in float16 or bfloat16.
    """
    if not _is_half(model.layers) and not any(t.dtype in HALF for t in model.inputs):
        return model
    model = as_functional(model)

    def copied_input(x):
        dtype = "float32" if x.dtype in HALF else x.dtype
        return keras.Input(batch_shape=x.shape, dtype=dtype, name=x.name)

    def copied(layer):
        return type(layer).from_config(_in_float32(layer.get_config()))

    # Layers that create sublayers may give them the global policy.
    with _policy("float32"):
        exact = keras.models.clone_model(
            model,
            input_tensors=keras.tree.map_structure(copied_input, model.input),
            clone_function=copied,
            recursive=True,
        )
    exact.set_weights(model.get_weights())
    carry_classes(model, exact)
    return exact


def _is_half(layers):
    return any(
        inner.compute_dtype in HALF or inner.variable_dtype in HALF
        for layer in layers
        for inner in flatten_layers(layer)
        if not isinstance(inner, (keras.layers.InputLayer, keras.Model))
    )


def _in_float32(config):
    """Returns the configuration of a layer with half precision replaced by float32."""
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and _says_half(value) else _in_float32(value)
        for key, value in config.items()
    }


def _says_half(dtype):
    """Returns whether a dtype or dtype policy in a configuration is half precision."""
    if isinstance(dtype, dict) and dtype.get("class_name") == "DTypePolicy":
        dtype = dtype["config"]["name"]
    return isinstance(dtype, str) and dtype.removeprefix("mixed_") in HALF


@contextlib.contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
