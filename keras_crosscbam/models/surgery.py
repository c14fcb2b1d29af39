"""Functions that change built models, such as removing the auxiliary head."""

from __future__ import annotations

import keras

from keras_crosscbam.models.class_names import carry_classes, rewired

_BACKBONE_PREFIXES = ("stem_", "stage")


def inference_model(model: keras.Model) -> keras.Model:
    """Returns the model without its auxiliary head, with shared weights.

        >>> import keras_crosscbam
        >>> training = keras_crosscbam.CrossCBAM_M(num_classes=11, aux_head=True)
        >>> keras_crosscbam.inference_model(training).output_shape
        (None, 720, 960, 11)

    Args:
        model: a functional model. A model without an auxiliary head is returned unchanged.

    Returns:
        A functional `keras.Model` from images to the main output. Training one of the two models
        also trains the other.
    """
    single = isinstance(model, keras.Sequential) or not isinstance(model.output, dict)
    if single or "main" not in model.output:
        return model
    return rewired(model, model.input, model.output["main"])


def is_backbone(layer_name):
    """Returns whether a layer with this name belongs to the STDC encoder."""
    return layer_name.startswith(_BACKBONE_PREFIXES)


def freeze_backbone(model: keras.Model, trainable: bool = False) -> None:
    """Freezes the encoder, including the statistics of its BatchNormalization layers.

        >>> import keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM_M(num_classes=3)
        >>> keras_crosscbam.freeze_backbone(model)
        >>> model.get_layer("stage4_block1_conv1").trainable
        False

    A BatchNormalization layer that is not trainable normalizes by its moving statistics and does
    not update them, also in `fit`. Compile the model after this call, because `compile` collects
    the trainable weights.

    Args:
        model: a model with an STDC encoder.
        trainable: True to unfreeze the encoder.

    Raises:
        ValueError: if the model has no layers of an STDC encoder.
    """
    encoder = [layer for layer in model.layers if is_backbone(layer.name)]
    if not encoder:
        raise ValueError(f"The model must have an STDC encoder. Received: {model.name}")
    for layer in encoder:
        layer.trainable = trainable


def with_input_size(model: keras.Model, size: tuple[int | None, int | None]) -> keras.Model:
    """Returns a copy of a model for another input size.

        >>> import keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM_M(num_classes=11)
        >>> keras_crosscbam.with_input_size(model, (360, 480)).output_shape
        (None, 360, 480, 11)

    Args:
        model: a functional or sequential model with one image input.
        size: `(height, width)` in pixels, or `(None, None)` for any size.

    Returns:
        A functional model with copied weights.
    """
    model = as_functional(model)
    image = keras.Input((*size, model.input_shape[-1]), dtype=model.inputs[0].dtype, name="image")
    inputs = keras.tree.map_structure(lambda _: image, model.input)
    resized = keras.models.clone_model(model, input_tensors=inputs)
    resized.set_weights(model.get_weights())
    carry_classes(model, resized)
    return resized


def as_functional(model):
    """Returns a functional or sequential model as a functional model that is not compiled.

    The result has the same layers. A compiled model with user-defined losses and metrics could not
    be copied.
    """
    image, output = model.inputs[0], model.outputs[0]
    if not isinstance(model, keras.Sequential):
        image, output = model.input, model.output
    return rewired(model, image, output)
