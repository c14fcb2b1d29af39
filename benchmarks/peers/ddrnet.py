"""DDRNet-23-slim (Pan et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic
Segmentation of Traffic Scenes", 2021).

As in the authors' published code: two branches of residual blocks, one at 1/8 of the size and one
down to 1/64, fused twice. The auxiliary head, which is only used in training, is not included. The
biases of the stem's convolutions are not included, because the following normalization cancels
them.
"""

from keras import layers, ops

from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.layers.conv import batch_norm
from peers.parts import conv, conv_bn, mean, timed_model

STEM_FILTERS, HIGH_FILTERS, CONTEXT_FILTERS, HEAD_FILTERS = 32, 64, 128, 64
LOW_FILTERS = {3: 128, 4: 256}  # by stage
POOLINGS = ((5, 2), (9, 4), (17, 8))  # sides and strides


def ddrnet(input_shape, num_classes=19):
    """Builds DDRNet-23-slim for a fixed image size.

        >>> from peers.ddrnet import ddrnet
        >>> ddrnet((64, 128, 3), num_classes=11).output_shape
        (None, 64, 128, 11)

    Returns:
        A `keras.Model` as described in `timed_model`.
    """

    def scores(x):
        x = bn_relu_conv(dual_resolution(x), HEAD_FILTERS, 3, name="head")
        x = ops.relu(batch_norm(name="classifier_bn")(x))
        return layers.Conv2D(num_classes, 1, data_format="channels_last", name="classifier")(x)

    return timed_model(scores, input_shape, "ddrnet_23_slim")


def dual_resolution(x):
    """Computes the sum of both branches from normalized pixels: 128 channels, 1/8 of the size."""
    for number in (1, 2):
        x = ops.relu(conv_bn(x, STEM_FILTERS, 3, f"stem{number}", strides=2))
    x = ops.relu(stage(x, STEM_FILTERS, "stage1"))
    low = high = ops.relu(stage(x, HIGH_FILTERS, "stage2", strides=2))
    for number, filters in LOW_FILTERS.items():
        low = stage(low, filters, f"low{number}", strides=2)
        high = stage(high, HIGH_FILTERS, f"high{number}")
        low, high = fuse(low, high, number)
    high = bottleneck(high, HIGH_FILTERS, "high5")
    low = pyramid_pooling(bottleneck(low, LOW_FILTERS[4], "low5", strides=2))
    return high + ResizeLike(name="low_resize")([low, high])


def stage(x, filters, name, strides=1):
    """Two residual blocks, the second without its last ReLU, which not every successor needs."""
    x = ops.relu(basic_block(x, filters, f"{name}_block1", strides))
    return basic_block(x, filters, f"{name}_block2")


def basic_block(x, filters, name, strides=1):
    """Adds two 3x3 convolutions and the shortcut."""
    y = ops.relu(conv_bn(x, filters, 3, f"{name}_first", strides))
    y = conv_bn(y, filters, 3, f"{name}_second")
    return y + shortcut(x, y, name, strides)


def bottleneck(x, filters, name, strides=1):
    """Adds three convolutions (1x1, 3x3, 1x1 to twice the filters) and the shortcut."""
    y = ops.relu(conv_bn(x, filters, 1, f"{name}_first"))
    y = ops.relu(conv_bn(y, filters, 3, f"{name}_second", strides))
    y = conv_bn(y, 2 * filters, 1, f"{name}_third")
    return y + shortcut(x, y, name, strides)


def shortcut(x, y, name, strides):
    """Returns the inputs of a block, projected if its outputs have another shape."""
    if strides == 1 and x.shape[-1] == y.shape[-1]:
        return x
    return conv_bn(x, y.shape[-1], 1, f"{name}_shortcut", strides)


def fuse(low, high, number):
    """Bilateral fusion: adds each branch to the other one, followed by ReLU."""
    up = conv_bn(ops.relu(low), HIGH_FILTERS, 1, f"up{number}")
    down = ops.relu(high)
    # The size is halved for each doubling of the filters, without a ReLU after the last one.
    if number == 4:
        down = ops.relu(conv_bn(down, LOW_FILTERS[3], 3, "down4_first", strides=2))
    down = conv_bn(down, LOW_FILTERS[number], 3, f"down{number}", strides=2)
    return ops.relu(low + down), ops.relu(high + ResizeLike(name=f"up{number}_resize")([up, high]))


def pyramid_pooling(x):
    """DAPPM: means over increasingly large regions, each added to the previous ones."""
    scales = [bn_relu_conv(x, CONTEXT_FILTERS, 1, name="scale0")]
    for number, pooled in enumerate((*pooled_maps(x), mean(x, "pool4")), start=1):
        y = bn_relu_conv(pooled, CONTEXT_FILTERS, 1, name=f"scale{number}")
        # The mean of the image is constant, so it is added by broadcasting, without resizing.
        if number <= len(POOLINGS):
            y = ResizeLike(name=f"scale{number}_resize")([y, x])
        y = bn_relu_conv(y + scales[-1], CONTEXT_FILTERS, 3, name=f"process{number}")
        scales.append(y)
    together = bn_relu_conv(ops.concatenate(scales, axis=-1), CONTEXT_FILTERS, 1, name="compress")
    return together + bn_relu_conv(x, CONTEXT_FILTERS, 1, name="past_scales")


def pooled_maps(x):
    """Yields the means over squares around every second, fourth and eighth position.

    The map is padded with zeros, which are included in the means.
    """
    for number, (size, strides) in enumerate(POOLINGS, start=1):
        padded = layers.ZeroPadding2D(
            size // 2, data_format="channels_last", name=f"pool{number}_pad"
        )(x)
        yield layers.AveragePooling2D(
            size, strides, data_format="channels_last", name=f"pool{number}"
        )(padded)


def bn_relu_conv(x, filters, kernel_size, name):
    """Batch normalization, ReLU, convolution: the order in DAPPM and in the head."""
    x = ops.relu(batch_norm(name=f"{name}_bn")(x))
    return conv(filters, kernel_size, f"{name}_conv")(x)
