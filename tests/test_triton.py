"""Model repositories of Triton: the folder, and a configuration that says what the graph says."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_network
import triton_config
from cards import need_rtx
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.export.triton import to_triton
from keras_crosscbam.runtime.description import Description, read_beside, write_beside
from keras_crosscbam.runtime.onnx import OnnxRuntime

ORT_TYPES = {"FP32": "tensor(float)", "UINT8": "tensor(uint8)", "INT64": "tensor(int64)"}


@pytest.fixture
def file(tmp_path):
    return tiny_network.onnx_file(tmp_path / "tiny.onnx", batch=None)


def check_tensors(folder):
    """Compares the configuration with ONNX Runtime's view of the newest version's graph."""
    config = triton_config.parse(folder / "config.pbtxt")
    newest = max(folder.glob("*/model.onnx"), key=lambda path: int(path.parent.name))
    session = onnxruntime.InferenceSession(newest)
    for configured, tensors in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        assert [entry.name for entry in configured] == [tensor.name for tensor in tensors]
        for entry, tensor in zip(configured, tensors, strict=True):
            batch = [-1] if config.max_batch_size else []
            shape = [side if isinstance(side, int) else -1 for side in tensor.shape]
            assert batch + list(entry.dims) == shape
            assert ORT_TYPES[triton_config.dtype(entry)] == tensor.type
    return config


def test_repository_of_a_file(file, tmp_path):
    placed = to_triton(file, tmp_path / "models")
    folder = tmp_path / "models" / "tiny"
    assert placed == folder / "1" / "model.onnx"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert found == ["1", "1/model.onnx", "config.pbtxt", "labels.txt"]
    config = check_tensors(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("tiny", "onnxruntime", 8)
    assert config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [3, *tiny_network.SIZE]
    assert (folder / config.output[0].label_filename).read_text().splitlines() == list("abcd")
    assert placed.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "nhwc", "pixels": "uint8", "output": "labels"},
        {"output": "labels", "labels_dtype": "int64", "keep_axis": True},
        {"output": "coarse_logits"},
        {"size": (None, None), "batch": None},
        {"batch": 4, "size": (None, None), "output": "probabilities"},
    ],
    ids=str,
)
def test_configuration_is_that_of_the_graph(tmp_path, options):
    file = tiny_network.onnx_file(tmp_path / "m.onnx", **options)
    config = check_tensors(to_triton(file, tmp_path).parents[1])
    is_batched = options.get("batch", 1) is None
    assert config.max_batch_size == (8 if is_batched else 0)
    assert config.HasField("dynamic_batching") == is_batched


def test_file_from_elsewhere_has_no_labels(tmp_path):
    file = tiny_network.onnx_file(tmp_path / "m.onnx", described=False, batch=None)
    folder = to_triton(file, tmp_path / "models", max_batch=3).parents[1]
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]
    config = check_tensors(folder)
    assert (config.max_batch_size, config.output[0].label_filename) == (3, "")


def test_names_are_quoted(file, tmp_path):
    name = 'M\u00fcnchen "2" \\ x'
    config = triton_config.parse(to_triton(file, tmp_path, name).parents[1] / "config.pbtxt")
    assert config.name == name


def test_next_version_changes_no_file(file, tmp_path):
    """A setting that a user added is kept."""
    folder = to_triton(file, tmp_path).parents[1]
    config = folder / "config.pbtxt"
    tuned = config.read_text().replace("size: 8", "size: 32")
    config.write_text(tuned)
    (folder / "7").mkdir()
    (folder / "notes").mkdir()
    before = (folder / "1" / "model.onnx").stat().st_mtime_ns
    assert to_triton(file, tmp_path) == folder / "8" / "model.onnx"
    assert config.read_text() == tuned
    assert (folder / "1" / "model.onnx").stat().st_mtime_ns == before
    assert {path.name for path in folder.iterdir()} >= {"1", "7", "8"}
    assert not any(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.parametrize(
    "other",
    [
        {"size": (32, 48), "batch": None},
        {"batch": 1},
        {"output": "labels", "batch": None},
        {
            "classes": kc.datasets.ClassTable(tuple("abce"), tiny_network.TABLE.colors),
            "batch": None,
        },
        {"described": False, "batch": None},
    ],
    ids=["size", "batch", "output", "classes", "none"],
)
def test_other_network_is_no_next_version(file, tmp_path, other):
    folder = to_triton(file, tmp_path / "models").parents[1]
    found = sorted(folder.rglob("*"))
    with pytest.raises(ValueError, match=r"tiny is a model with other inputs, outputs, classes"):
        to_triton(tiny_network.onnx_file(tmp_path / "tiny.onnx", **other), tmp_path / "models")
    assert sorted(folder.rglob("*")) == found


def engine_of(path, file, flavour="TensorRT", **changes):
    """A file in the place of an engine: Triton's configuration is that of its graph."""
    path.write_bytes(b"engine")
    described = OnnxRuntime(file).description
    fields = {"layout": described.layout, "output": described.output, "classes": described.classes}
    extra = {"engine": {"flavour": flavour}}
    write_beside(path, Description(**{**fields, **changes}, extra=extra))
    return path


def test_engine(file, tmp_path):
    placed = to_triton(file, tmp_path, "fast", engine_of(tmp_path / "m.engine", file))
    assert placed == tmp_path / "fast" / "1" / "model.plan"
    assert placed.read_bytes() == b"engine"
    assert not (placed.parent / "model.onnx").exists()
    config = triton_config.parse(tmp_path / "fast" / "config.pbtxt")
    assert (config.backend, config.max_batch_size) == ("tensorrt", 8)
    with pytest.raises(ValueError, match="another backend"):
        to_triton(file, tmp_path, "fast")


def test_engines_that_triton_cannot_run(file, tmp_path):
    rtx = engine_of(tmp_path / "rtx.engine", file, flavour="TensorRT-RTX")
    with pytest.raises(ValueError, match=r"Received: an engine of TensorRT-RTX"):
        to_triton(file, tmp_path, engine=rtx)
    other = engine_of(tmp_path / "other.engine", file, output="labels")
    with pytest.raises(ValueError, match=r"other.engine was not built from .*tiny.onnx"):
        to_triton(file, tmp_path, engine=other)
    (tmp_path / "alone.engine").write_bytes(b"engine")
    with pytest.raises(ValueError, match=r"alone.engine: the file alone.engine.json"):
        to_triton(file, tmp_path, engine=tmp_path / "alone.engine")


def test_files_that_are_refused(file, tmp_path):
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ValueError, match=r"text.onnx: not a readable ONNX file"):
        to_triton(tmp_path / "text.onnx", tmp_path / "models")
    silent = tiny_network.onnx_file(tmp_path / "silent.onnx", says_shape=False)
    with pytest.raises(ValueError, match=r"silent.onnx: the file does not give the shape of 'log"):
        to_triton(silent, tmp_path / "models")
    parts = onnx.load(file)
    onnx.save(parts, tmp_path / "parts.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ValueError, match=r"parts.onnx: its weights are in another file"):
        to_triton(tmp_path / "parts.onnx", tmp_path / "models")
    for name in ("", "a/b", ".."):
        with pytest.raises(ValueError, match=r"`name` must be the name of a visible folder"):
            to_triton(file, tmp_path / "models", name)
    with pytest.raises(ValueError, match=r"`max_batch` must be positive. Received: 0"):
        to_triton(file, tmp_path / "models", max_batch=0)
    assert not (tmp_path / "models").exists()


def test_command_refuses_other_formats(capsys, tmp_path):
    arguments = ["--to", "litert", "--out", tmp_path / "m.tflite", "--triton", tmp_path]
    assert cli.main(["export", *map(str, arguments)]) == 2
    assert "--triton is for --to onnx and --to tensorrt; got --to litert" in capsys.readouterr().err


@pytest.mark.slow
def test_command_exports_into_a_repository(capsys, small_network, tmp_path):
    small_network.save(tmp_path / "m.keras")
    models, image = tmp_path / "models", tmp_path / "image.png"
    Image.fromarray(tiny_network.images(size=(64, 96))[0]).save(image)
    options = ["--size", "64x96", "--batch", 0, "--frames", image]
    places = ["--out", tmp_path / "road.onnx", "--triton", models]
    for version in ("1", "2"):
        arguments = ["--model", tmp_path / "m.keras", *options, *places]
        assert cli.main(["export", *map(str, arguments)]) == 0
        placed = models / "road" / version / "model.onnx"
        assert capsys.readouterr().out.splitlines()[-1] == str(placed)
    config = check_tensors(models / "road")
    assert (config.max_batch_size, list(config.input[0].dims)) == (8, [3, 64, 96])
    names = (models / "road" / "labels.txt").read_text().splitlines()
    assert names == list(small_network.classes.names)
    labels = kc.segment(placed, image)
    assert np.array_equal(labels, kc.segment(tmp_path / "road.onnx", image))


@pytest.mark.slow
def test_command_refuses_a_real_engine_of_rtx(capsys, small_network, tmp_path):
    need_rtx()
    small_network.save(tmp_path / "m.keras")
    places = ["--out", tmp_path / "m.engine", "--triton", tmp_path / "models"]
    arguments = ["--model", tmp_path / "m.keras", "--to", "tensorrt", "--size", "64x96", *places]
    assert cli.main(["export", *map(str, arguments)]) == 2
    expected = "m.engine: Triton runs engines of TensorRT. Received: an engine of TensorRT-RTX"
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
    # The description of an engine is that of its graph, which `to_triton` compares.
    descriptions = read_beside(tmp_path / "m.engine"), OnnxRuntime(tmp_path / "m.onnx").description
    engine, graph = (replace(description, extra={}) for description in descriptions)
    assert engine == graph
