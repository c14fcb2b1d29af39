"""Builder of Cross-CBAM networks (paper, section 3.4, Figure 1)."""

import logging
from collections.abc import Sequence
from functools import partial

import keras
from keras import layers

from keras_crosscbam.classes import class_table
from keras_crosscbam.layers import CCBAM, SEASPP, ConvBNReLU, ResizeLike, Scores
from keras_crosscbam.models.class_names import SegmentationModel
from keras_crosscbam.models.inputs import encoder_input, image_input
from keras_crosscbam.models.stdc import check_classifier, scaled, stdc_features
from keras_crosscbam.models.weights import find_weights, switch
from keras_crosscbam.types import (
    Activation,
    Classes,
    Fusion,
    InputShape,
    StrPath,
)
from keras_crosscbam.variants import encoder_name

HEAD_FILTERS = 128
logger = logging.getLogger(__name__)

BASE_DOCSTRING = """{summary}

        {example}

    Args:{backbone}
        input_shape: `(height, width, channels)`. Height and width are None for sizes that vary
            between calls{default_shape}. The same weights work for all sizes and numbers of
            channels. Gray images (1 channel) are converted to RGB images with three equal
            channels. For any number of channels other than 1 and 3, the channels of the first
            kernel of RGB weights are repeated in order and multiplied by 3 / channels.
        num_classes: number of classes. None uses the number of `classes` or of the weights, or
            {default_classes} without either. If only the number is given, and it equals that of the
            weights, the model keeps the head of the weights and their class names, and logs a
            message. Pass `classes` if your classes are different ones. Use 1 to segment one kind
            of object: the model then returns one logit per pixel, and its sigmoid is the
            probability of the object. Labels are 1 for the object, 0 for background and 255 for
            ignored pixels. A pixel is predicted as the object if its logit is above 0, that is, if
            its probability is above 0.5.
        classes: the classes, a `ClassTable` such as `dataset.classes`, or a list of names. They
            are stored in the model (`model.classes`) and in every file that it is saved or
            exported to. Weights for other class names are loaded without their head, and a message
            is logged.
        aspp_filters: number of channels c of SE-ASPP and of the decoder (paper, Table 6).
        aspp_dilation_rates: dilation rates of the branches of SE-ASPP (paper, Table 5).
        use_se_aspp: whether SE-ASPP is applied to stage 5. Without it, a 1x1 ConvBNReLU is applied
            before the fusion instead (paper, Table 4).
        fusion: how the decoder uses stages 4 and 3: `"ccbam"`, or `"sum"` to add them, which
            allows the effect of attention to be measured. With None the decoder does not use them,
            and the logits are computed at 1/32 of the size. With None and without SE-ASPP, the
            model is the baseline of Table 4, an FCN head on stage 5.
        gate_activation: activation before the sigmoid of every gate, in both modules. The paper
            has none. The FLOPs in the paper suggest `"relu"` (see `flops.count_macs`). None uses
            the value stored in the weights, or no activation without weights.
        aux_head: whether to add the auxiliary FCN head on stage 4, for training. The model then
            returns `{{"main": ..., "aux": ...}}`. `inference_model` removes the auxiliary head.
        weights: None, the name of shipped weights (`list_weights()`), a path, a URL, or an address
            on the Hugging Face Hub, `"hf://user/name"` or `"hf://user/name@revision/file"`.
        backbone_weights: weights of the encoder alone, given like `weights` and loaded before
            them.
        include_preprocessing: whether the model normalizes pixels of 0..255 itself. Without it,
            the model expects `(pixels / 255 - mean) / std`, for example in `fit`, with the ImageNet
            mean and standard deviation of R, G and B. For one channel, each is the mean of the
            three values. For other numbers of channels, the values of R, G and B are repeated in
            order. `segment`, `evaluate`, runtimes and exports of this package still take pixels of
            0..255 and normalize them.
        classifier_activation: activation of the logits, for example `"softmax"`, or `"sigmoid"`
            for one class. None for no activation; the losses of this package expect logits.
        dropout_rate: fraction of the channels to drop before the classifier in training.
        input_tensor: optional Keras tensor to use as input instead of a new one.
        alpha: width multiplier for all channels of encoder and decoder, including `aspp_filters`,
            as in `keras.applications.MobileNet`; a multiple of 1/32. {default_alpha}
        count_include_pad: whether the average poolings of the encoder include the zero padding, as
            in `STDC`. None uses the value stored in the weights, or True without weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` from images `(batch, height, width, channels)` to float32 logits
        `(batch, height, width, num_classes)`, at the size of the images. Its attribute `classes` is
        a `ClassTable`, or None if the classes have no names.

    Raises:
        ValueError: for arguments out of range, unknown names, or weights that do not fit.
"""
"""Template of the docstrings of all builders of segmentation networks."""


def CrossCBAM(
    backbone: str = "stdc1",
    input_shape: InputShape = (512, 1024, 3),
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str | None = None,
) -> SegmentationModel:
    if fusion not in ("ccbam", "sum", None):
        raise ValueError(f"`fusion` must be 'ccbam', 'sum' or None. Received: {fusion!r}")
    width4, width3 = scaled(aspp_filters, alpha), scaled(min(aspp_filters, 256), alpha)
    head_width = scaled(HEAD_FILTERS, alpha)
    encoder_architecture = encoder_name(backbone, alpha)
    architecture = f"cross_cbam_{encoder_architecture}"
    pretrained = weights and find_weights(weights, architecture)
    encoder = backbone_weights and find_weights(backbone_weights, encoder_architecture)
    classes = None if classes is None else class_table(classes)
    num_classes = _number_of(classes, num_classes, pretrained)
    check_classifier(num_classes, classifier_activation)
    gate_activation = switch("gate_activation", gate_activation, pretrained)
    inputs, source = image_input(input_shape, input_tensor)
    pixels = encoder_input(inputs, include_preprocessing)
    count_include_pad = switch("count_include_pad", count_include_pad, pretrained or encoder)
    features = stdc_features(pixels, backbone, alpha, count_include_pad)

    def logits(x, prefix=""):
        """Returns float32 logits at the size of the image: dropout, 1x1 convolution, resizing."""
        x = layers.SpatialDropout2D(
            dropout_rate, data_format="channels_last", name=f"{prefix}dropout"
        )(x)
        x = layers.Conv2D(
            num_classes,
            1,
            data_format="channels_last",
            kernel_initializer="he_normal",
            name=f"{prefix}classifier",
        )(x)
        resize = ResizeLike if prefix else partial(Scores, classes)
        x = resize(name=f"{prefix}resize", dtype="float32")([x, inputs])
        if classifier_activation is not None:
            x = layers.Activation(
                classifier_activation, name=f"{prefix}activation", dtype="float32"
            )(x)
        return x

    x = features["stage5"]
    if use_se_aspp:
        x = SEASPP(width4, aspp_dilation_rates, gate_activation, name="se_aspp")(x)
    elif fusion:
        x = _to_width(x, width4, name="neck")
    else:
        x = ConvBNReLU(head_width, 3, name="fcn")(x)
    if fusion:
        x = _fuse(features["stage4"], x, width4, 4, fusion, gate_activation)
        x = _to_width(x, width3, name="neck4")
        x = _fuse(features["stage3"], x, width3, 3, fusion, gate_activation)
        x = _to_width(x, head_width, name="neck3")
    outputs = logits(x)
    if aux_head:
        aux = ConvBNReLU(head_width, 3, name="aux_fcn")(features["stage4"])
        outputs = {"main": outputs, "aux": logits(aux, prefix="aux_")}

    model = SegmentationModel(source, outputs, name=name or architecture)
    if encoder:
        encoder.load_into(model, backbone_only=True)
    if pretrained:
        pretrained.load_into(model)
    return model


def _number_of(classes, num_classes, pretrained):
    """Returns the number of classes that the arguments of a builder specify."""
    if classes is not None:
        if num_classes not in (None, classes.num_classes):
            raise ValueError(
                "`num_classes` must be the number of `classes`, or be left out. "
                f"Received: num_classes={num_classes}, {classes.num_classes} classes"
            )
        return classes.num_classes
    if num_classes is None:
        return (pretrained and pretrained.num_classes) or 19
    if pretrained and pretrained.classes is not None and pretrained.num_classes == num_classes:
        logger.warning(
            "%s: num_classes=%d equals the number of its classes (%s), so the model keeps its "
            "head. Pass `classes=` for other classes.",
            pretrained.source,
            num_classes,
            ", ".join(pretrained.classes.names),
        )
    return num_classes


def _to_width(x, filters, name):
    """Applies a 1x1 ConvBNReLU if the number of channels has to change, else returns `x`."""
    return x if x.shape[-1] == filters else ConvBNReLU(filters, 1, name=name)(x)


def _fuse(low, high, filters, stage, fusion, gate_activation):
    """Resizes the decoder's features to an encoder stage and fuses the two."""
    high = ResizeLike(name=f"resize{stage}")([high, low])
    low = _to_width(low, filters, name=f"lateral{stage}")
    if fusion == "sum":
        return layers.Add(name=f"sum{stage}")([low, high])
    return CCBAM(gate_activation=gate_activation, name=f"ccbam{stage}")([low, high])


CrossCBAM.__doc__ = BASE_DOCSTRING.format(
    summary="Builds a Cross-CBAM segmentation network as a functional model.",
    example=""">>> import numpy as np, keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM(num_classes=19, input_shape=(None, None, 3))
        >>> tuple(model(np.zeros((1, 321, 481, 3))).shape)
        (1, 321, 481, 19)""",
    backbone="""
        backbone: `"stdc1"` (Cross-CBAM-M) or `"stdc2"` (Cross-CBAM-L).""",
    default_shape="",
    default_classes=19,
    default_alpha="The networks of the paper have 1.0, `CrossCBAM_S` has 0.5.",
)
