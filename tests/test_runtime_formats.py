"""Every format and engine gives what NumPy computes of the same network."""

import numpy as np
import openvino
import pytest
from PIL import Image
from tiny_network import (
    CLASSES,
    KERNEL,
    SIZE,
    TABLE,
    images,
    onnx_file,
    openvino_file,
    saved_model,
    scores_of,
    tflite_file,
)

import keras_crosscbam as kc
from keras_crosscbam.datasets import ClassTable, load_camvid
from keras_crosscbam.label_files import write_predictions
from keras_crosscbam.models.surgery import with_input_size
from keras_crosscbam.runtime.coarse_logits import labels_of_coarse, upsample
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.litert import _quantize
from keras_crosscbam.runtime.openvino import OpenVINORuntime


def assert_is_the_network(run, output="logits", count=1, size=SIZE, atol=1e-2):
    pixels = images(count, size)
    scores = scores_of(pixels)
    if output == "coarse_logits":
        coarse = scores.reshape(count, size[0] // 4, 4, size[1] // 4, 4, -1).mean(axis=(2, 4))
        scores = upsample(coarse, size)
        np.testing.assert_array_equal(run.labels(pixels), labels_of_coarse(coarse, size))
    else:
        np.testing.assert_array_equal(run.labels(pixels), scores.argmax(-1))
    assert run.labels(pixels).dtype == np.uint8
    if output == "labels":
        with pytest.raises(ValueError, match="outputs labels, not scores"):
            run.logits(pixels)
    else:
        received = run.logits(pixels)
        assert received.dtype == np.float32
        np.testing.assert_allclose(received, scores, atol=atol)
        # A second run leaves the first result alone.
        run.logits(255 - pixels)
        np.testing.assert_allclose(received, scores, atol=atol)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("output", ["logits", "labels", "coarse_logits"])
@pytest.mark.parametrize("pixels", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_onnx_files(tmp_path, layout, pixels, output, engine):
    onnx_file(tmp_path / "m.onnx", layout, pixels, output)
    run = kc.runtime.load(f"{engine}:{tmp_path / 'm.onnx'}", threads=1)
    assert (run.size, run.batch, run.num_classes, run.classes) == (SIZE, 1, CLASSES, TABLE)
    assert run.description == Description(layout, pixels, output, TABLE, {"precision": "fp32"})
    prepared = run.prepare(images())
    assert prepared.dtype == pixels
    assert prepared.shape == ((1, 3, *SIZE) if layout == "nchw" else (1, *SIZE, 3))
    assert prepared.flags.c_contiguous
    assert_is_the_network(run, output)
    # More images than the network is fixed to, and of another size.
    assert_is_the_network(run, output, count=3)
    assert run(images(2, (32, 40))).shape == (2, 32, 40)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("output", ["logits", "labels", "coarse_logits"])
def test_free_batch_and_size(tmp_path, output, engine):
    onnx_file(tmp_path / "m.onnx", output=output, batch=None, size=(None, None))
    run = kc.runtime.load(tmp_path / "m.onnx", engine=engine)
    assert (run.size, run.batch) == (None, None)
    assert_is_the_network(run, output, count=3)
    assert_is_the_network(run, output, count=2, size=(8, 32))


def test_batches_are_cut_and_the_last_one_filled_up(tmp_path):
    onnx_file(tmp_path / "m.onnx", batch=4)
    run = kc.runtime.load(tmp_path / "m.onnx")
    for count in (1, 4, 6):
        assert_is_the_network(run, count=count)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "written",
    [
        {"layout": "nchw"},
        {"layout": "nhwc", "pixels": "uint8"},
        {"pixels": "float16"},
        {"layout": "nhwc", "scores_layout": "nchw"},
        {"layout": "nchw", "scores_layout": "nhwc", "says_shape": False},
        {"size": (None, None), "batch": None, "says_shape": False},
        {"output": "coarse_logits"},
        {"output": "labels", "labels_dtype": "int64"},
        {"output": "labels", "labels_dtype": "float32"},
        {"output": "labels", "labels_dtype": "int32", "keep_axis": True},
        {"output": "labels", "layout": "nhwc", "keep_axis": True, "says_shape": False},
    ],
    ids=str,
)
def test_foreign_files_are_read_off_their_tensors(tmp_path, written, engine):
    onnx_file(tmp_path / "m.onnx", described=False, **written)
    run = kc.runtime.load(tmp_path / "m.onnx", engine=engine)
    output = written.get("output", "logits")
    assert run.num_classes == (None if output == "labels" else CLASSES)
    assert run.description.layout == written.get("layout", "nchw")
    assert_is_the_network(run, output)


def test_foreign_labels_take_a_class_table(tmp_path):
    onnx_file(tmp_path / "m.onnx", output="labels", described=False)
    assert len(kc.runtime.load(tmp_path / "m.onnx").classes) == 256
    run = kc.runtime.load(tmp_path / "m.onnx", TABLE)
    assert (run.num_classes, run.classes) == (CLASSES, TABLE)
    few = ClassTable(TABLE.names[:2], TABLE.colors[:2])
    with pytest.raises(ValueError, match=r"integers in 0\.\.1\. Received: values in 0\.\.3"):
        kc.runtime.load(tmp_path / "m.onnx", few)(images()[0])


def test_scores_of_one_channel_are_not_taken_for_labels(tmp_path):
    onnx_file(tmp_path / "m.onnx", kernel=KERNEL[:, :1], described=False)
    with pytest.raises(ValueError, match="is read as class indices, which must be integers"):
        kc.runtime.load(tmp_path / "m.onnx").labels(images())


@pytest.mark.parametrize("output", ["logits", "labels", "coarse_logits"])
def test_openvino_files(tmp_path, output):
    run = kc.runtime.load(openvino_file(tmp_path / "m.xml", output=output), threads=1)
    assert run.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert run.classes == TABLE
    assert_is_the_network(run, output)


def test_bfloat16_on_request_or_a_sentence(tmp_path):
    """f32 otherwise, which OpenVINO would not choose itself where the processor has bfloat16."""
    spec = f"openvino-bf16:{openvino_file(tmp_path / 'm.xml', output='logits')}"
    exact = kc.runtime.load(tmp_path / "m.xml")
    assert exact.compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(RuntimeError, match="which has no bf16"):
            kc.runtime.load(spec)
        return
    rounded = kc.runtime.load(spec).logits(images())
    np.testing.assert_allclose(rounded, scores_of(images()), rtol=0.02, atol=4)
    assert np.abs(rounded - exact.logits(images())).max() > 1e-3
    with pytest.raises(ValueError, match="`precision` must be one of"):
        OpenVINORuntime(tmp_path / "m.xml", precision="int8")


@pytest.mark.parametrize("engine", ["litert", "openvino"])
@pytest.mark.parametrize("output", ["logits", "labels"])
@pytest.mark.parametrize("described", [True, False])
def test_tflite_files(tmp_path, output, engine, described):
    tflite_file(tmp_path / "m.tflite", output, described=described)
    run = kc.runtime.load(tmp_path / "m.tflite", engine=engine, threads=1)
    assert (run.size, run.batch) == (SIZE, 1)
    assert run.description.classes == (TABLE if described else None)
    assert_is_the_network(run, output, count=2)


@pytest.mark.parametrize("quantized", ["int8", "uint8"])
def test_quantized_tflite_files(tmp_path, quantized):
    run = kc.runtime.load(tflite_file(tmp_path / "m.tflite", quantized=quantized))
    assert run.prepare(images()).dtype == quantized
    assert run.run(run.prepare(images())).dtype == quantized
    scores = scores_of(images())
    step = 2 * np.abs(scores).max() / 255
    np.testing.assert_allclose(run.logits(images()), scores, atol=4 * step)
    ordered = np.sort(scores, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > 8 * step
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(run.labels(images())[clear], scores.argmax(-1)[clear])


def test_pixels_of_another_scale_than_one_are_looked_up(tmp_path):
    """As of a network calibrated on a part of 0..255: numbers beyond it are its limits."""
    run = kc.runtime.load(tflite_file(tmp_path / "m.tflite", quantized="int8"))
    exact = run.prepare(images())
    np.testing.assert_array_equal(exact, images().astype(np.int16) - 128)
    details = {"quantization": (0.5, -100), "dtype": np.int8}
    assert _quantize(np.array([0, 10, 255]), details).tolist() == [-100, -80, 127]


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("output", ["logits", "labels"])
def test_saved_models(tmp_path, output, described):
    saved_model(tmp_path / "m", output, described, pixels="uint8", batch=None, size=(None, None))
    run = kc.runtime.load(tmp_path / "m")
    assert (run.size, run.batch) == (None, None)
    assert run.prepare(images()).dtype == np.uint8
    assert_is_the_network(run, output, count=2)


def test_saved_model_that_keras_writes(small_network, tmp_path):
    with_input_size(small_network, (32, 64)).export(tmp_path / "m", verbose=False)
    pixels = images(2, (32, 64))
    received = kc.runtime.load(tmp_path / "m").logits(pixels)
    np.testing.assert_allclose(received, kc.runtime.load(small_network).logits(pixels), atol=1e-3)


def test_images_of_another_shape_are_refused(tmp_path):
    run = kc.runtime.load(onnx_file(tmp_path / "m.onnx"))
    for shape in ((16, 24, 3), (1, 16, 25, 3), (1, 16, 24, 4), (0, 16, 24, 3)):
        with pytest.raises(ValueError, match=r"takes images of shape \(batch, 16, 24, 3\)"):
            run.labels(np.zeros(shape, np.uint8))


def test_floats_are_rounded_for_pixels_of_uint8(tmp_path):
    run = kc.runtime.load(onnx_file(tmp_path / "m.onnx", pixels="uint8"))
    prepared = run.prepare(np.full((1, *SIZE, 3), [-3, 7.6, 300]))
    assert prepared[0, :, 0, 0].tolist() == [0, 8, 255]


def test_evaluation_segmentation_and_predictions_of_labels(made_camvid, tmp_path):
    """The figures of a file with labels are those of one with scores, at the size of the frames."""
    frames = load_camvid(made_camvid, "val")
    kernel = np.random.default_rng(1).normal(size=(3, 11)).astype(np.float32)
    results = []
    for output in ("logits", "labels"):
        written = {"output": output, "size": (80, 96), "kernel": kernel, "classes": None}
        onnx_file(tmp_path / f"{output}.onnx", described=False, **written)
        results.append(kc.evaluate(tmp_path / f"{output}.onnx", frames))
    np.testing.assert_array_equal(results[0]["confusion"], results[1]["confusion"])
    image, _ = frames[0]
    labels = kc.segment(str(tmp_path / "labels.onnx"), image)
    np.testing.assert_array_equal(labels, (image @ kernel - 128 * kernel.sum(0)).argmax(-1))
    (first, _) = write_predictions(tmp_path / "labels.onnx", frames, tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(first)), labels)
    half = kc.runtime.load(tmp_path / "labels.onnx").predict(image, output_size=(40, 48))
    np.testing.assert_array_equal(half, labels[1::2, 1::2])


def test_evaluation_refuses_labels_that_are_no_classes(made_camvid, tmp_path):
    kernel = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    onnx_file(tmp_path / "m.onnx", output="labels", kernel=kernel, described=False)
    with pytest.raises(ValueError, match=r"outputs label \d\d, but the data set 'camvid' has 11"):
        kc.evaluate(tmp_path / "m.onnx", load_camvid(made_camvid, "val"))
