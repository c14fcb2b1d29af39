"""SCTNet (Xu et al., "SCTNet: Single-Branch CNN with Transformer Semantic Information for Real-Time
Segmentation", AAAI 2024).

A single branch: residual blocks, followed by blocks of convolutional attention at 1/16 and 1/32 of
the size. The transformer and the alignment of features with it, which are only used in training,
are not included. Neither are the biases before a normalization, which cancels them.
"""

import math

from keras import layers, ops
from keras.initializers import RandomNormal

from keras_crosscbam.layers import ConvBNReLU, ResizeLike
from keras_crosscbam.layers.conv import batch_norm
from peers.parts import classifier, conv_bn, from_pixels_to_scores
from peers.pyramid import deep_pyramid_pooling
from peers.residual import stage, stem

# Width of the first stage, which doubles three times, and width of the pyramid pooling.
FILTERS = {"s": (32, 64), "b": (64, 128)}
KEYS, HEADS, LENGTH = 64, 8, 7  # of the attention: number of keys, their groups, length of kernels


def sctnet(size, input_shape, num_classes=19):
    """Builds SCTNet-S (`size="s"`) or SCTNet-B (`"b"`).

        >>> from peers.sctnet import sctnet
        >>> sctnet("s", (64, 128, 3), num_classes=11).output_shape
        (None, 64, 128, 11)

    Returns:
        A `keras.Model` as described in `from_pixels_to_scores`.
    """
    filters, pooling_filters = FILTERS[size]

    def scores(x):
        early, late = single_branch(x, filters)
        context = deep_pyramid_pooling(late, pooling_filters, 2 * filters)
        context = ResizeLike(name="context_resize")([context, early])
        x = ops.concatenate([ops.relu(early), context], axis=-1)
        x = ConvBNReLU(4 * filters, 3, name="head")(x)
        return classifier(num_classes)(x)

    return from_pixels_to_scores(scores, input_shape, f"sctnet_{size}")


def single_branch(x, filters):
    """Computes the feature maps at 1/8 and at 1/32 of the size from normalized pixels."""
    x = stage(stem(x, filters), filters, "stage1")
    early = stage(ops.relu(x), 2 * filters, "stage2", strides=2)
    x = stage(ops.relu(early), 4 * filters, "stage3", strides=2)
    x = conv_former(ops.relu(x), "former3")
    x = ops.relu(conv_bn(x, 8 * filters, 3, "halve4", strides=2))
    x = conv_former(x, "former4")
    return early, conv_former(ops.relu(x), "former5")


def conv_former(x, name):
    """Paper, section 3.2, CFBlock: attention and two 3x3 convolutions, each added to its input."""
    y = batch_norm(name=f"{name}_attention_bn")(x)
    x += sum(
        KernelAttention(size, name=f"{name}_{direction}")(y)
        for direction, size in (("vertical", (LENGTH, 1)), ("horizontal", (1, LENGTH)))
    )
    filters = x.shape[-1]
    y = batch_norm(name=f"{name}_bn")(x)
    for number in (1, 2):
        y = gelu(y) if number == 2 else y
        y = layers.Conv2D(
            filters,
            3,
            padding="same",
            data_format="channels_last",
            kernel_initializer="he_normal",
            name=f"{name}_conv{number}",
        )(y)
    return x + y


def gelu(x):
    """GELU by its definition. tf2onnx cannot export TensorFlow's, which has another function."""
    return 0.5 * (x * (1 + ops.erf(x / math.sqrt(2))))


class KernelAttention(layers.Layer):
    """Attention of each position to learned kernels, by two convolutions with the same kernels.

    The first convolution computes a score for each key. The scores are normalized over the
    positions by softmax, and then over the keys of each group to the sum 1. The second convolution
    has the kernels of the first one with inputs and outputs swapped.

    Args:
        kernel_size: `(height, width)` of the kernels.

    Call arguments:
        x: feature maps of shape `(batch, height, width, channels)`.

    Returns:
        Feature maps of the same shape.
    """

    def __init__(self, kernel_size, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = tuple(kernel_size)
        self.keys = layers.Conv2D(
            KEYS,
            self.kernel_size,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            kernel_initializer=RandomNormal(stddev=0.001),
            dtype=self.dtype_policy,
            name="keys",
        )

    def build(self, input_shape):
        self.keys.build(input_shape)
        self.values = _Swapped(self.keys, input_shape[-1], dtype=self.dtype_policy, name="values")
        self.values.build((*input_shape[:-1], KEYS))

    def call(self, x):
        return self.values(_normalized(self.keys(x)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}


class _Swapped(layers.Conv2D):
    """Convolution with the kernel of another one, with inputs and outputs swapped."""

    def __init__(self, other, filters, **kwargs):
        super().__init__(
            filters,
            other.kernel_size,
            padding="same",
            data_format="channels_last",
            use_bias=False,
            **kwargs,
        )
        # In a function, so that the kernel is not counted as a weight of this layer as well.
        self._kernel_of_other = lambda: other.kernel

    def build(self, input_shape):
        self.bias = None

    def save_own_variables(self, store):
        pass  # the other layer saves the kernel

    def load_own_variables(self, store):
        pass

    @property
    def kernel(self):
        return ops.transpose(self._kernel_of_other(), (0, 1, 3, 2))


def _normalized(scores):
    """Normalizes scores over positions and over the keys of each group, in float32."""
    dtype = scores.dtype
    # Channels first: the exporter removes this transposition and the one of the convolution.
    scores = ops.transpose(ops.cast(scores, "float32"), (0, 3, 1, 2))
    batch, keys, height, width = ops.shape(scores)
    shares = ops.softmax(ops.reshape(scores, (batch, HEADS, keys // HEADS, height * width)))
    shares = shares / (ops.sum(shares, axis=2, keepdims=True) + 1e-6)
    shares = ops.reshape(shares, (batch, keys, height, width))
    return ops.cast(ops.transpose(shares, (0, 2, 3, 1)), dtype)
