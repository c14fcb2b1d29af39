"""Rewritten graphs compute what the plain ones do, with the operations they should have."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_crosscbam as kc
from keras_crosscbam.export.rewrites import REWRITES, rewrite_for
from keras_crosscbam.export.rewrites.resizing import banded, interpolation
from keras_crosscbam.runtime.description import OUTPUTS
from keras_crosscbam.runtime.onnx import OnnxRuntime


def run(proto, array):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def kinds(proto):
    return Counter(node.op_type for node in proto.graph.node)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The shipped network: of fresh weights, zeros drop out of the graph that training fills."""
    path = tmp_path_factory.mktemp("plain") / "m.onnx"
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(90, 120, 3))
    kc.export.to_onnx(model, path, optimize_for=None)
    return onnx.load(path)


@pytest.mark.parametrize("runtime", REWRITES)
def test_equal_to_the_plain_graph(plain, runtime, rng):
    image = rng.uniform(0, 255, (1, 3, 90, 120)).astype(np.float32)
    rewritten = rewrite_for(runtime, plain)
    onnx.checker.check_model(rewritten, full_check=True)
    expected, received = run(plain, image), run(rewritten, image)
    np.testing.assert_allclose(received, expected, atol=1e-3)
    np.testing.assert_array_equal(received.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("runtime", REWRITES)
def test_operations_that_are_gone(plain, runtime):
    assert {"Pad", "Reshape"} <= set(kinds(plain))
    left = kinds(rewrite_for(runtime, plain, keep_convolutions=True))
    assert not {"Pad", "Transpose", "Identity"} & set(left)
    # Of the products, eight gates of the two CCBAM and that of SE-ASPP; none of normalization.
    assert left["Mul"] == 9
    assert left["Conv"] - kinds(plain)["Conv"] == 4 * (runtime == "onnxruntime")


def test_what_each_runtime_gets(plain):
    rewritten = {runtime: kinds(rewrite_for(runtime, plain)) for runtime in REWRITES}
    assert rewritten["onnxruntime"]["ReduceMean"] == 0
    assert rewritten["onnxruntime"]["Split"] == 4
    # The upsampling takes 2 products, each of the 3x3 convolutions of stage 5 and SE-ASPP 6.
    assert rewritten["onnxruntime"]["MatMul"] == rewritten["openvino"]["MatMul"] >= 2 + 6 * 6
    assert rewritten["tensorrt"]["MatMul"] == rewritten["tensorrt"]["Reshape"] == 0


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 200))
def test_interpolation_matrix_is_that_of_torch(size, target):
    matrix = interpolation(size, target)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    signal = torch.linspace(-1, 1, size).sin()[None, None]
    expected = torch.nn.functional.interpolate(signal, target, mode="linear")[0, 0]
    np.testing.assert_allclose(matrix @ signal[0, 0].numpy(), expected, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 50))
def test_bands_are_the_whole_matrix(size, factor, most):
    matrix = interpolation(size, factor * size)
    columns, bands = banded(matrix, most)
    assert len(bands) <= max(most, 1)
    whole = np.zeros((len(bands), bands.shape[1], size))
    np.put_along_axis(whole, columns[:, None], bands, axis=2)
    np.testing.assert_array_equal(whole.reshape(matrix.shape), matrix)


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("logits", {"batch": None, "optimize_for": "onnxruntime"}),
        ("probabilities", {"optimize_for": "onnxruntime"}),
        ("labels", {"input": "uint8", "layout": "nhwc", "optimize_for": "openvino"}),
        ("labels", {"input": "uint8", "optimize_for": "tensorrt"}),
        ("coarse_logits", {"input": "uint8", "layout": "nhwc", "optimize_for": "onnxruntime"}),
        ("labels", {"input_size": (None, None), "batch": None}),
    ],
)
def test_every_kind_of_file(small_network, tmp_path, output, options, rng):
    assert output in OUTPUTS
    options = {"input_size": (64, 96), **options}
    parity = kc.export.to_onnx(small_network, tmp_path / "m.onnx", output=output, **options)
    assert parity.argmax_agreement >= 0.9999
    run = OnnxRuntime(tmp_path / "m.onnx")
    assert run.description.output == output
    assert run.description.extra["optimized_for"] == options.get("optimize_for", "onnxruntime")
    assert len(run.description.extra["weights_sha256"]) == 64
    assert run.batch == options.get("batch", 1)
    images = rng.integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    np.testing.assert_array_equal(run.labels(images), kc.runtime.load(small_network).labels(images))


def test_uint8_pixels_are_transposed_before_they_grow(small_network, tmp_path):
    path = tmp_path / "m.onnx"
    kc.export.to_onnx(
        small_network, path, (64, 96), layout="nhwc", input="uint8", optimize_for="onnxruntime"
    )
    first, second, *_ = onnx.load(path).graph.node
    assert (first.op_type, second.op_type) == ("Transpose", "Cast")


def test_tensorrt_casts_to_uint8_from_float(small_network, tmp_path):
    kc.export.to_onnx(
        small_network, tmp_path / "m.onnx", (64, 96), output="labels", optimize_for="tensorrt"
    )
    *_, float_cast, uint8_cast = onnx.load(tmp_path / "m.onnx").graph.node
    to = [node.attribute[0].i for node in (float_cast, uint8_cast)]
    assert to == [onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8]


def test_wrong_runtime_is_refused(small_network, tmp_path):
    with pytest.raises(ValueError, match="Received: optimize_for='tflite'"):
        kc.export.to_onnx(small_network, tmp_path / "m.onnx", (64, 96), optimize_for="tflite")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", REWRITES)
def test_shipped_weights_on_twenty_real_frames(data_root, tmp_path, runtime):
    """The gate of the deployment: 99.999 % of the labels, logits within 1e-3."""
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(360, 480, 3))
    frames = sorted((data_root / "camvid-480x360" / "val").glob("*.jpg"))[::5][:20]
    parity = kc.export.to_onnx(model, tmp_path / "m.onnx", optimize_for=runtime, frames=frames)
    assert parity.frames == 20
    assert parity.argmax_agreement >= 0.99999
    assert parity.max_difference <= 1e-3
