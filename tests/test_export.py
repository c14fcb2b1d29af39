"""ONNX export: static files that answer as the model does, in real ONNX Runtime, or no file."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from small_network import SMALL

import keras_crosscbam as kc
from keras_crosscbam.export import parity
from keras_crosscbam.export.onnx import _round_scales_up
from keras_crosscbam.images import STREET
from keras_crosscbam.models.surgery import with_input_size
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.onnx import OnnxRuntime

EXAMPLE = Path(__file__).parents[1] / "examples" / "export_onnx.py"


def pixels(*shape):
    return np.random.default_rng(5).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("fixture", "layout", "opset", "size"),
    [("network", "nchw", 18, (64, 96)), ("small_network", "nhwc", 13, (65, 97))],
)
def test_logits_equal_keras(request, tmp_path, fixture, layout, opset, size):
    network = request.getfixturevalue(fixture)
    written_for = "onnxruntime" if opset <= 17 else None
    result = kc.export.to_onnx(
        network, tmp_path / "m.onnx", size, layout=layout, optimize_for=written_for, opset=opset
    )
    assert result.frames == 1
    assert result.argmax_agreement >= 0.9999
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
    images = pixels(1, *size, 3)
    received = OnnxRuntime(tmp_path / "m.onnx").logits(images)
    np.testing.assert_allclose(received, KerasRuntime(network).logits(images), atol=1e-3)


@pytest.mark.slow
def test_the_small_network_equals_keras(tmp_path):
    """Half as wide, through all rewrites; its logits far enough apart for the gate."""
    model = kc.CrossCBAM_S(num_classes=11, input_shape=(64, 96, 3))
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(11).normal(size=kernel.shape))
    result = kc.export.to_onnx(model, tmp_path / "s.onnx")
    assert result.argmax_agreement >= 0.9999
    images = pixels(1, 64, 96, 3)
    received = OnnxRuntime(tmp_path / "s.onnx").logits(images)
    np.testing.assert_allclose(received, KerasRuntime(model).logits(images), atol=1e-3)


def test_sizes_that_32_does_not_divide(network, onnx_file):
    """90 rows make 12, 6 and 3: float32(12 / 6) is exact, but 90 / 12 is where floors go wrong."""
    images = pixels(1, 90, 120, 3)
    received = OnnxRuntime(onnx_file).logits(images)
    np.testing.assert_allclose(received, KerasRuntime(network).logits(images), atol=1e-3)


@pytest.mark.parametrize("rows", [12, 23, 45, 90, 97])
def test_resize_reaches_every_size(rows):
    """All ratios of a row count: the floor of rows times scale must be the size wanted."""
    for target in range(rows, 8 * rows + 1):
        scale = np.array([target / rows], np.float32)
        node = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"])
        graph = onnx.helper.make_graph([node], "g", [], [])
        graph.initializer.append(onnx.numpy_helper.from_array(scale, "scales"))
        proto = onnx.helper.make_model(graph)
        _round_scales_up(proto)
        rounded = onnx.numpy_helper.to_array(proto.graph.initializer[0])
        assert np.floor(np.float32(rows) * rounded[0]) == target


def test_file_is_static_named_and_without_transposes(onnx_file):
    graph = onnx.load(onnx_file).graph
    shapes = {
        tensor.name: [d.dim_value for d in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.input, *graph.output)
    }
    assert shapes == {"image": [1, 3, 90, 120], "logits": [1, 11, 90, 120]}
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"Transpose", "BatchNormalization"}
    onnx.checker.check_model(onnx.load(onnx_file), full_check=True)


def test_metadata_describes_the_file(onnx_file):
    meta = onnxruntime.InferenceSession(str(onnx_file)).get_modelmeta().custom_metadata_map
    described = json.loads(meta["keras_crosscbam"])
    assert described["layout"] == "nchw"
    assert described["classes"] == list(kc.datasets.CAMVID_CLASSES.names)


def test_batches_and_auxiliary_heads(tmp_path):
    model = kc.CrossCBAM(num_classes=3, input_shape=(32, 64, 3), aux_head=True, **SMALL)
    kc.export.to_onnx(model, tmp_path / "m.onnx", batch=2)
    logits = OnnxRuntime(tmp_path / "m.onnx").logits(pixels(2, 32, 64, 3))
    assert logits.shape == (2, 32, 64, 3)


def test_real_frames_pass_the_gate(small_network, data_root, tmp_path):
    frames = sorted((data_root / "camvid-480x360" / "val").glob("*.jpg"))[::25]
    result = kc.export.to_onnx(
        small_network, tmp_path / "m.onnx", input_size=(180, 240), frames=frames
    )
    assert result.frames == len(frames)
    assert result.argmax_agreement >= 0.9999


def test_a_file_that_differs_is_not_kept(small_network, tmp_path, monkeypatch):
    """The gate sees a network that was changed between export and comparison."""
    from keras_crosscbam.export import onnx as module

    convert = module._convert

    def with_another_classifier(*args):
        proto = convert(*args)
        for array in proto.graph.initializer:
            if array.dims[0] == 11 and len(array.dims) == 4:
                changed = -onnx.numpy_helper.to_array(array)
                array.CopyFrom(onnx.numpy_helper.from_array(changed, array.name))
        return proto

    monkeypatch.setattr(module, "_convert", with_another_classifier)
    older = tmp_path / "m.onnx"
    older.write_bytes(b"an older export")
    with pytest.raises(kc.export.ParityError, match=r"argmax equal on .* at least 99.99 %"):
        kc.export.to_onnx(small_network, older, input_size=(64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert older.read_bytes() == b"an older export"


class Fixed:
    """A runtime that always returns the same logits."""

    name = "fixed"
    description = Description()

    def __init__(self, logits):
        self._logits = np.asarray(logits, np.float32)

    def logits(self, images):
        return self._logits


def test_parity_counts_pixels_and_differences():
    """Four pixels of two classes, one of them decided differently."""
    reference = Fixed([[[[1, 0], [1, 0]], [[0, 1], [0, 1]]]])
    candidate = Fixed([[[[1, 0], [0, 0.5]], [[0, 1], [0, 1]]]])
    result = parity.compare(reference, candidate, [np.zeros((1, 2, 2, 3))])
    assert result == parity.Parity(frames=1, argmax_agreement=0.75, max_difference=1.0)


def test_parity_refuses_values_that_are_not_finite():
    good, bad = Fixed(np.zeros((1, 2, 2, 2))), Fixed(np.full((1, 2, 2, 2), np.nan))
    with pytest.raises(kc.export.ParityError, match="not finite"):
        parity.check(good, bad, [np.zeros((1, 2, 2, 3))])


def test_free_size_has_to_be_said(network, tmp_path):
    with pytest.raises(ValueError, match="pass `input_size"):
        kc.export.to_onnx(network, tmp_path / "m.onnx")


@pytest.mark.parametrize("wrong", [{"layout": "chw"}, {"opset": 19}, {"batch": 0}])
def test_arguments_out_of_range(network, tmp_path, wrong):
    with pytest.raises(ValueError, match="Received: layout="):
        kc.export.to_onnx(network, tmp_path / "m.onnx", input_size=(64, 64), **wrong)


def test_another_backend_is_told_what_to_do(tmp_path):
    code = (
        "import keras, keras_crosscbam as kc\n"
        "model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 1)])\n"
        "kc.export.to_onnx(model, 'm.onnx')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"KERAS_BACKEND": "jax", "PATH": "", "PYTHONPATH": str(EXAMPLE.parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Set KERAS_BACKEND=tensorflow" in run.stderr
    assert not list(tmp_path.iterdir())


def test_example_script(small_network, tmp_path, monkeypatch, capsys):
    def build(weights, input_shape):
        assert weights is None
        return with_input_size(small_network, input_shape[:2])

    monkeypatch.setattr(kc, "CrossCBAM_M", build)
    arguments = ["--weights", "none", "--size", "64x96", "--out", str(tmp_path / "m.onnx")]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *arguments])
    runpy.run_path(EXAMPLE, run_name="__main__")
    said = capsys.readouterr().out
    assert "argmax equal on" in said
    assert f"labels of {STREET}: 751x563 pixels" in said
