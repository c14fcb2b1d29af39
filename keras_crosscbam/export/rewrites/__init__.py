"""Rewrites exported graphs into equivalent graphs that are faster in a runtime.

Each rule is a pattern and its replacement for `onnxscript.rewriter`; `REWRITES` lists the rules for
each runtime. The results differ by rounding only.
"""

import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass, ShapeInferencePass
from onnxscript.rewriter import rewrite as apply_rules
from onnxscript.rewriter.rules.common import fuse_pad_into_conv_rule

from keras_crosscbam.export.rewrites.casts import CastByFloat
from keras_crosscbam.export.rewrites.folding import (
    ArgMaxOverChannels,
    DropReshape,
    PadIntoAveragePool,
    PixelsIntoConv,
    ScaleIntoConv,
    TransposePixelsFirst,
)
from keras_crosscbam.export.rewrites.reductions import MaxAsTree, MeanAsConv
from keras_crosscbam.export.rewrites.resizing import (
    ChannelMeanBeforeResize,
    GateBeforeResize,
    MeanBeforeResize,
    ResizeAsProducts,
)
from keras_crosscbam.export.rewrites.winograd import WinogradConv

_CLEAN = (
    fuse_pad_into_conv_rule,
    PadIntoAveragePool.rule(),
    ScaleIntoConv.rule(),
    TransposePixelsFirst.rule(),
    PixelsIntoConv.rule(),
    DropReshape.rule(),
    ArgMaxOverChannels.rule(),
)
_WINOGRAD = WinogradConv.rule()
REWRITES = {
    "onnxruntime": (
        *_CLEAN,
        ResizeAsProducts.rule(),
        MeanAsConv.rule(),
        MaxAsTree.rule(),
        _WINOGRAD,
    ),
    "openvino": (
        *_CLEAN,
        ResizeAsProducts.rule(),
        GateBeforeResize.rule(),
        MeanBeforeResize.rule(),
        ChannelMeanBeforeResize.rule(),
        _WINOGRAD,
    ),
    "tensorrt": (*_CLEAN, CastByFloat.rule()),
}
"""The rules for each runtime, in the order in which they are applied."""


def rewrite_for(runtime, proto, keep_convolutions=False):
    """Rewrites a graph with NCHW feature maps for a runtime.

    Args:
        runtime: a key of `REWRITES`.
        proto: an `onnx.ModelProto`.
        keep_convolutions: whether to skip the rewrite of convolutions, for quantization.

    Returns:
        A new `onnx.ModelProto` with the same inputs and outputs.
    """
    model = ir.from_proto(proto)
    for rule in REWRITES[runtime]:
        if keep_convolutions and rule is _WINOGRAD:
            continue
        # Rules are applied one by one, because a rule may need the output of the previous rule and
        # its shape.
        model = ShapeInferencePass()(model).model
        model = apply_rules(model, pattern_rewrite_rules=[rule])
    return ir.to_proto(IdentityEliminationPass()(model).model)
