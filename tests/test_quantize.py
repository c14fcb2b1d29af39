"""INT8: real quantizers on small networks; what stays float, what is refused, what is reported."""

import functools

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.export.quantization.calibration import calibration_images
from keras_crosscbam.export.quantization.float_layers import float_nodes
from keras_crosscbam.export.quantization.graphs import Node
from keras_crosscbam.export.quantization.int8 import QuantizationError, quantize
from keras_crosscbam.export.quantization.pooling import pools_as_convolutions
from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.layers import ResizeLike

ENDINGS = {"onnxruntime": ".onnx", "tensorrt": ".onnx", "openvino": ".xml", "litert": ".tflite"}
CONVOLUTIONS = 57
GATES = 18
"""1x1 convolutions on one value per channel: 2 in SE-ASPP, 4 in each of 4 channel attentions."""


@pytest.fixture(scope="module")
def frames():
    """Four parts of a street."""
    street = read_image(STREET)
    return [street[y : y + 180, x : x + 240] for y in (200, 380) for x in (100, 400)]


@pytest.fixture(scope="module")
def trained():
    """The network of the shipped weights, at half the size that they were trained at."""
    return kc.CrossCBAM_M(weights="camvid", input_shape=(180, 240, 3))


@pytest.fixture(scope="module")
def float_file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "float.onnx"
    kc.export.to_onnx(trained, path, optimize_for=None)
    return path


@pytest.fixture(scope="module")
def int8_file(trained, float_file, frames, tmp_path_factory):
    """That network in INT8 for a runtime: its file and its report."""
    folder = tmp_path_factory.mktemp("int8")

    @functools.cache
    def make(name):
        path = folder / f"{name}{ENDINGS[name]}"
        source = trained if name == "litert" else float_file
        return path, quantize(source, path, frames, name, max_loss=8)

    return make


def quick(*names):
    """All runtimes, of which these alone are not left out by `make test`."""
    marks = {name: [] if name in names else pytest.mark.slow for name in ENDINGS}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in marks.items()])


@quick("onnxruntime", "tensorrt")
def test_every_runtime_gets_a_file_that_says_what_it_is(int8_file, name):
    path, report = int8_file(name)
    convolutions = CONVOLUTIONS + (3 if name == "litert" else 0)  # made of average poolings
    assert report.convolutions == convolutions
    assert report.int8_convolutions == convolutions - GATES - 2  # nor the first and the last
    assert report.dataset is None
    assert 0.92 < report.quantized < report.reference == 1
    assert "no mean IoU without labeled frames" in str(report)
    run = runtime.load(path)
    assert run.size == (180, 240)
    assert run.classes == kc.datasets.CAMVID_CLASSES
    assert run.description.output == "logits"
    assert run.description.extra["precision"] == "int8"
    assert run.description.extra["runtime"] == name


@quick("onnxruntime")
def test_shipped_weights_lose_little(data_root, int8_file, float_file, name):
    """On every tenth frame of CamVid's val."""
    some = load_camvid(data_root / "camvid-480x360", "val").subset(range(0, 101, 10))
    whole, int8 = (kc.evaluate(file, some)["mean_iou"] for file in (float_file, int8_file(name)[0]))
    assert whole > 0.5
    assert int8 > whole - 0.01


def test_gates_and_what_follows_the_classifier_stay_float(int8_file):
    nodes = onnx.load(int8_file("onnxruntime")[0]).graph.node
    scaled = {o for node in nodes if node.op_type == "DequantizeLinear" for o in node.output}
    made_by = {o: node for node in nodes for o in node.output}
    (upsampling,) = (node for node in nodes if "logits" in node.output)
    classifier = made_by[upsampling.input[0]]
    assert classifier.op_type == "Conv"
    assert classifier.input[0] in scaled
    sums = [node for node in nodes if "channel_attention" in node.name and node.op_type == "Add"]
    assert len(sums) == 4
    assert not any(scaled.intersection(node.input) for node in sums)


def test_tensorrt_gets_symmetric_scales_and_float_biases(int8_file):
    """No bias is scaled, so none is the result of a DequantizeLinear."""
    graph = onnx.load(int8_file("tensorrt")[0]).graph
    arrays = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    scaling = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [arrays[node.input[2]] for node in scaling]
    assert zeros
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    scaled = {o for node in scaling for o in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert sum(node.input[0] in scaled for node in convolutions) == CONVOLUTIONS - GATES - 2
    assert not any(scaled.intersection(node.input[2:]) for node in convolutions)


@pytest.mark.parametrize("name", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_layers_are_excluded_by_name(float_file, frames, tmp_path, name):
    path = tmp_path / f"m{ENDINGS[name]}"
    options = {"exclude": ("first", "se_aspp"), "max_loss": 8}
    report = quantize(float_file, path, frames[:1], name, **options)
    assert report.int8_convolutions == CONVOLUTIONS - GATES - 1 - 3


def test_an_unknown_name_is_refused(float_file, frames, tmp_path):
    with pytest.raises(ValueError, match="Received: 'stage9'"):
        quantize(float_file, tmp_path / "m.onnx", frames[:1], exclude="stage9")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tiny():
    """A network of three layers, none of ours, and the same function with an absurd range."""
    keras.utils.set_random_seed(5)
    image = keras.Input((48, 64, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="middle")(x)
    x = keras.layers.Conv2D(4, 1, name="scores", kernel_initializer="he_normal")(x)
    model = keras.Model(image, ResizeLike()([x, image]))
    absurd = keras.models.clone_model(model)
    absurd.set_weights(model.get_weights())
    for name, factors in (("middle", (1e5, -1)), ("scores", (1e-5, -2))):
        kernel, bias = absurd.get_layer(name).get_weights()
        np.moveaxis(kernel, factors[1], 0)[0] *= factors[0]
        absurd.get_layer(name).set_weights([kernel, bias])
    return model, absurd


def test_too_much_loss_leaves_no_file(tiny, frames, tmp_path):
    """One feature map that is 100,000 times larger leaves the others no numbers."""
    path = tmp_path / "m.onnx"
    model, absurd = tiny
    assert quantize(model, path, frames).ok
    path.unlink()
    with pytest.raises(QuantizationError, match=r"not kept: .* % changed, at most 1 % allowed"):
        quantize(absurd, path, frames)
    assert not list(tmp_path.iterdir())
    report = quantize(absurd, path, frames, force=True)
    assert not report.ok
    assert report.loss > 1
    assert runtime.load(path).size == (48, 64)


@pytest.mark.parametrize("name", ENDINGS)
def test_uint8_pixels_and_labels(tiny, frames, tmp_path, name):
    """What a camera's program wants."""
    path = tmp_path / f"m{ENDINGS[name]}"
    options = {"input": "uint8", "output": "labels", "max_loss": 10}
    report = quantize(tiny[0], path, frames, name, **options)
    assert (report.int8_convolutions, report.convolutions) == (1, 3)
    run = runtime.load(path)
    assert run.dtype == np.uint8
    assert run.description.output == "labels"
    reference = runtime.load(tiny[0])
    assert (run(frames[0]) == reference(frames[0])).mean() > 0.9


@pytest.mark.parametrize("name", ENDINGS)
def test_coarse_logits(tiny, frames, tmp_path, name):
    path = tmp_path / f"m{ENDINGS[name]}"
    report = quantize(tiny[0], path, frames, name, output="coarse_logits")
    assert (report.int8_convolutions, report.convolutions) == (1, 3)
    run = runtime.load(path)
    assert run.run(run.prepare(frames[0][None, :48, :64])).size == 24 * 32 * 4


def test_labeled_frames_are_judged_by_mean_iou(float_file, made_camvid, tmp_path):
    train, val = (load_camvid(made_camvid, split) for split in ("train", "val"))
    report = quantize(float_file, tmp_path / "m.onnx", train, dataset=val, max_loss=100)
    assert report.calibration_frames == 6
    assert report.reference == kc.evaluate(float_file, val)["mean_iou"]
    assert report.quantized == kc.evaluate(tmp_path / "m.onnx", val)["mean_iou"]
    assert report.loss == pytest.approx(100 * (report.reference - report.quantized))
    over = [kc.evaluate(m, val)["classes_in_mean"] for m in (float_file, tmp_path / "m.onnx")]
    assert report.classes_in_mean == tuple(over)
    assert f"FP32 {100 * report.reference:.2f} % over {over[0]} classes, INT8 " in str(report)
    assert "on 2 frames of camvid" in str(report)


@pytest.mark.parametrize(
    ("runtime_name", "file"), [("litert", "m.onnx"), ("onnxruntime", "m.xml"), ("cuda", "m.onnx")]
)
def test_runtime_and_ending_belong_together(frames, tmp_path, runtime_name, file):
    with pytest.raises(ValueError, match="files of these extensions"):
        quantize("m.onnx", tmp_path / file, frames, runtime_name)


def test_files_without_their_convolutions_are_refused(tmp_path, frames):
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, keras.layers.Conv2D(64, 3, padding="same")(image))
    kc.export.to_onnx(model, tmp_path / "float.onnx", optimize_for="openvino")
    with pytest.raises(ValueError, match=r"written for openvino in float.* quantize the Keras mod"):
        quantize(tmp_path / "float.onnx", tmp_path / "m.onnx", frames[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]


def test_litert_wants_the_keras_model(frames, tmp_path):
    with pytest.raises(ValueError, match="quantized from the Keras model"):
        quantize("m.onnx", tmp_path / "m.tflite", frames, "litert")


def test_calibration_takes_data_sets_paths_and_arrays(made_camvid, frames):
    train = load_camvid(made_camvid, "train")
    assert len(calibration_images(train)) == 6
    spread = calibration_images([*frames, STREET], max_frames=3)
    assert [image.shape for image in spread] == [(180, 240, 3), (180, 240, 3), (563, 751, 3)]
    with pytest.raises(ValueError, match="Received: none"):
        calibration_images([])
    with pytest.raises(ValueError, match="Received: float64 of shape"):
        calibration_images([np.zeros((8, 8, 3))])
    with pytest.raises(ValueError, match=r"missing\.jpg"):
        calibration_images(["missing.jpg"])


def chain(*kinds):
    """Operations one after the other: "conv", "gate" or something else."""
    return [
        Node(
            name=f"{kind}{i}",
            layers=(f"net_1/{kind}_layer_2/kernel:0",),
            inputs=(f"t{i}",),
            outputs=(f"t{i + 1}",),
            size=(1, 1) if kind == "gate" else (8, 8),
            is_conv=kind in ("conv", "gate"),
            is_int8=False,
        )
        for i, kind in enumerate(kinds)
    ]


def test_scope_keeps_both_ends_gates_and_names_in_float():
    nodes = chain("cast", "scale", "conv", "gate", "add", "conv", "mul", "conv", "resize", "argmax")
    fixed = {"cast0", "scale1", "gate3", "resize8", "argmax9"}
    assert float_nodes(nodes) == fixed
    assert float_nodes(nodes, ["first"]) == fixed | {"conv2"}
    assert float_nodes(nodes, ["last", "mul_layer"]) == fixed | {"conv7", "mul6"}
    assert float_nodes(nodes, ["add4"]) == fixed | {"add4"}
    with pytest.raises(ValueError, match="no convolutions"):
        float_nodes(chain("mul"))


def test_average_poolings_become_convolutions(rng):
    image = keras.Input((12, 20, 3), name="image")
    x = keras.layers.Conv2D(4, 1)(keras.layers.AveragePooling2D(3, strides=2)(image))
    model = keras.Model(image, keras.layers.AveragePooling2D(2, padding="same")(x))
    changed = pools_as_convolutions(model)
    serve = serving_function(changed, 1, describe(changed, "float", "logits"))
    kinds = [op.type for op in serve.get_concrete_function().graph.get_operations()]
    assert "DepthwiseConv2dNative" in str(kinds)
    pixels = rng.uniform(0, 255, (1, 12, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(changed(pixels), model(pixels), atol=1e-3)
