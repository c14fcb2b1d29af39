"""Engines are opened only where they run, with a sentence elsewhere; what is read back from them.

The engines are real ones, built by TensorRT-RTX of a network of one convolution.
"""

import json
import shutil
import sys

import numpy as np
import pytest
from cards import need_no_card, need_rtx
from tiny_network import onnx_file

from keras_crosscbam.export.tensorrt.engine import build_engine
from keras_crosscbam.export.tensorrt.precision import layer_precision
from keras_crosscbam.runtime import load
from keras_crosscbam.runtime.description import Description, beside, read_beside, write_beside
from keras_crosscbam.runtime.tensorrt import cuda
from keras_crosscbam.runtime.tensorrt.engine_file import _check_card, open_engine


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An engine; only to be read."""
    path = tmp_path_factory.mktemp("engine") / "network.engine"
    build_engine(onnx_file(path.with_suffix(".onnx")), path, trt=need_rtx())
    return path


@pytest.fixture
def engine(built, tmp_path):
    """A copy to change."""
    path = tmp_path / built.name
    for file in (built, beside(built)):
        shutil.copy(file, path.with_name(file.name))
    return path


def test_without_a_driver_a_sentence(engine):
    need_no_card()
    with pytest.raises(RuntimeError, match=r"no NVIDIA GPU to run on: .*nvidia-smi"):
        load(engine)


def test_without_tensorrt_a_sentence(tmp_path, monkeypatch):
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install keras-crosscbam\[tensorrt\].*GTX 1080 Ti"):
        build_engine(onnx_file(tmp_path / "m.onnx"), tmp_path / "m.engine")


def test_an_engine_of_another_version(engine):
    described = read_beside(engine)
    described.extra["engine"]["version"] = "1.2.0.1"
    write_beside(engine, described)
    with pytest.raises(
        ValueError, match=r"built by TensorRT-RTX 1\.2\.0\.1, and engines do not run"
    ):
        open_engine(engine)


def test_a_foreign_engine_of_another_version(engine):
    beside(engine).unlink()
    data = bytearray(engine.read_bytes())
    data[24:28] = 1, 3, 0, 35
    engine.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"built by TensorRT-RTX 1\.3\.0\.35, and engines do not run"
    ):
        open_engine(engine)


def test_an_engine_of_the_other_flavour(engine):
    beside(engine).unlink()
    engine.write_bytes(b"ftrt" + engine.read_bytes()[4:])
    with pytest.raises(ValueError, match=r"built by TensorRT 1.*Received: TensorRT-RTX"):
        open_engine(engine, need_rtx())


def test_an_engine_for_another_card():
    described = Description(extra={"engine": {"gpu": "GTX 1080 Ti", "compute_capability": [6, 1]}})
    here = cuda.Device("RTX 4090", (8, 9), 2**34)
    message = r"built for compute capability 6.1 \(GTX 1080 Ti\).*Received: RTX 4090 \(.* 8.9\)"
    with pytest.raises(ValueError, match=message):
        _check_card("m.engine", described, here)
    _check_card("m.engine", described, cuda.Device("GTX 1080", (6, 1), 2**33))


def test_damaged_files(engine, tmp_path):
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"damaged, or network\.engine\.json"):
        open_engine(engine)
    (tmp_path / "text.engine").write_text("not an engine, but long enough to look like one")
    with pytest.raises(ValueError, match=r"expected an engine built by TensorRT 8\.6 or later"):
        open_engine(tmp_path / "text.engine")
    with pytest.raises(ValueError, match="cannot be read"):
        open_engine(tmp_path / "absent.engine")


def test_cuda_bindings_take_our_arguments():
    """Every call reaches the driver library, which says that it is missing, not a TypeError."""
    need_no_card()
    connection = object.__new__(cuda.CudaBindings)
    connection._runtime = pytest.importorskip("cuda.bindings.runtime")
    connection._stream = connection._runtime.cudaStream_t(0)
    array = np.zeros(8, np.uint8)
    for call in (
        lambda: connection.allocate(8),
        lambda: connection.pinned(8),
        lambda: connection.to_device(0, array),
        lambda: connection.to_host(array, 0),
        lambda: connection.time(lambda: None, 1),
        lambda: connection.capture(lambda: None),
        lambda: connection.synchronize(),
        lambda: connection.free_memory(),
    ):
        with pytest.raises(RuntimeError, match="driver"):
            call()


@pytest.mark.parametrize(
    ("layer", "precision"),
    [
        ({"Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]}, "FP16"),
        ({"Inputs": [{"Format/Datatype": "Half"}]}, "FP16"),
        ({"Inputs": [{"Format": "Row major linear", "DataType": "Float"}]}, "FP32"),
        ({"Inputs": [{"Format/Datatype": "Float"}], "TacticName": "sm80_xmma_tf32f32"}, "TF32"),
        (
            {
                "LayerType": "CaskConvolution",
                "Inputs": [
                    {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}
                ],
            },
            "INT8",
        ),
        ({"Inputs": [{"Format/Datatype": "UInt8"}]}, None),
        ({"LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Float"}]}, None),
        ({"LayerType": "Constant", "Inputs": []}, None),
        ({"LayerType": "Myelin", "Inputs": [{"Format/Datatype": "Float"}]}, "fused"),
        ("conv1 + relu1", "unknown"),
    ],
)
def test_precision_in_the_words_of_every_version(layer, precision):
    """The engine inspectors of TensorRT 8.6, 10 and 11, as their documentation shows them."""
    assert layer_precision(json.dumps(layer)) == precision


def test_a_layer_that_is_no_json():
    assert layer_precision('{"Name": "a "quoted" name"}') == "unknown"
