"""TensorRT engines: built for real by TensorRT-RTX, which needs no GPU, and never opened blindly.

What needs a card is in `test_on_a_card`, which is left out where there is none.
"""

import hashlib
import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from cards import need_card, need_no_card, need_rtx

import keras_crosscbam as kc
from keras_crosscbam.export.quantization.graphs import count_int8, onnx_nodes
from keras_crosscbam.export.quantization.int8 import quantize
from keras_crosscbam.export.tensorrt.engine import build_engine
from keras_crosscbam.models.surgery import with_input_size
from keras_crosscbam.runtime.description import beside, read_beside
from keras_crosscbam.runtime.onnx import OnnxRuntime
from keras_crosscbam.runtime.tensorrt.runtime import TensorRTRuntime

EXAMPLE = Path(__file__).parents[1] / "examples" / "export_trt.py"


@pytest.fixture(scope="module")
def rtx():
    return need_rtx()


@pytest.fixture(scope="module")
def narrow_network():
    """With all kinds of layers, and few channels."""
    return kc.CrossCBAM(num_classes=11, input_shape=(64, 96, 3), alpha=0.25)


@pytest.fixture(scope="module")
def files(narrow_network, small_network, tmp_path_factory):
    """Networks as the graphs that are deployed, 64x96 pixels, by name."""
    folder = tmp_path_factory.mktemp("graphs")
    names = ("logits", "labels", "dynamic", "int8", "for_cpu")
    paths = {name: folder / f"{name}.onnx" for name in names}
    kinds = {
        "logits": (narrow_network, {}),
        "labels": (small_network, {"input": "uint8", "output": "labels"}),
        "dynamic": (small_network, {"batch": None}),
    }
    for name, (model, options) in kinds.items():
        kc.export.to_onnx(model, paths[name], (64, 96), optimize_for="tensorrt", **options)
    # How good the INT8 networks are does not matter here, nor what they are calibrated on.
    frames = np.random.default_rng(3).integers(0, 256, (2, 64, 96, 3), np.uint8)
    for name, source, runtime in (
        ("int8", "logits", "tensorrt"),
        ("for_cpu", "labels", "onnxruntime"),
    ):
        quantize(paths[source], paths[name], list(frames), runtime, force=True)
    return paths


def _convolutions(path):
    return sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(
    ("graph", "precision", "arguments", "kinds"),
    [
        ("logits", "fp32", {"workspace_gib": 0.5, "builder_optimization_level": 2}, {"FP32"}),
        ("logits", "tf32", {"compute_capability": (8, 6)}, {"FP32 or TF32"}),
        ("logits", "fp16", {}, {"FP16"}),
        ("labels", "fp32", {}, {"FP32"}),
        ("labels", "fp16", {"compute_capability": (12, 0)}, {"FP16"}),
        ("dynamic", "fp32", {"profile": (1, 2, 4)}, {"FP32"}),
        ("dynamic", "fp16", {"profile": [(n, 3, 64, 96) for n in (1, 1, 8)]}, {"FP16"}),
        ("int8", "int8", {}, {"INT8", "FP32"}),
        ("int8", "int8+fp16", {}, {"INT8", "FP16"}),
    ],
)
def test_every_deployed_graph_builds(rtx, files, tmp_path, graph, precision, arguments, kinds):
    path = tmp_path / "network.engine"
    report = build_engine(files[graph], path, precision, trt=rtx, **arguments)
    data = path.read_bytes()
    assert data[:4] == b"vtrt"
    assert len(data) == report.size > 100_000
    assert set(report.precisions) == kinds
    if "int8" in precision:
        assert report.precisions["INT8"] == count_int8(onnx_nodes(onnx.load(files[graph])))[0] > 30
    else:
        assert sum(report.precisions.values()) > _convolutions(files[graph])
    assert not report.missing
    described = read_beside(path)
    source = OnnxRuntime(files[graph]).description
    assert (described.layout, described.pixels, described.output, described.classes) == (
        (source.layout, source.pixels, source.output, source.classes)
    )
    entry = described.extra["engine"]
    assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert entry["precision"] == precision
    assert entry["precisions"] == report.precisions
    assert entry["version"] == rtx.__version__
    capability = arguments.get("compute_capability")
    assert entry["compute_capability"] == (capability and list(capability))
    assert set(tmp_path.iterdir()) == {path, beside(path)}


@pytest.fixture(scope="module")
def built(rtx, files, tmp_path_factory):
    """An engine in FP32; only to be read."""
    path = tmp_path_factory.mktemp("engine") / "network.engine"
    build_engine(files["logits"], path, trt=rtx)
    return path


def test_half_halves_the_weights(rtx, narrow_network, files, built, tmp_path):
    half = build_engine(files["logits"], tmp_path / "half.engine", "fp16", trt=rtx).size
    saved = built.stat().st_size - half
    assert saved == pytest.approx(2 * narrow_network.count_params(), rel=0.1)


@pytest.mark.slow
def test_camvid_network_at_full_size(rtx, tmp_path):
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(720, 960, 3))
    kc.export.to_onnx(model, tmp_path / "m.onnx", optimize_for="tensorrt")
    report = build_engine(tmp_path / "m.onnx", tmp_path / "m.engine", "fp16", trt=rtx)
    assert set(report.precisions) == {"FP16"}
    assert read_beside(report.path).classes.names == kc.datasets.CAMVID_CLASSES.names
    assert "fp16 requested; layers by precision, read from the network" in str(report)


def test_a_foreign_file_is_described_by_its_tensors(rtx, files, tmp_path):
    model = onnx.load(files["labels"])
    model.metadata_props.pop()
    onnx.save(model, tmp_path / "foreign.onnx")
    build_engine(tmp_path / "foreign.onnx", tmp_path / "foreign.engine", trt=rtx)
    described = read_beside(tmp_path / "foreign.engine")
    assert (described.layout, described.pixels, described.output) == ("nchw", "uint8", "labels")


def test_nodes_that_tensorrt_cannot_take_are_named(rtx, files, tmp_path):
    model = onnx.load(files["logits"])
    node = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    node.op_type, node.domain = "Wobble", "elsewhere"
    model.opset_import.add(domain="elsewhere", version=1)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ValueError, match=rf"odd.onnx: TensorRT-RTX .* Wobble '{node.name}'"):
        build_engine(tmp_path / "odd.onnx", tmp_path / "odd.engine", trt=rtx)
    assert [file.name for file in tmp_path.iterdir()] == ["odd.onnx"]


def test_files_for_other_runtimes_are_refused(rtx, small_network, tmp_path):
    kc.export.to_onnx(small_network, tmp_path / "m.onnx", (64, 96))
    with pytest.raises(
        ValueError, match=r"written for onnxruntime in float, .* optimize_for=.tensorrt"
    ):
        build_engine(tmp_path / "m.onnx", tmp_path / "m.engine", trt=rtx)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_numbers_quantized_for_a_cpu_are_refused(rtx, files, tmp_path):
    with pytest.raises(ValueError, match='quantize it with runtime="tensorrt"'):
        build_engine(files["for_cpu"], tmp_path / "m.engine", "int8", trt=rtx)


@pytest.mark.parametrize(
    ("graph", "arguments", "message"),
    [
        ("logits", {"precision": "fp8"}, "`precision` must be one of"),
        ("logits", {"precision": "int8"}, "signed and symmetric: .*quantize"),
        ("int8", {"precision": "fp16"}, "build it with precision 'int8'"),
        ("logits", {"compute_capability": (6, 1)}, "builds for no GPU of SM61"),
        ("logits", {"profile": (1, 1, 1)}, r"input is \(1, 3, 64, 96\).*None for a fixed shape"),
        ("dynamic", {}, r"input is \(-1, 3, 64, 96\).*batch sizes for a"),
        ("dynamic", {"profile": (4, 2, 1)}, "from the smallest to the largest"),
        ("dynamic", {"profile": (1, 2)}, "three batch sizes"),
    ],
)
def test_arguments_that_do_not_fit(rtx, files, tmp_path, graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_engine(files[graph], tmp_path / "e.engine", trt=rtx, **arguments)
    assert not list(tmp_path.iterdir())


def test_what_is_no_onnx_file(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no network")
    for name in ("m.onnx", "absent.onnx"):
        with pytest.raises(ValueError, match=f"{name}: not a readable ONNX file"):
            build_engine(tmp_path / name, tmp_path / "m.engine")


def test_on_a_card(files, tmp_path):
    """Build, open, compare with ONNX Runtime, time."""
    trt = need_card()
    for graph, arguments in (("logits", {}), ("labels", {}), ("dynamic", {"profile": (1, 2, 4)})):
        path = tmp_path / f"{graph}.engine"
        report = build_engine(files[graph], path, trt=trt, **arguments)
        assert report.read_from == "engine"
        run, reference = TensorRTRuntime(path), OnnxRuntime(files[graph])
        for n in (1, 3, 5):
            images = np.random.default_rng(n).integers(0, 256, (n, 64, 96, 3), np.uint8)
            assert np.mean(run.labels(images) == reference.labels(images)) > 0.999
        times = run.time_device(20, warm_up=5)
        assert times.shape == (20,)
        assert (times > 0).all()


def test_example_without_a_gpu(small_network, tmp_path, monkeypatch, capsys):
    need_no_card()

    def build(weights, input_shape):
        assert weights is None
        return with_input_size(small_network, input_shape[:2])

    monkeypatch.setattr(kc, "CrossCBAM_M", build)
    arguments = ["--weights", "none", "--size", "64x96", "--out", str(tmp_path / "m.engine")]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(EXAMPLE, run_name="__main__")
    assert ended.value.code == 3
    assert onnx.load(tmp_path / "m.onnx").graph.input[0].name == "image"
    said = capsys.readouterr()
    assert "argmax equal on" in said.out
    assert "GPU" in said.err
