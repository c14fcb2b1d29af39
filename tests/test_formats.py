"""SavedModel, LiteRT and OpenVINO files: each answers as the Keras model does, or is not kept."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.export.litert import to_litert
from keras_crosscbam.export.openvino import to_openvino
from keras_crosscbam.export.parity import ParityError
from keras_crosscbam.export.quantization.graphs import litert_nodes
from keras_crosscbam.export.saved_model import to_saved_model
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.runtime.keras_model import KerasRuntime

SIZE = (64, 96)
EXPORTS = {"saved_model": to_saved_model, "m.tflite": to_litert, "m.xml": to_openvino}
by_format = pytest.mark.parametrize("name", EXPORTS)


@pytest.fixture(scope="module")
def trained():
    """The network of the shipped weights."""
    return kc.CrossCBAM_M(weights="camvid", input_shape=(96, 128, 3))


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """Its files, with what the gate said: on frames of CamVid, or else on a street photograph."""
    root = os.environ.get("CROSSCBAM_DATA")
    frames = root and sorted(Path(root, "camvid-480x360", "val").glob("*.jpg"))[::34]
    folder = tmp_path_factory.mktemp("formats")
    return {
        name: (folder / name, export(trained, folder / name, frames=frames))
        for name, export in EXPORTS.items()
    }


@pytest.fixture(scope="module")
def tiny():
    """A network of three layers."""
    return tiny_network(SIZE)


def tiny_network(size):
    keras.utils.set_random_seed(5)
    image = keras.Input((*size, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer="he_normal")(x)
    return keras.Model(image, ResizeLike()([x, image]))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (1, *SIZE, 3), np.uint8)


@by_format
def test_logits_equal_keras(trained, exported, name):
    path, result = exported[name]
    assert result.argmax_agreement >= 0.9999
    assert result.max_difference < 1e-3
    run = runtime.load(path)
    assert run.size == (96, 128)
    assert run.classes == kc.datasets.CAMVID_CLASSES
    assert run.description.output == "logits"
    assert len(run.description.extra["weights_sha256"]) == 64
    street = kc.runtime.load(trained)(read_image(STREET))
    assert (run(read_image(STREET)) == street).mean() > 0.9999


def test_litert_folds_and_fuses(exported):
    """BatchNormalization is gone, and dilated convolutions are single operations."""
    nodes = litert_nodes(exported["m.tflite"][0].read_bytes())
    assert sum(node.is_conv for node in nodes) == 57
    assert len(nodes) < 130
    assert not [node.name for node in nodes if "SpaceToBatch" in node.name]


@by_format
@pytest.mark.parametrize("output", ["probabilities", "labels"])
def test_uint8_pixels_and_other_outputs(tiny, images, tmp_path, name, output):
    result = EXPORTS[name](tiny, tmp_path / name, input="uint8", output=output)
    assert result.argmax_agreement >= 0.9999
    run = runtime.load(tmp_path / name)
    assert run.description.pixels == run.dtype == "uint8"
    assert run.description.output == output
    reference = KerasRuntime(tiny)
    np.testing.assert_array_equal(run.labels(images), reference.labels(images))
    if output == "probabilities":
        sums = run.logits(images).sum(axis=-1)
        np.testing.assert_allclose(sums, 1, atol=1e-5)


@by_format
def test_coarse_logits_are_finished_by_the_runtime(tiny, images, tmp_path, name):
    result = EXPORTS[name](tiny, tmp_path / name, output="coarse_logits")
    assert result.argmax_agreement >= 0.9999
    run = runtime.load(tmp_path / name)
    assert run.run(run.prepare(images)).size == SIZE[0] / 2 * SIZE[1] / 2 * 4
    np.testing.assert_allclose(run.logits(images), KerasRuntime(tiny).logits(images), atol=1e-3)


@by_format
def test_coarse_logits_need_an_upsampling_at_the_end(tmp_path, name):
    image = keras.Input((*SIZE, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="scores")(image))
    with pytest.raises(ValueError, match="which ends in scores"):
        EXPORTS[name](model, tmp_path / name, output="coarse_logits")
    assert not list(tmp_path.iterdir())


@by_format
def test_a_file_that_differs_is_not_kept(tiny, tmp_path, monkeypatch, name):
    """The gate sees a file of other weights, and leaves the older export where it was."""
    other = keras.models.clone_model(tiny)
    path = tmp_path / name
    EXPORTS[name](tiny, path)
    before = {part: part.read_bytes() for part in tmp_path.rglob("*") if part.is_file()}

    def of_other(model, *args, **options):
        return make(other, *args, **options)

    module = __import__(EXPORTS[name].__module__, fromlist=["module"])
    maker = {"saved_model": "serving_function", "m.tflite": "serving_function", "m.xml": "to_onnx"}
    make = getattr(module, maker[name])
    monkeypatch.setattr(module, maker[name], of_other)
    with pytest.raises(ParityError, match=r"at least 99.99 %"):
        EXPORTS[name](tiny, path)
    after = {part: part.read_bytes() for part in tmp_path.rglob("*") if part.is_file()}
    assert after == before


def test_saved_model_of_any_size_and_batch(tmp_path):
    model = tiny_network((None, None))
    to_saved_model(model, tmp_path / "m")
    run = runtime.load(tmp_path / "m")
    assert run.size is run.batch is None
    for shape in ((2, 64, 96, 3), (1, 90, 70, 3)):
        pixels = np.full(shape, 99, np.uint8)
        expected = KerasRuntime(model).logits(pixels)
        np.testing.assert_allclose(run.logits(pixels), expected, atol=1e-3)


def test_a_folder_of_other_things_is_not_replaced(tiny, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="other files"):
        to_saved_model(tiny, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    to_saved_model(tiny, tmp_path / "m")
    to_saved_model(tiny, tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "thesis.tex"]


@pytest.mark.parametrize("name", ["m.tflite", "m.xml"])
def test_batches(tiny, tmp_path, name):
    EXPORTS[name](tiny, tmp_path / name, batch=2)
    assert runtime.load(tmp_path / name).batch == 2


@pytest.mark.parametrize(
    ("export", "name", "wrong", "message"),
    [
        (to_litert, "m.tflite", {"batch": 0}, "Received: 0"),
        (to_litert, "m.tflite", {"batch": None}, "Received: None"),
        (to_litert, "m.tflite", {"input": "int8"}, "Received: input='int8'"),
        (to_saved_model, "m", {"output": "colors"}, "output='colors'"),
        (to_saved_model, "m", {"frames": []}, "Received: none"),
        (to_saved_model, "m", {"frames": [np.zeros((4, 4))]}, "Received: float64 of shape"),
        (to_openvino, "m.onnx", {}, "must end in .xml"),
    ],
)
def test_arguments_out_of_range(tiny, tmp_path, export, name, wrong, message):
    with pytest.raises(ValueError, match=message):
        export(tiny, tmp_path / name, **wrong)
    assert not list(tmp_path.iterdir())


def test_openvino_files_hold_the_weights_once(trained, exported):
    """Winograd's kernels, two to four times as large, are computed by who loads the file."""
    path, _ = exported["m.xml"]
    assert path.with_suffix(".bin").stat().st_size < 1.1 * 4 * trained.count_params()


def test_operations_that_litert_lacks_are_named(tmp_path):
    image = keras.Input((*SIZE, 3))
    model = keras.Model(image, keras.ops.erfinv(image / 256))
    with pytest.raises(ValueError, match=r"does not support .*Erfinv"):
        to_litert(model, tmp_path / "m.tflite")


def test_free_size_has_to_be_said(tmp_path):
    with pytest.raises(ValueError, match="pass `input_size"):
        to_litert(tiny_network((None, None)), tmp_path / "m.tflite")
