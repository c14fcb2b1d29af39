"""Operations on built models: dropping the auxiliary head, freezing the encoder."""

from __future__ import annotations

import keras

from keras_crosscbam.models.class_names import carry_classes, rewired

_BACKBONE_PREFIXES = ("stem_", "stage")


def inference_model(model: keras.Model) -> keras.Model:
    """The model without its auxiliary head, over the very same weights.

        >>> import keras_crosscbam
        >>> training = keras_crosscbam.CrossCBAM_M(num_classes=11, aux_head=True)
        >>> keras_crosscbam.inference_model(training).output_shape
        (None, 720, 960, 11)

    Args:
        model: a functional model. One without an auxiliary head is returned as it is.

    Returns:
        A functional `keras.Model` from images to the main output. Training either model trains
        the other one.
    """
    single = isinstance(model, keras.Sequential) or not isinstance(model.output, dict)
    if single or "main" not in model.output:
        return model
    return rewired(model, model.input, model.output["main"])


def is_backbone(layer_name):
    """Whether a layer of this name belongs to the STDC encoder."""
    return layer_name.startswith(_BACKBONE_PREFIXES)


def freeze_backbone(model: keras.Model, trainable: bool = False) -> None:
    """Freezes the encoder, the statistics of its BatchNormalization layers included.

        >>> import keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM_M(num_classes=3)
        >>> keras_crosscbam.freeze_backbone(model)
        >>> model.get_layer("stage4_block1_conv1").trainable
        False

    A BatchNormalization layer that is not trainable normalizes by its moving statistics and
    leaves them alone, also inside `fit`. Compile after this call: Keras collects the trainable
    weights then.

    Args:
        model: any model that holds an STDC encoder.
        trainable: True thaws the encoder again.

    Raises:
        ValueError: if the model holds no layers of an encoder.
    """
    encoder = [layer for layer in model.layers if is_backbone(layer.name)]
    if not encoder:
        raise ValueError(f"The model holds no STDC encoder. Received: {model.name}")
    for layer in encoder:
        layer.trainable = trainable


def with_input_size(model: keras.Model, size: tuple[int | None, int | None]) -> keras.Model:
    """The same network for another input size, with a copy of the weights.

        >>> import keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM_M(num_classes=11)
        >>> keras_crosscbam.with_input_size(model, (360, 480)).output_shape
        (None, 360, 480, 11)

    Args:
        model: a functional or sequential model with one image input.
        size: `(height, width)` in pixels, or `(None, None)` for any.
    """
    model = as_functional(model)
    image = keras.Input((*size, model.input_shape[-1]), dtype=model.inputs[0].dtype, name="image")
    inputs = keras.tree.map_structure(lambda _: image, model.input)
    resized = keras.models.clone_model(model, input_tensors=inputs)
    resized.set_weights(model.get_weights())
    carry_classes(model, resized)
    return resized


def as_functional(model):
    """A functional or sequential model as a functional one of the same layers, not compiled.

    Losses and metrics of the user's own would keep such a model from being copied.
    """
    image, output = model.inputs[0], model.outputs[0]
    if not isinstance(model, keras.Sequential):
        image, output = model.input, model.output
    return rewired(model, image, output)
