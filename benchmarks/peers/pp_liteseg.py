"""PP-LiteSeg (Peng et al., "PP-LiteSeg: A Superior Real-Time Semantic Segmentation Model", 2022).

As in PaddleSeg's model and configurations: simple pyramid pooling on stage 5, followed by a decoder
of three fusions by spatial attention. The auxiliary heads, which are only used in training, are not
included.
"""

from keras import layers, ops

from keras_crosscbam.layers import ConvBNReLU, ResizeLike
from peers.parts import conv_bn, mean, segmentation_network

BIN_SIZES = (1, 2, 4)
CONTEXT_FILTERS = 128
# Widths after the fusions with stages 3, 4 and 5, and width of the head's convolution.
DECODER_FILTERS = {"stdc1": (32, 64, 128), "stdc2": (64, 96, 128)}
HEAD_FILTERS = {"stdc1": 32, "stdc2": 64}


def pp_liteseg(backbone, input_shape, num_classes=19):
    """Builds PP-LiteSeg-T (`backbone="stdc1"`) or PP-LiteSeg-B (`"stdc2"`).

        >>> from peers.pp_liteseg import pp_liteseg
        >>> pp_liteseg("stdc1", (128, 256, 3), num_classes=11).output_shape
        (None, 128, 256, 11)

    Returns:
        A `keras.Model` as described in `segmentation_network`.
    """

    def decoder(features):
        x = pyramid_pooling(features["stage5"])
        for stage in (5, 4, 3):
            x = fuse(features[f"stage{stage}"], x, DECODER_FILTERS[backbone][stage - 3], stage)
        return x

    name = "pp_liteseg_t" if backbone == "stdc1" else "pp_liteseg_b"
    return segmentation_network(
        backbone, decoder, HEAD_FILTERS[backbone], input_shape, num_classes, name
    )


def pyramid_pooling(x):
    """Paper, section 3.3: means over 1, 2x2 and 4x4 parts of the image, convolved and added."""
    pooled = []
    for bins in BIN_SIZES:
        y = ConvBNReLU(CONTEXT_FILTERS, 1, name=f"pool{bins}_conv")(_pool(x, bins))
        # The mean of the image is constant, so it is added by broadcasting, without resizing.
        pooled.append(y if bins == 1 else ResizeLike(name=f"pool{bins}_resize")([y, x]))
    return ConvBNReLU(CONTEXT_FILTERS, 3, name="pool_conv")(sum(pooled[1:], pooled[0]))


def _pool(x, bins):
    """Computes the means over bins x bins parts, which overlap if the size is not a multiple."""
    if bins == 1:
        return mean(x, "pool1")
    if None in x.shape[1:3]:
        return MeansOfParts(bins, name=f"pool{bins}")(x)
    strides = [size // bins for size in x.shape[1:3]]
    size = [n - (bins - 1) * step for n, step in zip(x.shape[1:3], strides, strict=True)]
    return layers.AveragePooling2D(size, strides, data_format="channels_last", name=f"pool{bins}")(
        x
    )


class MeansOfParts(layers.Layer):
    """The means over bins x bins parts of a map of any size, as products with matrices."""

    def __init__(self, bins, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, x):
        rows, columns = (
            ops.cast(_parts(size, self.bins), self.compute_dtype) for size in ops.shape(x)[1:3]
        )
        return ops.einsum("ih,jw,bhwc->bijc", rows, columns, x)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bins, self.bins, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


def _parts(size, bins):
    """Returns a matrix `(bins, size)` with the weight of each position in each mean."""
    step = size // bins
    length = size - (bins - 1) * step
    first = step * ops.arange(bins)[:, None]
    inside = (ops.arange(size) >= first) & (ops.arange(size) < first + length)
    return ops.cast(inside, "float32") / ops.cast(length, "float32")


def fuse(low, high, filters, stage):
    """Paper, section 3.2, the unified attention fusion module with spatial attention.

    A gate per position, computed from both inputs' means and maxima over the channels, is the
    weight of the encoder's features in the sum; the weight of the decoder's is one minus the gate.
    """
    low = ConvBNReLU(high.shape[-1], 3, name=f"fuse{stage}_lateral")(low)
    high = ResizeLike(name=f"fuse{stage}_resize")([high, low])
    reduced = [f(x, axis=-1, keepdims=True) for x in (low, high) for f in (ops.mean, ops.max)]
    gate = ConvBNReLU(2, 3, name=f"fuse{stage}_reduce")(ops.concatenate(reduced, axis=-1))
    gate = ops.sigmoid(conv_bn(gate, 1, 3, name=f"fuse{stage}_gate"))
    return ConvBNReLU(filters, 3, name=f"fuse{stage}")(low * gate + high * (1 - gate))
