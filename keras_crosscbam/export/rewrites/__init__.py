"""Exact rewrites of an exported graph into forms that runtimes compute faster.

Each is a pattern and its replacement, in the terms of `onnxscript.rewriter`; `REWRITES` says which
of them serve which runtime. None changes what is computed, but for rounding.
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
"""The rules for each runtime, in the order in which they are tried."""


def rewrite_for(runtime, proto, keep_convolutions=False):
    """Rewrites a graph of NCHW maps for a runtime.

    Args:
        runtime: a key of `REWRITES`.
        proto: an `onnx.ModelProto`.
        keep_convolutions: whether to leave them what they are, as those who quantize want them.

    Returns:
        Another `onnx.ModelProto`, with the same inputs and outputs.
    """
    model = ir.from_proto(proto)
    for rule in REWRITES[runtime]:
        if keep_convolutions and rule is _WINOGRAD:
            continue
        # One after the other: what one rule makes, the next may need, with its shape.
        model = ShapeInferencePass()(model).model
        model = apply_rules(model, pattern_rewrite_rules=[rule])
    return ir.to_proto(IdentityEliminationPass()(model).model)
