"""What every model starts with: its input tensor and the normalization of pixels."""

import keras

from keras_crosscbam.models.class_names import carry_classes
from keras_crosscbam.models.surgery import as_functional
from keras_crosscbam.private_api import nodes_in_order

# Mean and standard deviation of ImageNet's R, G, B on a scale of 0..1, the field's convention.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

NORMALIZATION = "normalize"
"""The name of the layer that normalizes pixels."""

GRAY = ("gray", "gray_to_color")
"""The names of the layers that make three channels of gray pixels."""

_FIRST_LAYER = "stem_conv1"
# Names of layers and operations that keep pixels on the scale that they have, at inference. So do
# Keras' augmentation layers, whose names begin with "Random".
_SAME_SCALE = (
    *("Cast", "CenterCrop", "Cropping2D", "Identity", "Pad", "Reshape", "Resize", "Resizing"),
    *("GetItem", "Flip", "Transpose", "Permute", "UpSampling2D", "ZeroPadding2D"),
    *("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    *("AugMix", "CutMix", "MixUp", "RandAugment"),
)


def image_input(input_shape, input_tensor=None):
    """The tensor to build on, and the inputs of the model that will contain it.

    Args:
        input_shape: `(height, width, channels)`; height and width may be None.
        input_tensor: a Keras tensor `(batch, height, width, channels)` to build on instead, for
            instance the output of other layers.

    Returns:
        A pair: the image tensor, and the `keras.Input`(s) that it comes from.

    Raises:
        ValueError: if the shape has no fixed number of channels, or is not of rank 3.
    """
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, for instance keras.Input(...). "
                f"Received: {type(input_tensor).__name__}"
            )
        sources = keras.utils.get_source_inputs(input_tensor)
        return input_tensor, sources[0] if len(sources) == 1 else sources
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise ValueError(
            "`input_shape` must be (height, width, channels) with a fixed number of channels. "
            f"Received: {input_shape!r}"
        )
    inputs = keras.Input(shape=input_shape, name="image")
    return inputs, inputs


def encoder_input(images, include_preprocessing):
    """What the first convolution takes of images: normalized pixels of at least two channels.

    A gray image is taken for a color image whose R, G and B are equal, so that all weights serve
    both and give the same scores. With one channel in the first convolution instead they could
    not: its padding is of the mean color, which is not gray.

    Args:
        images: a Keras tensor `(batch, height, width, channels)`.
        include_preprocessing: whether they are pixels of 0..255; else they are normalized already.
    """
    pixels = normalize(images) if include_preprocessing else images
    if pixels.shape[-1] != 1:
        return pixels
    (mean,), (std,) = statistics(1)
    color = keras.layers.Concatenate(dtype="float32", name=GRAY[0])([pixels] * 3)
    # From the statistics of gray to those of each color.
    return keras.layers.Rescaling(
        scale=[[[std / s for s in STD]]],
        offset=[[[(mean - m) / s for m, s in zip(MEAN, STD, strict=True)]]],
        dtype="float32",
        name=GRAY[1],
    )(color)


def statistics(channels):
    """Mean and standard deviation by which each channel is normalized, on a scale of 0..1.

        >>> from keras_crosscbam.models.inputs import statistics
        >>> statistics(4)
        ((0.485, 0.456, 0.406, 0.485), (0.229, 0.224, 0.225, 0.229))

    Those of ImageNet for three channels. One channel is gray and has the mean of the three; of
    other numbers the channels have those of R, G and B in turn, as their weights do.
    """
    if channels == 1:
        return (sum(MEAN) / 3,), (sum(STD) / 3,)
    repeated = [color % 3 for color in range(channels)]
    return tuple(MEAN[color] for color in repeated), tuple(STD[color] for color in repeated)


def normalize(images):
    """Scales pixels of 0..255 by `statistics`, in float32 whatever the dtype policy."""
    mean, std = statistics(images.shape[-1])
    # Of three axes, since Keras turns a vector to the first axis when it is set to channels_first.
    return keras.layers.Rescaling(
        scale=[[[1 / (255 * s) for s in std]]],
        offset=[[[-m / s for m, s in zip(mean, std, strict=True)]]],
        dtype="float32",
        name=NORMALIZATION,
    )(images)


def expects_normalized(model):
    """Whether a model takes normalized pixels: it was built with `include_preprocessing=False`.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.inputs import expects_normalized
        >>> expects_normalized(kc.STDC1(include_top=False, include_preprocessing=False))
        True

    It is told by the graph, and so in copies, in `.keras` files, and in models that have such a
    model as a layer: pixels reach the first layer of the encoder as they are.

    Args:
        model: a functional or sequential model. Of one without this encoder nothing is known, and
            the answer is False.
    """
    model = as_functional(model)
    pixels = {id(tensor) for tensor in model.inputs}
    for node in nodes_in_order(model):
        operation = node.operation
        if pixels.isdisjoint(map(id, node.input_tensors)):
            continue
        if operation.name == _FIRST_LAYER or _is_such_a_model(operation):
            return True
        if _keeps_scale(operation):
            pixels |= set(map(id, node.output_tensors))
    return False


def _keeps_scale(operation):
    kind = type(operation).__name__
    if operation.name in GRAY:
        return True
    if kind == "Activation":
        return getattr(operation.activation, "__name__", None) == "linear"
    return kind in _SAME_SCALE or kind.startswith("Random")


def _is_such_a_model(operation):
    is_graph = isinstance(operation, keras.Model) and getattr(operation, "inputs", None)
    return is_graph and expects_normalized(operation)


def with_preprocessing(model):
    """The model that takes pixels of 0..255, over the very same weights.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.inputs import expects_normalized, with_preprocessing
        >>> model = kc.STDC1(include_top=False, include_preprocessing=False)
        >>> expects_normalized(with_preprocessing(model))
        False

    Args:
        model: a functional or sequential model.

    Returns:
        A functional model that normalizes pixels first, if the model expects them normalized
        (`expects_normalized`); else the model itself.
    """
    if not expects_normalized(model):
        return model
    model = as_functional(model)
    given = model.inputs[0]
    image = keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)
    pixels = normalize(image)

    def call(layer, *args, **kwargs):
        args, kwargs = keras.tree.map_structure(
            lambda x: pixels if x is image else x, (args, kwargs)
        )
        return layer(*args, **kwargs)

    normalizing = keras.models.clone_model(
        model,
        input_tensors=keras.tree.map_structure(lambda _: image, model.input),
        clone_function=lambda layer: layer,
        call_function=call,
    )
    carry_classes(model, normalizing)
    return normalizing
