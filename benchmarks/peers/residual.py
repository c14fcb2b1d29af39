"""Residual blocks and heads of the networks that descend from ResNet: DDRNet, PIDNet, SCTNet."""

from keras import ops

from keras_crosscbam.layers.conv import batch_norm
from peers.parts import classifier, conv, conv_bn


def stem(x, filters):
    """Two 3x3 convolutions that reduce the image to 1/4 of its size.

    The biases in the published code are left out, because the following normalization cancels them.
    """
    for number in (1, 2):
        x = ops.relu(conv_bn(x, filters, 3, f"stem{number}", strides=2))
    return x


def stage(x, filters, name, strides=1, blocks=2):
    """Residual blocks, the last one without its last ReLU, which not every successor needs."""
    x = basic_block(x, filters, f"{name}_block1", strides)
    for block in range(2, blocks + 1):
        x = basic_block(ops.relu(x), filters, f"{name}_block{block}")
    return x


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


def bn_relu_conv(x, filters, kernel_size, name):
    """Batch normalization, ReLU, convolution: the order in pyramid pooling and in the head."""
    x = ops.relu(batch_norm(name=f"{name}_bn")(x))
    return conv(filters, kernel_size, f"{name}_conv")(x)


def residual_head(x, filters, num_classes):
    """Computes scores with a 3x3 and a 1x1 convolution, each after normalization and ReLU."""
    x = bn_relu_conv(x, filters, 3, name="head")
    x = ops.relu(batch_norm(name="classifier_bn")(x))
    return classifier(num_classes)(x)
