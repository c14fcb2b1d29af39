"""Models without preprocessing, and files from elsewhere: whoever runs them normalizes pixels."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from PIL import Image
from small_network import SMALL
from tiny_network import (
    SIZE,
    TABLE,
    Network,
    images,
    onnx_file,
    openvino_file,
    saved_model,
    scores_of,
    tflite_file,
)

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.cli import main
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.export.verified import at_size
from keras_crosscbam.layers import ConvBNReLU, ResizeLike
from keras_crosscbam.models.inputs import expects_normalized, normalize, with_preprocessing
from keras_crosscbam.models.surgery import inference_model, with_input_size
from keras_crosscbam.runtime.description import METADATA
from keras_crosscbam.runtime.normalization import Normalization
from keras_crosscbam.training.validation import SegmentationValidation

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
NAMES = ("m.onnx", "m.xml", "m.tflite", "saved_model")
EXPORTS = (
    kc.export.to_onnx,
    kc.export.to_openvino,
    kc.export.to_litert,
    kc.export.to_saved_model,
)


def build(**options):
    return kc.CrossCBAM(num_classes=11, input_shape=(None, None, 3), **SMALL, **options)


@pytest.fixture(scope="module")
def pair():
    """A network with its normalization, and the same one without."""
    keras.utils.set_random_seed(3)
    inside = build(aux_head=True)
    kernel = inside.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(11).normal(size=kernel.shape))
    without = build(aux_head=True, include_preprocessing=False)
    without.set_weights(inside.get_weights())
    return inside, without


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)


def in_a_sequential_model(model):
    return keras.Sequential([keras.Input((None, None, 3)), layers.Identity(), model])


def after_a_resizing(model):
    image = keras.Input((None, None, 3))
    return keras.Model(image, model(layers.Resizing(48, 64)(image)))


def as_it_was_saved(model, folder):
    model.save(folder / "m.keras")
    return keras.saving.load_model(folder / "m.keras", compile=False)


@pytest.mark.parametrize(
    "layer",
    [
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.1),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.5),
        layers.Activation("linear"),
        layers.ZeroPadding2D(0),
        layers.Reshape((48, 64, 3)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_changes_nothing_in_inference_may_stand_before_such_a_model(pair, image, layer):
    inside, without = pair
    network = keras.Sequential([keras.Input((48, 64, 3)), layer, inference_model(without)])
    assert expects_normalized(network)
    np.testing.assert_allclose(
        runtime.load(network).logits(image[None]),
        runtime.load(inside).logits(image[None]),
        atol=1e-4,
    )


def test_a_normalization_of_the_users_own_is_left_alone(pair):
    without = inference_model(pair[1])
    for layer in (layers.Rescaling(1 / 255), layers.Activation("tanh")):
        assert not expects_normalized(keras.Sequential([keras.Input((48, 64, 3)), layer, without]))


def test_all_that_is_made_of_such_a_model_is_recognized(pair, image, tmp_path):
    inside, without = pair
    expected = runtime.load(inside).logits(image[None])
    main_part = inference_model(without)
    made = {
        "training": without,
        "inference": main_part,
        "another size": with_input_size(without, (48, 64)),
        "clone": keras.models.clone_model(without),
        "file": as_it_was_saved(without, tmp_path),
        "in a sequential model": in_a_sequential_model(main_part),
        "behind a resizing": after_a_resizing(main_part),
    }
    made["clone"].set_weights(without.get_weights())
    for name, model in made.items():
        assert expects_normalized(model), name
        normalizing = with_preprocessing(model)
        assert not expects_normalized(normalizing), name
        assert normalizing.weights[0] is model.weights[0], name
        found = runtime.load(model).logits(image[None])
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)
    # The model itself is left as it was.
    normalized = (image / 255 - MEAN) / STD
    found = without(normalized[None])["main"]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_models_that_normalize_on_their_own_are_left_alone(pair):
    inside, without = pair
    image = keras.Input((48, 64, 3))
    scaled = layers.Rescaling(1 / 255)(image)
    foreign = keras.Model(image, layers.Conv2D(3, 1)(image))
    around = keras.Model(image, inference_model(without)(scaled))
    on_top = build(input_tensor=scaled, include_preprocessing=False)
    for model in (inside, foreign, around, on_top, with_preprocessing(without)):
        assert not expects_normalized(model)
        assert with_preprocessing(model) is model


def test_segmentation_evaluation_and_views(pair, image, made_camvid, tmp_path):
    inside, without = pair
    np.testing.assert_array_equal(kc.segment(without, image), kc.segment(inside, image))
    path = tmp_path / "m.keras"
    without.save(path)
    np.testing.assert_array_equal(kc.segment(path, image), kc.segment(inside, image))
    views = [runtime.TTARuntime(runtime.load(m), (0.5, 1.0), flip=True)(image) for m in pair]
    np.testing.assert_array_equal(*views)
    data = load_camvid(made_camvid, "val")
    expected = kc.evaluate(inside, data)["confusion"]
    np.testing.assert_array_equal(kc.evaluate(without, data)["confusion"], expected)
    validated = [SegmentationValidation(model, data)()["val_mean_iou"] for model in pair]
    assert validated[0] == pytest.approx(validated[1], abs=1e-6)


def small_pair(size=SIZE):
    """A network of two layers, the first one called like that of the encoder; with and without."""
    image = keras.Input((*size, 3))
    first = ConvBNReLU(8, 3, strides=2, name="stem_conv1")
    last = layers.Conv2D(4, 3, padding="same", kernel_initializer="he_normal")
    return [
        keras.Model(image, ResizeLike()([last(first(x)), image])) for x in (normalize(image), image)
    ]


@pytest.mark.parametrize(("name", "export"), list(zip(NAMES, EXPORTS, strict=True)))
@pytest.mark.parametrize("pixels", ["float", "uint8"])
def test_exported_files_take_pixels_of_0_to_255(name, export, pixels, tmp_path):
    inside, without = small_pair()
    assert [expects_normalized(model) for model in (inside, without)] == [False, True]
    export(without, tmp_path / name, input=pixels)
    run = runtime.load(tmp_path / name)
    np.testing.assert_allclose(run.logits(images()), inside(images()), atol=1e-4)
    with pytest.raises(ValueError, match="normalizes them itself"):
        runtime.load(tmp_path / name, mean=0.5, std=0.5)


def test_int8_is_calibrated_on_normalized_pixels(tmp_path):
    inside, without = small_pair()
    frames = list(images(8))
    for name in ("onnxruntime.onnx", "litert.tflite"):
        kc.export.quantize(
            without, tmp_path / name, frames, runtime=name.split(".")[0], exclude=(), max_loss=100
        )
        found = runtime.load(tmp_path / name).labels(images(8))
        assert (found == runtime.load(inside).labels(images(8))).mean() > 0.9


def test_a_copy_for_export_is_the_same_function(pair, image):
    inside, without = pair
    exported = at_size(without, (48, 64))
    expected = runtime.load(inside).logits(image[None])
    np.testing.assert_allclose(exported(image[None].astype("float32")), expected, atol=1e-4)


def expected_scores(mean=MEAN, std=STD, count=1):
    return scores_of((images(count) / 255 - np.float32(mean)) / np.float32(std))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("mean", "std"),
    [(MEAN, STD), (0.5, 0.5), (0, 1), ((0.1, 0.2, 0.3), 1), ([0], [1 / 255])],
    ids=str,
)
def test_onnx_files_from_elsewhere(tmp_path, engine, layout, mean, std):
    path = onnx_file(tmp_path / "m.onnx", layout, described=False)
    run = runtime.load(path, engine=engine, mean=mean, std=std)
    assert run.prepare(images()).dtype == np.float32
    expected = expected_scores(mean, std, count=3)
    np.testing.assert_allclose(run.logits(images(3)), expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(run.labels(images(3)), expected.argmax(-1))


def test_other_formats_from_elsewhere(tmp_path):
    image = keras.Input((*SIZE, 3))
    model = keras.Model(image, layers.Conv2D(4, 1)(image))
    network = Network("logits")
    model.set_weights([network.kernel.numpy(), scores_of(np.zeros(3))])
    model.save(tmp_path / "m.keras")
    files = (
        openvino_file(tmp_path / "m.xml", output="logits"),
        tflite_file(tmp_path / "m.tflite", described=False),
        saved_model(tmp_path / "saved_model", described=False),
        tmp_path / "m.keras",
        model,
    )
    for file in files:
        run = runtime.load(file, mean=MEAN, std=STD)
        np.testing.assert_allclose(run.logits(images()), expected_scores(), rtol=1e-4, atol=1e-2)


def test_quantized_inputs_from_elsewhere(tmp_path):
    """A pixel becomes the whole number that stands for its normalized value in its channel."""
    path = tflite_file(tmp_path / "m.tflite", quantized="int8", described=False)
    run = runtime.load(path, mean=MEAN, std=STD / 50)
    scale, zero_point = run._input["quantization"]
    values = (images() / 255 - MEAN) / (STD / 50)
    expected = np.clip(np.rint(values / scale) + zero_point, -128, 127)
    assert run.prepare(images()).dtype == np.int8
    np.testing.assert_allclose(run.prepare(images()), expected, atol=1)
    assert len(np.unique(expected)) > 20


def test_what_is_given_overrules_what_a_model_without_preprocessing_is_known_for(pair, image):
    _, without = pair
    run = runtime.load(without, mean=0, std=1 / 255)
    expected = without(image[None].astype("float32"))["main"]
    np.testing.assert_allclose(run.logits(image[None]), expected, rtol=1e-3, atol=1e-2)


def test_where_a_normalization_does_not_belong(pair, tmp_path):
    inside, _ = pair
    given = {"mean": 0.5, "std": 0.5}
    with pytest.raises(ValueError, match=r"takes pixels of 0\.\.255 and normalizes them"):
        runtime.load(inside, **given)
    with pytest.raises(ValueError, match="uint8 pixels, which cannot be normalized"):
        runtime.load(onnx_file(tmp_path / "m.onnx", pixels="uint8", described=False), **given)
    with pytest.raises(ValueError, match=r"Pass `mean` and `std` where .* is loaded from its file"):
        runtime.load(runtime.load(inside), **given)
    with pytest.raises(ValueError, match=r"a Keras model take pixels of 0\.\.255"):
        kc.export.quantize(inside, tmp_path / "m.onnx", list(images()), **given)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (0.5, None),
        (None, 0.5),
        ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
        (0.5, 0),
        (0.5, -0.5),
        ((0.5, 0.5), 0.5),
        (float("nan"), 0.5),
        ("ImageNet", 0.5),
    ],
)
def test_other_numbers_are_refused(tmp_path, mean, std):
    path = onnx_file(tmp_path / "m.onnx", described=False)
    with pytest.raises(ValueError, match=r"scale of 0\.\.1.*Received: (mean|std)="):
        runtime.load(path, mean=mean, std=std)


def test_int8_of_a_file_from_elsewhere_is_calibrated_on_what_it_takes(tmp_path):
    path = onnx_file(tmp_path / "m.onnx", described=False)
    given = {"mean": MEAN, "std": STD}
    kc.export.quantize(
        path, tmp_path / "int8.onnx", list(images(8)), exclude=(), max_loss=100, **given
    )
    found = runtime.load(tmp_path / "int8.onnx", **given).logits(images(8))
    expected = expected_scores(count=8)
    assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)


def test_files_of_version_0_1_that_may_expect_normalized_pixels_are_refused(tmp_path):
    path = onnx_file(tmp_path / "m.onnx")
    model = onnx.load(path)
    entry = next(e for e in model.metadata_props if e.key == METADATA)
    entry.value = entry.value.replace('"precision": "fp32"', '"normalization": "expected"')
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"m\.onnx was written by version 0\.1 and may expect"):
        runtime.load(path)
    found = runtime.load(path, mean=MEAN, std=STD).logits(images())
    np.testing.assert_allclose(found, expected_scores(), rtol=1e-4, atol=1e-2)
    found = runtime.load(path, mean=0, std=1 / 255).logits(images())
    np.testing.assert_allclose(found, scores_of(images()), rtol=1e-4, atol=1e-1)


def test_on_the_command_line(tmp_path, capsys):
    path = onnx_file(tmp_path / "m.onnx", described=False, classes=TABLE)
    Image.fromarray(images()[0]).save(tmp_path / "image.png")
    command = ["segment", str(tmp_path / "image.png"), "--model", str(path)]
    command += ["--out", str(tmp_path / "out"), "--mean", *map(str, MEAN), "--std"]
    assert main([*command, *map(str, STD)]) == 0
    found = np.asarray(Image.open(tmp_path / "out" / "image_labels.png"))
    np.testing.assert_array_equal(found, expected_scores()[0].argmax(-1))
    assert main([*command, "1/255"]) == 0
    found = np.asarray(Image.open(tmp_path / "out" / "image_labels.png"))
    expected = scores_of(images()[0] - 255 * MEAN)
    np.testing.assert_array_equal(found, expected.argmax(-1))
    assert main([*command, "58"]) != 0
    assert "Divide numbers on a scale of 0..255 by 255" in capsys.readouterr().err


def test_the_formula_is_that_of_pytorch(rng):
    import torch

    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    scaled = torch.from_numpy(pixels).to(torch.float32) / 255
    expected = (scaled - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    found = Normalization(tuple(MEAN.tolist()), tuple(STD.tolist()))(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
