"""STDC-Seg (Fan et al., "Rethinking BiSeNet for Real-time Semantic Segmentation", CVPR 2021).

As in the authors' published code: the context path of BiSeNet on stages 4 and 5, and feature fusion
with stage 3. The auxiliary and detail heads, which are only used in training, are not included.
"""

from keras import layers, ops

from keras_crosscbam.layers import ConvBNReLU
from peers.parts import NearestLike, conv, conv_bn, mean, segmentation_network

CONTEXT_FILTERS, FUSION_FILTERS = 128, 256


def stdc_seg(backbone, input_shape, num_classes=19):
    """Builds STDC1-Seg (`backbone="stdc1"`) or STDC2-Seg (`"stdc2"`).

        >>> from peers.stdc_seg import stdc_seg
        >>> stdc_seg("stdc2", (96, 128, 3), num_classes=11).output_shape
        (None, 96, 128, 11)

    Returns:
        A `keras.Model` as described in `segmentation_network`.
    """
    name = f"{backbone}_seg"
    return segmentation_network(backbone, decoder, FUSION_FILTERS, input_shape, num_classes, name)


def decoder(features):
    """Computes 256 channels at 1/8 of the size from the encoder's features (paper, Figure 4)."""
    low, middle, high = (features[f"stage{i}"] for i in (3, 4, 5))
    # The mean of the image is constant, so it is added by broadcasting, without resizing.
    context = ConvBNReLU(CONTEXT_FILTERS, 1, name="context_mean")(mean(high, "context_pool"))
    for stage, x, larger in ((5, high, middle), (4, middle, low)):
        x = attention_refinement(x, stage) + context
        x = NearestLike(name=f"context{stage}_resize")([x, larger])
        context = ConvBNReLU(CONTEXT_FILTERS, 3, name=f"context{stage}_conv")(x)
    return feature_fusion(low, context)


def attention_refinement(x, stage):
    """A 3x3 convolution whose channels are weighted by a gate computed from their means."""
    x = ConvBNReLU(CONTEXT_FILTERS, 3, name=f"refine{stage}")(x)
    gate = conv_bn(mean(x, f"refine{stage}_pool"), CONTEXT_FILTERS, 1, name=f"refine{stage}_gate")
    return x * ops.sigmoid(gate)


def feature_fusion(detail, context):
    """Fuses detail and context with a 1x1 convolution, and adds the gated channels."""
    x = ops.concatenate([detail, context], axis=-1)
    x = ConvBNReLU(FUSION_FILTERS, 1, name="fusion")(x)
    gate = conv(FUSION_FILTERS // 4, 1, name="fusion_reduce")(mean(x, "fusion_pool"))
    gate = layers.ReLU(name="fusion_relu")(gate)
    gate = ops.sigmoid(conv(FUSION_FILTERS, 1, name="fusion_expand")(gate))
    return x * gate + x
