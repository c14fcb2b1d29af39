"""What the peers share: the way in, the way out, and weights to time with."""

import keras
import numpy as np
from keras import layers, ops

from keras_crosscbam.layers import ConvBNReLU, ResizeLike
from keras_crosscbam.layers.conv import batch_norm
from keras_crosscbam.models.inputs import image_input, normalize
from keras_crosscbam.models.stdc import stdc_features
from keras_crosscbam.private_api import resize_nearest_legacy


class NearestLike(ResizeLike):
    """Resizes feature maps to the size of a reference by taking the nearest value.

    Position i takes position floor(i * factor), as PyTorch and Paddle do.
    """

    def call(self, inputs):
        import tensorflow as tf

        x, reference = inputs
        return resize_nearest_legacy(x, tf.shape(reference)[1:3])


def conv(filters, kernel_size, name, strides=1):
    """A convolution without bias, padded where its stride is 1."""
    padding = "same" if strides == 1 else "valid"
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        data_format="channels_last",
        use_bias=False,
        name=name,
    )


def conv_bn(x, filters, kernel_size, name, strides=1):
    """Convolution, padded alike on all sides, and batch normalization: what no ReLU follows."""
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, data_format="channels_last", name=f"{name}_pad")(
            x
        )
    return batch_norm(name=f"{name}_bn")(conv(filters, kernel_size, f"{name}_conv", strides)(x))


def mean(x, name):
    """The mean over all positions, of shape `(batch, 1, 1, channels)`."""
    return layers.GlobalAveragePooling2D(data_format="channels_last", keepdims=True, name=name)(x)


def segmentation_network(backbone, decoder, filters, input_shape, num_classes, name):
    """STDC encoder, decoder, head: 3x3 convolution, classifier, resizing to the image.

    Args:
        backbone: `"stdc1"` or `"stdc2"`.
        decoder: function from the encoder's dict of feature maps to those at 1/8 of the size.
        filters: width of the head's convolution.
        input_shape: `(height, width, channels)`, the size fixed.
        num_classes: number of classes.
        name: name of the model.

    Returns:
        A `keras.Model` as described in `timed_model`.
    """

    def scores(x):
        x = ConvBNReLU(filters, 3, name="head")(decoder(stdc_features(x, backbone)))
        return conv(num_classes, 1, name="classifier")(x)

    return timed_model(scores, input_shape, name)


def timed_model(scores, input_shape, name):
    """A network between the way in, which normalizes pixels, and the way out, which resizes scores.

    Args:
        scores: function from normalized images to scores of any size.
        input_shape: `(height, width, channels)`, the size fixed.
        name: name of the model.

    Returns:
        A functional `keras.Model` with random weights, the same ones each time, from images
        `(batch, height, width, channels)` of 0..255 to float32 logits at their size.
    """
    if None in input_shape:
        raise ValueError(
            "A peer is built for one size: `input_shape` must be (height, width, channels). "
            f"Received: {input_shape!r}"
        )
    image, _ = image_input(input_shape)
    x = ResizeLike(name="resize", dtype="float32")([scores(normalize(image)), image])
    model = keras.Model(image, x, name=name)
    draw_weights(model)
    return model


def draw_weights(model, seed=0):
    """Draws all weights and statistics of a model, activations staying of about equal size.

    No normalization is then the identity, whose folding could not be told from leaving it out.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = variable.shape
        if variable.name == "kernel":
            # A depthwise kernel's outputs see one channel each.
            inputs = np.prod(shape[:2] if "down_conv" in variable.path else shape[:3])
            value = rng.normal(0, np.sqrt(2 / inputs), shape)
        elif variable.name == "gamma":
            value = rng.uniform(0.5, 1.3, shape)
        elif variable.name == "moving_variance":
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.3, shape)
        variable.assign(ops.cast(value, variable.dtype))
