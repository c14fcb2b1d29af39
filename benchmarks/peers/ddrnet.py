"""DDRNet-23-slim (Pan et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic
Segmentation of Traffic Scenes", 2021).

As in the authors' published code: two branches of residual blocks, one at 1/8 of the size and one
down to 1/64, fused twice. The auxiliary head, which is only used in training, is not included.
"""

from keras import ops

from keras_crosscbam.layers import ResizeLike
from peers.parts import conv_bn, from_pixels_to_scores
from peers.pyramid import deep_pyramid_pooling
from peers.residual import bottleneck, residual_head, stage, stem

STEM_FILTERS, HIGH_FILTERS, CONTEXT_FILTERS, HEAD_FILTERS = 32, 64, 128, 64
LOW_FILTERS = {3: 128, 4: 256}  # by stage


def ddrnet(input_shape, num_classes=19):
    """Builds DDRNet-23-slim.

        >>> from peers.ddrnet import ddrnet
        >>> ddrnet((64, 128, 3), num_classes=11).output_shape
        (None, 64, 128, 11)

    Returns:
        A `keras.Model` as described in `from_pixels_to_scores`.
    """

    def scores(x):
        return residual_head(dual_resolution(x), HEAD_FILTERS, num_classes)

    return from_pixels_to_scores(scores, input_shape, "ddrnet_23_slim")


def dual_resolution(x):
    """Computes the sum of both branches from normalized pixels: 128 channels, 1/8 of the size."""
    x = ops.relu(stage(stem(x, STEM_FILTERS), STEM_FILTERS, "stage1"))
    low = high = ops.relu(stage(x, HIGH_FILTERS, "stage2", strides=2))
    for number, filters in LOW_FILTERS.items():
        low = stage(low, filters, f"low{number}", strides=2)
        high = stage(high, HIGH_FILTERS, f"high{number}")
        low, high = fuse(low, high, number)
    high = bottleneck(high, HIGH_FILTERS, "high5")
    low = bottleneck(low, LOW_FILTERS[4], "low5", strides=2)
    low = deep_pyramid_pooling(low, CONTEXT_FILTERS, CONTEXT_FILTERS)
    return high + ResizeLike(name="low_resize")([low, high])


def fuse(low, high, number):
    """Bilateral fusion: adds each branch to the other one, followed by ReLU."""
    up = conv_bn(ops.relu(low), HIGH_FILTERS, 1, f"up{number}")
    down = ops.relu(high)
    # The size is halved for each doubling of the filters, without a ReLU after the last one.
    if number == 4:
        down = ops.relu(conv_bn(down, LOW_FILTERS[3], 3, "down4_first", strides=2))
    down = conv_bn(down, LOW_FILTERS[number], 3, f"down{number}", strides=2)
    return ops.relu(low + down), ops.relu(high + ResizeLike(name=f"up{number}_resize")([up, high]))
