"""Builders of STDC (Short-Term Dense Concatenate) encoders (Fan et al., CVPR 2021)."""

import keras
from keras import layers

from keras_crosscbam.layers import Square, UncountPadding
from keras_crosscbam.layers.conv import ConvBNReLU, batch_norm
from keras_crosscbam.models.inputs import encoder_input, image_input
from keras_crosscbam.models.weights import find_weights, switch
from keras_crosscbam.types import Activation, InputShape, StrPath
from keras_crosscbam.variants import encoder_name

STEM_FILTERS = (32, 64)
STAGE_FILTERS = {"stage3": 256, "stage4": 512, "stage5": 1024}
STAGE_BLOCKS = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}
CLASSIFIER_FILTERS = 1024

BASE_DOCSTRING = """{summary}

        >>> import numpy as np, keras_crosscbam
        >>> features = keras_crosscbam.{function}(include_top=False, input_shape=(None, None, 3))
        >>> {{k: tuple(f.shape) for k, f in features(np.zeros((1, 256, 512, 3))).items()}}
        {{'stage3': (1, 32, 64, 256), 'stage4': (1, 16, 32, 512), 'stage5': (1, 8, 16, 1024)}}

    The classifier is used to pretrain the encoder. Its layers are a 1x1 ConvBNReLU, global average
    pooling, dense, ReLU, dropout and dense. The dense layers have no bias.

    Args:{backbone}
        input_shape: `(height, width, channels)`. Height and width may be None. Weights fit any
            number of channels, as in `CrossCBAM`.
        num_classes: number of classes of the classifier. None uses the number of the weights, or
            1000 without weights.
        include_top: whether to add the classifier. Without it, the model returns the dict of
            feature maps described in `stdc_features`.
        weights: None, the name of shipped weights (`list_weights()`), a path or a URL.
        include_preprocessing: whether the model normalizes pixels of 0..255 itself. Otherwise it
            expects normalized pixels, as in `CrossCBAM`.
        classifier_activation: activation of the classifier, or None for logits.
        dropout_rate: fraction of the classifier's hidden units to drop in training.
        input_tensor: optional Keras tensor to use as input instead of a new one.
        alpha: width multiplier for all channels, as in `keras.applications.MobileNet`; a multiple
            of 1/32.
        count_include_pad: whether the average poolings include the zero padding. It is included in
            PyTorch's STDC, but not in Paddle's. None uses the value stored in the weights, or True
            without weights.
        square_top: whether the classifier squares its first feature maps before the global average
            pooling, as the published classifiers do. None uses the value stored in the weights, or
            False without weights.
        name: name of the model.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: for an unknown backbone, an `alpha` for which a number of channels is not an
            integer, or weights that do not fit.
"""
"""Template of the docstrings of all builders of encoders."""


def scaled(filters, alpha):
    """Returns a number of channels multiplied by the width multiplier.

        >>> from keras_crosscbam.models.stdc import scaled
        >>> scaled(256, alpha=0.5)
        128

    Raises:
        ValueError: if the result is not a positive integer. Since the stem has 32 channels,
            `alpha` must be a multiple of 1/32.
    """
    if not isinstance(alpha, int | float) or not alpha > 0 or (filters * alpha) % 1:
        raise ValueError(
            "`alpha` must be a positive number, and `alpha` times each number of channels must be "
            f"an integer. Received: alpha={alpha!r} for {filters} channels"
        )
    return int(filters * alpha)


def stdc_block(x, filters, strides, name, output_name=None, count_include_pad=True):
    """Applies an STDC block: four successive ConvBNReLU layers whose outputs are concatenated.

    Paper, section 3.1, Figure 2.

    Args:
        x: feature maps of shape `(batch, height, width, channels)`.
        filters: number of output channels, a multiple of 8. The four parts have 1/2, 1/4, 1/8 and
            1/8 of them.
        strides: 1 or 2. With 2, a depthwise convolution halves the size before the second part,
            and an average pooling halves that of the first part before the concatenation.
        name: prefix of the names of the layers.
        output_name: name of the concatenation layer; None for `{name}_concat`.
        count_include_pad: whether the average pooling includes the zero padding.

    Returns:
        Feature maps of shape `(batch, ceil(height / strides), ceil(width / strides), filters)`.
    """
    first = y = ConvBNReLU(filters // 2, 1, name=f"{name}_conv1")(x)
    if strides == 2:
        y = layers.ZeroPadding2D(1, data_format="channels_last", name=f"{name}_down_pad")(first)
        y = layers.DepthwiseConv2D(
            3,
            strides=2,
            data_format="channels_last",
            use_bias=False,
            depthwise_initializer="he_normal",
            name=f"{name}_down_conv",
            # TensorFlow's gradient takes seven times as long in bfloat16 on a CPU.
            dtype="float32",
        )(y)
        y = batch_norm(name=f"{name}_down_bn")(y)
        padded = layers.ZeroPadding2D(1, data_format="channels_last", name=f"{name}_pool_pad")(
            first
        )
        pooled = layers.AveragePooling2D(
            3, strides=2, data_format="channels_last", name=f"{name}_pool"
        )(padded)
        if not count_include_pad:
            pooled = UncountPadding(name=f"{name}_pool_uncounted")([pooled, first])
        first = pooled
    second = ConvBNReLU(filters // 4, 3, name=f"{name}_conv2")(y)
    third = ConvBNReLU(filters // 8, 3, name=f"{name}_conv3")(second)
    fourth = ConvBNReLU(filters // 8, 3, name=f"{name}_conv4")(third)
    concat = layers.Concatenate(name=output_name or f"{name}_concat")
    return concat([first, second, third, fourth])


def stdc_features(x, backbone, alpha=1.0, count_include_pad=True):
    """Applies the layers of the encoder to normalized pixels.

    Args:
        x: normalized images of shape `(batch, height, width, channels)`.
        backbone: `"stdc1"` or `"stdc2"`.
        alpha: width multiplier.
        count_include_pad: as in `STDC`.

    Returns:
        A dict `{"stage3": ..., "stage4": ..., "stage5": ...}` of the feature maps at 1/8, 1/16 and
        1/32 of the size, with 256, 512 and 1024 channels times `alpha`. The layers that output
        them have the same names.

    Raises:
        ValueError: for an unknown backbone, or an `alpha` for which a number of channels is not an
            integer.
    """
    if backbone not in STAGE_BLOCKS:
        raise ValueError(
            f"`backbone` must be one of {sorted(STAGE_BLOCKS)}. Received: {backbone!r}"
        )
    for index, filters in enumerate(STEM_FILTERS, start=1):
        x = ConvBNReLU(scaled(filters, alpha), 3, strides=2, name=f"stem_conv{index}")(x)
    features = {}
    for (stage, filters), blocks in zip(STAGE_FILTERS.items(), STAGE_BLOCKS[backbone], strict=True):
        for block in range(1, blocks + 1):
            x = stdc_block(
                x,
                scaled(filters, alpha),
                strides=2 if block == 1 else 1,
                name=f"{stage}_block{block}",
                output_name=stage if block == blocks else None,
                count_include_pad=count_include_pad,
            )
        features[stage] = x
    return features


def check_classifier(num_classes, activation):
    """Raises a `ValueError` for fewer than one class, or for a softmax over one class."""
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1. Received: {num_classes!r}")
    if num_classes == 1 and keras.activations.get(activation) is keras.activations.softmax:
        raise ValueError(
            "The softmax over one class is always 1. For `num_classes=1` "
            "`classifier_activation` must be None (logits) or 'sigmoid'. Received: 'softmax'"
        )


def STDC(
    backbone: str = "stdc1",
    input_shape: InputShape = (224, 224, 3),
    num_classes: int | None = None,
    include_top: bool = True,
    weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = "softmax",
    dropout_rate: float = 0.2,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    square_top: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    width = scaled(CLASSIFIER_FILTERS, alpha)
    architecture = encoder_name(backbone, alpha)
    pretrained = weights and find_weights(weights, architecture)
    if num_classes is None:
        num_classes = (pretrained and pretrained.num_classes) or 1000
    check_classifier(num_classes, classifier_activation)
    count_include_pad = switch("count_include_pad", count_include_pad, pretrained)
    inputs, source = image_input(input_shape, input_tensor)
    pixels = encoder_input(inputs, include_preprocessing)
    outputs = stdc_features(pixels, backbone, alpha, count_include_pad)
    if include_top:
        x = ConvBNReLU(width, 1, name="top_conv")(outputs["stage5"])
        if switch("square_top", square_top, pretrained):
            x = Square(name="top_square")(x)
        x = layers.GlobalAveragePooling2D(data_format="channels_last", name="top_pool")(x)
        x = layers.Dense(width, use_bias=False, activation="relu", name="top_dense")(x)
        x = layers.Dropout(dropout_rate, name="top_dropout")(x)
        outputs = layers.Dense(
            num_classes,
            use_bias=False,
            activation=classifier_activation,
            dtype="float32",
            name="predictions",
        )(x)
    model = keras.Model(source, outputs, name=name or architecture)
    if pretrained:
        pretrained.load_into(model, backbone_only=not include_top)
    return model


def STDC1(
    input_shape: InputShape = (224, 224, 3),
    num_classes: int | None = None,
    include_top: bool = True,
    weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = "softmax",
    dropout_rate: float = 0.2,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    square_top: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    return STDC("stdc1", **locals())


def STDC2(
    input_shape: InputShape = (224, 224, 3),
    num_classes: int | None = None,
    include_top: bool = True,
    weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = "softmax",
    dropout_rate: float = 0.2,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    square_top: bool | None = None,
    name: str | None = None,
) -> keras.Model:
    return STDC("stdc2", **locals())


STDC.__doc__ = BASE_DOCSTRING.format(
    summary="Builds an STDC network, as a classifier or as a feature extractor.",
    function="STDC",
    backbone="""
        backbone: `"stdc1"` or `"stdc2"`.""",
)
STDC1.__doc__ = BASE_DOCSTRING.format(
    summary="Builds STDC1, the encoder of Cross-CBAM-M, with or without a classifier.",
    function="STDC1",
    backbone="",
)
STDC2.__doc__ = BASE_DOCSTRING.format(
    summary="Builds STDC2, the encoder of Cross-CBAM-L, with or without a classifier.",
    function="STDC2",
    backbone="",
)
