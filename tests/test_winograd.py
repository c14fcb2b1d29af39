"""Convolutions as products of matrices compute what PyTorch's convolutions do."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from keras_crosscbam.export.rewrites import rewrite_for
from keras_crosscbam.export.rewrites.winograd import minimal_filtering


def conv_graph(kernel, bias, size, batch=1, **attributes):
    """An ONNX file of one convolution."""
    filters, channels = kernel.shape[:2]
    arrays = {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}
    node = helper.make_node("Conv", ["x", *arrays], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, filters, None, None])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8)
    )


def operations(proto):
    return {node.op_type for node in proto.graph.node}


def random(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_minimal_filtering_is_correlation(outputs, rng):
    combine, filters, spread = minimal_filtering(outputs)
    signal, taps = rng.normal(size=outputs + 2), rng.normal(size=3)
    received = combine @ ((filters @ taps) * (spread @ signal))
    np.testing.assert_allclose(received, np.correlate(signal, taps), rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=40)
@example(13, 12, (3, 1), 56, True, ("batch", 2))
@given(
    st.integers(4, 13),
    st.integers(4, 13),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(40, 56),
    st.booleans(),
    st.sampled_from([(1, 1), (3, 3), ("batch", 2)]),
)
def test_equals_torch(height, width, dilations, channels, biased, batches):
    rng = np.random.default_rng(height * width)
    fixed, batch = batches
    kernel = random(rng, channels + 1, channels, 3, 3) / 16  # outputs of a size of about 1
    bias = random(rng, channels + 1) if biased else None
    plain = conv_graph(
        kernel, bias, (height, width), fixed, dilations=dilations, pads=dilations * 2
    )
    rewritten = rewrite_for("openvino", plain)
    event(f"rewritten: {'Conv' not in operations(rewritten)}")
    onnx.checker.check_model(rewritten, full_check=True)
    x = random(rng, batch, channels, height, width)
    (received,) = onnxruntime.InferenceSession(rewritten.SerializeToString()).run(None, {"x": x})
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x),
        torch.from_numpy(kernel),
        None if bias is None else torch.from_numpy(bias),
        padding=dilations,
        dilation=dilations,
    )
    np.testing.assert_allclose(received, expected, atol=5e-5)


@pytest.mark.parametrize(
    ("kernel", "size", "attributes"),
    [
        ((64, 64, 3, 3), (16, 16), {"strides": [2, 2], "pads": [1] * 4}),
        ((64, 64, 3, 3), (16, 16), {}),
        ((64, 1, 3, 3), (16, 16), {"group": 64, "pads": [1] * 4}),
        ((64, 64, 1, 1), (16, 16), {}),
        ((64, 64, 5, 5), (16, 16), {"pads": [2] * 4}),
        ((8, 8, 3, 3), (128, 128), {"pads": [1] * 4}),  # spreading would cost more than it saves
    ],
)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_other_convolutions_are_left_alone(kernel, size, attributes, runtime, rng):
    proto = rewrite_for(runtime, conv_graph(random(rng, *kernel), None, size, **attributes))
    assert operations(proto) == {"Conv"}


def test_who_gets_it(rng):
    proto = conv_graph(random(rng, 64, 64, 3, 3), None, (16, 16), pads=[1] * 4)
    assert operations(rewrite_for("tensorrt", proto)) == {"Conv"}
    assert operations(rewrite_for("onnxruntime", proto, keep_convolutions=True)) == {"Conv"}
    assert "Conv" not in operations(rewrite_for("onnxruntime", proto))


def test_files_do_not_grow_with_the_kernels(rng):
    proto = conv_graph(random(rng, 128, 128, 3, 3), None, (16, 32), pads=[1] * 4)
    assert rewrite_for("openvino", proto).ByteSize() < 1.1 * proto.ByteSize()
