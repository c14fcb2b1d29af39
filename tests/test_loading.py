"""What `runtime.load` says of files, engines and options that do not fit."""

import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tiny_network import (
    CLASSES,
    SIZE,
    TABLE,
    images,
    onnx_file,
    openvino_file,
    saved_model,
    tflite_file,
)

import keras_crosscbam as kc
from keras_crosscbam.runtime.description import METADATA, Description, beside
from keras_crosscbam.runtime.signature import Tensor, signature


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.95])
def test_files_cut_off_are_refused(tmp_path, share):
    onnx_file(tmp_path / "m.onnx", kernel=np.ones((3, 200), np.float32), classes=None)
    files = [cut(tmp_path / "m.onnx", share)]
    files.append(cut(openvino_file(tmp_path / "a.xml", output="logits"), share))
    files.append(openvino_file(tmp_path / "b.xml", output="logits"))
    cut(tmp_path / "b.bin", share)
    files.append(cut(tflite_file(tmp_path / "m.tflite"), share))
    files.append(saved_model(tmp_path / "c"))
    cut(tmp_path / "c" / "saved_model.pb", share)
    files.append(saved_model(tmp_path / "d"))
    cut(tmp_path / "d" / "variables" / "variables.index", share)
    for file in files:
        with pytest.raises(
            ValueError, match=f"{file.name}: not a readable .*download or export it"
        ):
            kc.runtime.load(file)
    for file in (files[0], files[3]):
        with pytest.raises(ValueError, match=f"{file.name}: not a readable file for OpenVINO"):
            kc.runtime.load(f"openvino:{file}")


def test_keras_files_cut_off_are_refused(small_network, tmp_path):
    small_network.save(tmp_path / "m.keras")
    for share in (0.9, 0.1, 0):
        with pytest.raises(ValueError, match=r"m.keras: not a readable \.keras file"):
            kc.runtime.load(cut(tmp_path / "m.keras", share))


def test_a_damaged_description_is_named(tmp_path):
    file = tflite_file(tmp_path / "m.tflite")
    for text in ("{", "[1]", '{"layout": "chw"}', '{"pixels": 3}', '{"classes": ["a"]}'):
        beside(file).write_text(text)
        with pytest.raises(ValueError, match=r"m.tflite.json: not a description of a network"):
            kc.runtime.load(file)
    helper_model = onnx.load(onnx_file(tmp_path / "m.onnx"))
    helper.set_model_props(helper_model, {METADATA: "no JSON"})
    onnx.save(helper_model, tmp_path / "m.onnx")
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(ValueError, match=r"m.onnx: not a description of a network"):
            kc.runtime.load(tmp_path / "m.onnx", engine=engine)


def test_descriptions_go_to_json_and_back():
    described = Description("nchw", "uint8", "coarse_logits", TABLE, {"weights_sha256": "ab"})
    assert Description.from_json(described.to_json()) == described
    older = '{"layout": "nchw", "pixels": "float32, RGB, 0..255", "classes": null}'
    assert Description.from_json(older) == Description("nchw")


def test_two_inputs_are_refused(tmp_path):
    model = onnx.load(onnx_file(tmp_path / "m.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "m.onnx")
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(ValueError, match=r"expected one input, the image. Received: 2 inputs"):
            kc.runtime.load(tmp_path / "m.onnx", engine=engine)


@pytest.mark.parametrize(
    ("image", "output", "message"),
    [
        (
            Tensor((1, 3, 8), "float32"),
            Tensor((1, 4, 8, 8), "float32"),
            "expected an input of float or uint8 pixels",
        ),
        (Tensor((1, 4, 8, 8), "float32"), Tensor((1, 4, 8, 8), "float32"), "shape [1, 4, 8, 8]"),
        (Tensor((1, 3, 8, 8), "int8"), Tensor((1, 4, 8, 8), "float32"), "Received: int8 of shape"),
        (Tensor(None, "float32"), Tensor((1, 4, 8, 8), "float32"), "float32 of shape None"),
        (Tensor((1, 3, 8, 8), "float32"), Tensor((1, 1000), "float32"), "shape [1, 1000]"),
        (Tensor((None, 3, 8, 8), "float32"), Tensor((), "float32"), "expected an output of scores"),
    ],
)
def test_other_networks_are_refused(image, output, message):
    with pytest.raises(ValueError, match="m: expected an") as error:
        signature("m", image, output)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("file", "module", "extra"),
    [
        ("m.onnx", "onnxruntime", "runtime"),
        ("m.xml", "openvino", "openvino"),
        ("m.tflite", "ai_edge_litert.interpreter", "litert"),
    ],
)
def test_missing_packages_are_named_with_their_extra(tmp_path, monkeypatch, file, module, extra):
    (tmp_path / file).touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module}.*pip install keras-crosscbam\[{extra}\]"):
        kc.runtime.load(tmp_path / file)


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("m.onnx", {"engine": "litert"}, "`engine` must be one of .*'openvino'.* Received: 'lit"),
        (
            "m.onnx",
            {"precision": "bf16"},
            "m.onnx runs in onnxruntime, which does not support `precision`",
        ),
        ("m.xml", {"device": "cuda"}, "does not support `device`; supported by .'onnxruntime'"),
        ("m.keras", {"threads": 2}, "m.keras runs in keras, which does not support `threads`"),
        ("m.onnx", {"threads": 0}, "`threads` must be a positive integer. Received: 0"),
        ("m.onnx", {"device": "tpu"}, "`device` must be one of"),
        ("m.weights.h5", {}, "Expected a Keras model or the path"),
    ],
)
def test_options_that_do_not_fit(tmp_path, file, options, message):
    (tmp_path / file).touch()
    with pytest.raises(ValueError, match=message):
        kc.runtime.load(tmp_path / file, **options)


def test_sequential_models():
    layer = keras.layers.Conv2D(CLASSES, 1)
    with pytest.raises(ValueError, match="has no inputs yet: give its first layer an input shape"):
        kc.runtime.load(keras.Sequential([layer]))
    run = kc.runtime.load(keras.Sequential([keras.Input((*SIZE, 3)), layer]))
    expected = layer(images().astype("float32")).numpy().argmax(axis=-1)
    np.testing.assert_array_equal(run.labels(images()), expected)


def test_folders_that_are_no_saved_models(tmp_path):
    with pytest.raises(ValueError, match="not a readable SavedModel"):
        kc.runtime.load(tmp_path)
    tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
    with pytest.raises(
        ValueError, match=r"with an endpoint 'serving_default'. Received: endpoints"
    ):
        kc.runtime.load(tmp_path / "empty")


def test_a_device_that_this_build_has_not(tmp_path):
    onnx_file(tmp_path / "m.onnx")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has CUDA")
    with pytest.raises(
        RuntimeError, match=r"no CUDAExecutionProvider.*pip install onnxruntime-gpu"
    ):
        kc.runtime.load(f"onnxruntime-cuda:{tmp_path / 'm.onnx'}")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_size_that_a_network_of_free_size_cannot_take(tmp_path, engine):
    """The libraries answer with exceptions of their own."""
    model = onnx.load(onnx_file(tmp_path / "m.onnx", size=(None, None)))
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(helper.make_node("Add", ["scores", "more"], ["logits"]))
    more = np.zeros((1, CLASSES, *SIZE), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(more, "more"))
    onnx.save(model, tmp_path / "m.onnx")
    run = kc.runtime.load(tmp_path / "m.onnx", engine=engine)
    with pytest.raises(RuntimeError, match=r"m.onnx could not run on .* \(1, 3, 8, 8\): .*try"):
        run(images(1, (8, 8))[0])


def test_an_output_of_unknown_shape_that_cannot_be_tried():
    image, output = Tensor((None, 3, None, None), "float32"), Tensor(None, "float32")
    with pytest.raises(ValueError, match=r"does not run on an image of shape \(1, 3, 64, 128\)"):
        signature("m", image, output, run=lambda pixels: pixels.reshape(1, 4, 7, 7))


@pytest.mark.parametrize("scores", ["nchw", "nhwc"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_network_of_free_size_is_not_run_to_find_its_channels(layout, scores):
    """The only fixed axis of the scores is that of the channels."""

    def shape(layout, channels):
        return (None, channels, None, None) if layout == "nchw" else (None, None, None, channels)

    image, output = Tensor(shape(layout, 3), "float32"), Tensor(shape(scores, 7), "float32")
    read = signature("m", image, output, run=pytest.fail)
    assert (read["num_classes"], read["scores_layout"]) == (7, scores)
    assert (read["size"], read["description"].layout) == (None, layout)


@pytest.mark.parametrize(
    ("image", "output"),
    [
        ((None, 3, None, None), (None, None, None, None)),
        ((None, 3, None, 128), (None, None, None, 128)),
    ],
)
def test_a_network_is_run_if_any_axis_may_be_that_of_the_channels(image, output):
    read = signature(
        "m", Tensor(image, "float32"), Tensor(output, "float32"), run=lambda x: x[:, [0, 0]]
    )
    assert (read["num_classes"], read["scores_layout"]) == (2, "nchw")
