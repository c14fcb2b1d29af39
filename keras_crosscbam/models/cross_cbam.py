"""Cross-CBAM: STDC encoder, SE-ASPP context, CCBAM fusion (paper, section 3.4, Figure 1)."""

import logging
from collections.abc import Sequence
from functools import partial

import keras
from keras import layers

from keras_crosscbam.classes import class_table
from keras_crosscbam.layers import CCBAM, SEASPP, ConvBNReLU, ResizeLike, Scores
from keras_crosscbam.models.argument_types import (
    Activation,
    Classes,
    Fusion,
    InputShape,
    WeightsSource,
)
from keras_crosscbam.models.class_names import SegmentationModel
from keras_crosscbam.models.inputs import encoder_input, image_input
from keras_crosscbam.models.stdc import check_classifier, scaled, stdc_features
from keras_crosscbam.models.weights import find_weights, switch
from keras_crosscbam.variants import encoder_name

HEAD_FILTERS = 128
logger = logging.getLogger(__name__)

BASE_DOCSTRING = """{summary}

        {example}

    Args:{backbone}
        input_shape: `(height, width, channels)`; height and width are None for sizes that vary from
            call to call{default_shape}. The same weights serve all sizes and numbers of channels:
            1 for gray images, which are taken for RGB of three equal channels; 3 for RGB; for any
            other number the first convolution of weights for RGB is repeated, channel after
            channel, and multiplied by 3 / channels.
        num_classes: number of classes; None follows `classes` and the weights, or means
            {default_classes} without either. The number alone does not say which classes are meant:
            where it is that of the weights, the model keeps their head and the names of their
            classes, and one line of the log says so. Pass `classes` for classes of your own. 1 is
            for one kind of object: one logit a pixel, whose sigmoid is the probability of the
            object. Labels are 1 for the object, 0 for background, 255 for ignored pixels; a pixel
            is predicted as the object where its logit is above 0, its probability above 0.5.
        classes: the classes, a `ClassTable` such as `dataset.classes`, or a list of names. They
            are part of the model (`model.classes`), and go with it into every file that it is
            saved or exported to. Weights for other names are loaded without their head, and one
            line of the log says so.
        aspp_filters: width c of SE-ASPP and of the decoder (paper, Table 6).
        aspp_dilation_rates: rates of SE-ASPP's branches (paper, Table 5).
        use_se_aspp: whether stage 5 goes through SE-ASPP. Without it a ConvBNReLU 1x1 takes its
            place before the fusion (paper, Table 4).
        fusion: how the decoder takes in stages 4 and 3: `"ccbam"`, or `"sum"` to add them, which
            tells what attention is worth. None leaves them out, and the logits are made at 1/32;
            without SE-ASPP too, the model is the baseline of Table 4, an FCN head on stage 5.
        gate_activation: activation before the sigmoid of every gate, in both modules. The paper
            has none; `"relu"` is what the authors' FLOPs hint at (`flops.count_macs`). None
            follows the weights, or means none without weights.
        aux_head: whether to add the auxiliary FCN head on stage 4, for training. The model then
            returns `{{"main": ..., "aux": ...}}`; `inference_model` gives the main part back.
        weights: None, the name of shipped weights (`list_weights()`), a path or a URL.
        backbone_weights: the same for the encoder alone; loaded before `weights`.
        include_preprocessing: whether the model normalizes pixels of 0..255 itself. Without it,
            it expects `(pixels / 255 - mean) / std` with ImageNet's mean and standard deviation of
            R, G and B (of one channel the mean of the three, of others those of R, G and B in
            turn), for instance in `fit`; `segment`, `evaluate`, runtimes and exports of this
            package take pixels of 0..255 all the same, and normalize them for it.
        classifier_activation: activation on the logits, for instance `"softmax"`, or `"sigmoid"`
            for one class; None for none, which the losses of this package expect.
        dropout_rate: share of whole channels dropped before the classifier, in training.
        input_tensor: optional Keras tensor to build on instead of a new input.
        alpha: width multiplier on all channels of encoder and decoder, `aspp_filters` included, as
            in `keras.applications.MobileNet`; a multiple of 1/32. {default_alpha}
        count_include_pad: whether the encoder's average poolings count the zero padding, as in
            `STDC`. None follows the weights, or means True without weights.
        name: name of the model.

    Returns:
        A functional `keras.Model` from images `(batch, height, width, channels)` to float32 logits
        `(batch, height, width, num_classes)`, at the size of the images. Its attribute `classes` is
        a `ClassTable`, or None where the classes have no names.

    Raises:
        ValueError: for arguments out of range, unknown names, or weights that do not fit.
"""
"""The docstring of every builder of a segmentation network."""


def CrossCBAM(
    backbone: str = "stdc1",
    input_shape: InputShape = (512, 1024, 3),
    num_classes: int | None = None,
    classes: Classes = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: WeightsSource = None,
    backbone_weights: WeightsSource = None,
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
        """Dropout, 1x1 convolution, resizing to the image; float32 also in mixed precision."""
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
    """How many classes the arguments of a builder stand for."""
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
            "%s: num_classes=%d is taken for its own classes (%s), whose head the model keeps. "
            "Pass `classes=` for others.",
            pretrained.source,
            num_classes,
            ", ".join(pretrained.classes.names),
        )
    return num_classes


def _to_width(x, filters, name):
    """A ConvBNReLU 1x1 where the channels have to change, else `x` itself."""
    return x if x.shape[-1] == filters else ConvBNReLU(filters, 1, name=name)(x)


def _fuse(low, high, filters, stage, fusion, gate_activation):
    """Resizes the decoder's features to a stage of the encoder and makes one of the two."""
    high = ResizeLike(name=f"resize{stage}")([high, low])
    low = _to_width(low, filters, name=f"lateral{stage}")
    if fusion == "sum":
        return layers.Add(name=f"sum{stage}")([low, high])
    return CCBAM(gate_activation=gate_activation, name=f"ccbam{stage}")([low, high])


CrossCBAM.__doc__ = BASE_DOCSTRING.format(
    summary="Builds a Cross-CBAM segmentation network as a plain functional model.",
    example=""">>> import numpy as np, keras_crosscbam
        >>> model = keras_crosscbam.CrossCBAM(num_classes=19, input_shape=(None, None, 3))
        >>> tuple(model(np.zeros((1, 321, 481, 3))).shape)
        (1, 321, 481, 19)""",
    backbone="""
        backbone: `"stdc1"` (Cross-CBAM-M) or `"stdc2"` (Cross-CBAM-L).""",
    default_shape="",
    default_classes=19,
    default_alpha="The paper's networks have 1.0, `CrossCBAM_S` has 0.5.",
)
