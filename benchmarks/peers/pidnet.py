"""PIDNet-S (Xu et al., "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
Controllers", CVPR 2023).

As in the authors' published code: a proportional branch for details at 1/8 of the size, an integral
branch for context down to 1/64, and a derivative branch for boundaries at 1/8. The heads on the
first and last of these, which are only used in training, are not included.
"""

from keras import ops

from keras_crosscbam.layers import ResizeLike
from peers.parts import conv_bn, from_pixels_to_scores
from peers.pyramid import parallel_pyramid_pooling
from peers.residual import basic_block, bottleneck, residual_head, stage, stem

FILTERS = 32  # the widths of all branches are multiples of this one
POOLING_FILTERS, HEAD_FILTERS = 96, 128


def pidnet(input_shape, num_classes=19):
    """Builds PIDNet-S.

        >>> from peers.pidnet import pidnet
        >>> pidnet((64, 128, 3), num_classes=11).output_shape
        (None, 64, 128, 11)

    Returns:
        A `keras.Model` as described in `from_pixels_to_scores`.
    """

    def scores(x):
        x = boundary_attention(*three_branches(x))
        return residual_head(x, HEAD_FILTERS, num_classes)

    return from_pixels_to_scores(scores, input_shape, "pidnet_s")


def three_branches(x):
    """Computes detail, context and boundary features: 128 channels each, 1/8 of the size."""
    x = ops.relu(stage(stem(x, FILTERS), FILTERS, "stage1"))
    x = ops.relu(stage(x, 2 * FILTERS, "stage2", strides=2))

    context = ops.relu(stage(x, 4 * FILTERS, "context3", strides=2, blocks=3))
    detail = pixel_attention(stage(x, 2 * FILTERS, "detail3"), context, 3)
    boundary = basic_block(x, FILTERS, "boundary3")
    boundary = ops.relu(boundary + difference(context, FILTERS, boundary, 3))

    context = ops.relu(stage(context, 8 * FILTERS, "context4", strides=2, blocks=3))
    detail = pixel_attention(stage(ops.relu(detail), 2 * FILTERS, "detail4"), context, 4)
    boundary = bottleneck(boundary, FILTERS, "boundary4")
    boundary = ops.relu(boundary + difference(context, 2 * FILTERS, boundary, 4))

    detail = bottleneck(ops.relu(detail), 2 * FILTERS, "detail5")
    boundary = bottleneck(boundary, 2 * FILTERS, "boundary5")
    # As published, there is no ReLU between these two blocks.
    context = bottleneck(context, 8 * FILTERS, "context5_block1", strides=2)
    context = bottleneck(context, 8 * FILTERS, "context5_block2")
    context = parallel_pyramid_pooling(context, POOLING_FILTERS, 4 * FILTERS)
    return detail, ResizeLike(name="context_resize")([context, detail]), boundary


def pixel_attention(detail, context, number):
    """Paper, section 4.1, Pag: a mean of both inputs, weighted at each position.

    The weight of the context is the sigmoid of the product of both inputs' projections.
    """
    filters = detail.shape[-1]
    context = conv_bn(context, filters, 1, f"compress{number}")
    query = conv_bn(context, filters // 2, 1, f"attend{number}_context")
    query = ResizeLike(name=f"attend{number}_resize")([query, detail])
    key = conv_bn(detail, filters // 2, 1, f"attend{number}_detail")
    gate = ops.sigmoid(ops.sum(key * query, axis=-1, keepdims=True))
    context = ResizeLike(name=f"compress{number}_resize")([context, detail])
    return (1 - gate) * detail + gate * context


def difference(context, filters, boundary, number):
    """Projects the context features, and resizes them to the boundary features."""
    projected = conv_bn(context, filters, 3, f"difference{number}")
    return ResizeLike(name=f"difference{number}_resize")([projected, boundary])


def boundary_attention(detail, context, boundary):
    """Paper, section 4.3, Light-Bag: fuses details at boundaries and context elsewhere."""
    gate = ops.sigmoid(boundary)
    filters = detail.shape[-1]
    detailed = conv_bn((1 - gate) * context + detail, filters, 1, "fuse_detail")
    return detailed + conv_bn(context + gate * detail, filters, 1, "fuse_context")
