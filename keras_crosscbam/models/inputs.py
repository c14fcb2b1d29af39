"""Input tensors of the models and normalization of pixels."""

import keras

from keras_crosscbam.models.class_names import carry_classes
from keras_crosscbam.models.surgery import as_functional
from keras_crosscbam.private_api import nodes_in_order

# Mean and standard deviation of R, G and B in ImageNet, for pixels scaled to 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

NORMALIZATION = "normalize"
"""The name of the layer that normalizes pixels."""

GRAY = ("gray", "gray_to_color")
"""The names of the layers that convert gray pixels to three channels."""

_FIRST_LAYER = "stem_conv1"
# Names of layers and operations that do not change the scale of pixels at inference. Keras'
# augmentation layers with names that begin with "Random" do not change it either.
_SAME_SCALE = (
    *("Cast", "CenterCrop", "Cropping2D", "Identity", "Pad", "Reshape", "Resize", "Resizing"),
    *("GetItem", "Flip", "Transpose", "Permute", "UpSampling2D", "ZeroPadding2D"),
    *("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    *("AugMix", "CutMix", "MixUp", "RandAugment"),
)


def image_input(input_shape, input_tensor=None):
    """Returns the image tensor and the inputs of the model to build.

    Args:
        input_shape: `(height, width, channels)`. Height and width may be None.
        input_tensor: optional Keras tensor `(batch, height, width, channels)` to use instead, for
            example the output of other layers.

    Returns:
        A pair: the image tensor, and the `keras.Input` or list of them that it is computed from.

    Raises:
        ValueError: if the shape has no fixed number of channels, or does not have rank 3.
    """
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ValueError(
                "`input_tensor` must be a Keras tensor, for example keras.Input(...). "
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
    """Returns the input of the first convolution: normalized pixels of at least two channels.

    A gray image is converted to a color image with equal R, G and B, so that the same weights work
    for both and give the same scores. A first convolution with one channel would give other
    scores, because its zero padding stands for the mean color, which is not gray.

    Args:
        images: a Keras tensor `(batch, height, width, channels)`.
        include_preprocessing: whether `images` are pixels of 0..255. Otherwise they are normalized
            already.
    """
    pixels = normalize(images) if include_preprocessing else images
    if pixels.shape[-1] != 1:
        return pixels
    (mean,), (std,) = statistics(1)
    color = keras.layers.Concatenate(dtype="float32", name=GRAY[0])([pixels] * 3)
    # Pixels were normalized by the gray statistics. This normalizes them by those of each color.
    return keras.layers.Rescaling(
        scale=[[[std / s for s in STD]]],
        offset=[[[(mean - m) / s for m, s in zip(MEAN, STD, strict=True)]]],
        dtype="float32",
        name=GRAY[1],
    )(color)


def statistics(channels):
    """Returns the mean and standard deviation that each channel is normalized by.

        >>> from keras_crosscbam.models.inputs import statistics
        >>> statistics(4)
        ((0.485, 0.456, 0.406, 0.485), (0.229, 0.224, 0.225, 0.229))

    Both are for pixels scaled to 0..1. For three channels they are those of ImageNet. For one
    channel, which is gray, each is the mean of the three values. For other numbers of channels the
    values of R, G and B are repeated in order, as those of the first kernel are.
    """
    if channels == 1:
        return (sum(MEAN) / 3,), (sum(STD) / 3,)
    repeated = [color % 3 for color in range(channels)]
    return tuple(MEAN[color] for color in repeated), tuple(STD[color] for color in repeated)


def normalize(images):
    """Normalizes pixels of 0..255 by `statistics`, in float32 under every dtype policy."""
    mean, std = statistics(images.shape[-1])
    # Three axes: when Keras is set to channels_first, it applies a vector to the first axis.
    return keras.layers.Rescaling(
        scale=[[[1 / (255 * s) for s in std]]],
        offset=[[[-m / s for m, s in zip(mean, std, strict=True)]]],
        dtype="float32",
        name=NORMALIZATION,
    )(images)


def expects_normalized(model):
    """Returns whether a model expects normalized pixels (`include_preprocessing=False`).

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.inputs import expects_normalized
        >>> expects_normalized(kc.STDC1(include_top=False, include_preprocessing=False))
        True

    The answer follows from the graph: the pixels reach the first layer of the encoder without
    being normalized. So it is also correct for copies, for models from `.keras` files, and for
    models that have such a model as a layer.

    Args:
        model: a functional or sequential model. The result is False for a model without an STDC
            encoder.
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
    """Returns a model that takes pixels of 0..255 and shares the weights of `model`.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.inputs import expects_normalized, with_preprocessing
        >>> model = kc.STDC1(include_top=False, include_preprocessing=False)
        >>> expects_normalized(with_preprocessing(model))
        False

    Args:
        model: a functional or sequential model.

    Returns:
        A functional model that normalizes pixels first, if `model` expects normalized pixels
        (`expects_normalized`); else `model` itself.
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
