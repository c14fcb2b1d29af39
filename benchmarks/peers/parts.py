"""Common parts of the peers: input, output, convolutions, and random weights."""

import numpy as np
from keras import layers, ops

from keras_crosscbam.layers import ConvBNReLU, ResizeLike, Scores
from keras_crosscbam.layers.conv import batch_norm
from keras_crosscbam.models.class_names import SegmentationModel
from keras_crosscbam.models.inputs import image_input, normalize
from keras_crosscbam.models.stdc import stdc_features
from keras_crosscbam.private_api import resize_nearest_legacy


class NearestLike(ResizeLike):
    """Resizes feature maps to the size of a reference by nearest neighbor.

    Output position `i` is input position `floor(i * factor)`, as in PyTorch and Paddle.
    """

    def call(self, inputs):
        import tensorflow as tf

        x, reference = inputs
        return resize_nearest_legacy(x, tf.shape(reference)[1:3])


def conv(filters, kernel_size, name, strides=1):
    """Returns a convolution without bias, with padding at stride 1."""
    padding = "same" if strides == 1 else "valid"
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )


def classifier(num_classes):
    """The 1x1 convolution from features to scores, with a bias."""
    return layers.Conv2D(
        num_classes,
        1,
        data_format="channels_last",
        kernel_initializer="he_normal",
        name="classifier",
    )


def conv_bn(x, filters, kernel_size, name, strides=1):
    """Convolution with symmetric padding and batch normalization, without ReLU."""
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, data_format="channels_last", name=f"{name}_pad")(
            x
        )
    return batch_norm(name=f"{name}_bn")(conv(filters, kernel_size, f"{name}_conv", strides)(x))


def mean(x, name):
    """Computes the mean over all positions, shape `(batch, 1, 1, channels)`."""
    return layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=True, name=name)(x)


def segmentation_network(backbone, decoder, filters, input_shape, num_classes, name):
    """Builds a network of an STDC encoder, a decoder, and a head with a 3x3 convolution.

    Args:
        backbone: `"stdc1"` or `"stdc2"`.
        decoder: function from the encoder's dict of feature maps to a feature map at 1/8 of the
            size.
        filters: width of the head's convolution.
        input_shape: `(height, width, channels)`. Height and width may be None.
        num_classes: number of classes.
        name: name of the model.

    Returns:
        A `keras.Model` as described in `from_pixels_to_scores`.
    """

    def scores(x):
        x = ConvBNReLU(filters, 3, name="head")(decoder(stdc_features(x, backbone)))
        return conv(num_classes, 1, name="classifier")(x)

    return from_pixels_to_scores(scores, input_shape, name)


def from_pixels_to_scores(scores, input_shape, name):
    """Builds a network with normalization of pixels and resizing of scores to the image.

    Args:
        scores: function from normalized images to scores of any size.
        input_shape: `(height, width, channels)`. Height and width may be None.
        name: name of the model.

    Returns:
        A functional `keras.Model` with initial weights, from images
        `(batch, height, width, channels)` of 0..255 to float32 logits at their size. Its attribute
        `classes` can be set, as that of `CrossCBAM`.
    """
    image, _ = image_input(input_shape)
    x = Scores(name="resize", dtype="float32")([scores(normalize(image)), image])
    return SegmentationModel(image, x, name=name)


def draw_weights(model, seed=0):
    """Sets all weights and statistics of a model to random values of stable scale.

    No normalization is the identity, so errors in folding it are detected.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = variable.shape
        if variable.name == "kernel":
            # Each output of a depthwise kernel depends on one channel.
            inputs = np.prod(shape[:2] if "down_conv" in variable.path else shape[:3])
            value = rng.normal(0, np.sqrt(2 / inputs), shape)
        elif variable.name == "gamma":
            value = rng.uniform(0.5, 1.3, shape)
        elif variable.name == "moving_variance":
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.3, shape)
        if "/attend" in f"/{variable.path}" and variable.name in ("gamma", "beta"):
            value *= 0.03  # a product of two such feature maps would saturate the sigmoid of PIDNet
        variable.assign(ops.cast(value, variable.dtype))
