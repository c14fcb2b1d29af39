"""Pyramid pooling of DDRNet and SCTNet (DAPPM), and its parallel version of PIDNet (PAPPM).

Both add context from means over increasingly large regions. DAPPM convolves each scale after adding
the previous one. PAPPM adds the unpooled scale to each of them, so that the convolutions can run in
parallel.
"""

from keras import layers, ops

from keras_crosscbam.layers import ResizeLike
from peers.parts import mean
from peers.residual import bn_relu_conv

POOLINGS = ((5, 2), (9, 4), (17, 8))  # sides and strides


def deep_pyramid_pooling(x, filters, outputs):
    """DAPPM (Pan et al., 2021, Figure 4).

    Args:
        x: feature maps at the smallest scale.
        filters: number of channels of each scale.
        outputs: number of channels of the result.
    """
    first, *pooled = _scales(x, filters)
    scales = [first]
    for number, y in enumerate(pooled, start=1):
        scales.append(bn_relu_conv(y + scales[-1], filters, 3, name=f"process{number}"))
    return _compressed(x, scales, outputs)


def parallel_pyramid_pooling(x, filters, outputs):
    """PAPPM (Xu et al., 2023, Figure 5). The arguments are those of `deep_pyramid_pooling`."""
    first, *pooled = _scales(x, filters)
    # As published, these are the groups of one convolution, which tf2onnx cannot export.
    processed = [
        bn_relu_conv(y + first, filters, 3, name=f"process{number}")
        for number, y in enumerate(pooled, start=1)
    ]
    return _compressed(x, [first, *processed], outputs)


def _scales(x, filters):
    """Returns the unpooled scale and the four pooled ones, resized to it, with 1x1 convolutions."""
    scales = [bn_relu_conv(x, filters, 1, name="scale0")]
    for number, pooled in enumerate((*_pooled_maps(x), mean(x, "pool4")), start=1):
        y = bn_relu_conv(pooled, filters, 1, name=f"scale{number}")
        # The mean of the image is constant, so it is added by broadcasting, without resizing.
        if number <= len(POOLINGS):
            y = ResizeLike(name=f"scale{number}_resize")([y, x])
        scales.append(y)
    return scales


def _pooled_maps(x):
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


def _compressed(x, scales, outputs):
    """Reduces all scales to `outputs` channels, and adds a projection of `x`."""
    together = bn_relu_conv(ops.concatenate(scales, axis=-1), outputs, 1, name="compress")
    return together + bn_relu_conv(x, outputs, 1, name="past_scales")
