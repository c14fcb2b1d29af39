"""Images of one, two, four and more channels: files, networks, weights, runtimes, exports."""

import re

import keras
import numpy as np
import pytest
import yaml
from keras import ops
from PIL import Image
from tiny_network import TABLE, onnx_file

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.datasets import load_folder
from keras_crosscbam.datasets.augment import (
    PhotometricDistortion,
    RandomErasing,
    RandomRotation,
)
from keras_crosscbam.datasets.augment.camera import RandomJpeg
from keras_crosscbam.datasets.augment.color import RandomTemperature
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.dataset_yaml import read_class_file
from keras_crosscbam.datasets.pipeline import evaluation_batches, training_batches
from keras_crosscbam.evaluation import evaluate
from keras_crosscbam.export.verified import as_image
from keras_crosscbam.image_channels import array_to_channels, read_channels, street
from keras_crosscbam.image_files import image_files
from keras_crosscbam.models.inputs import MEAN, STD, expects_normalized
from keras_crosscbam.models.weights import find_weights, variables_of
from keras_crosscbam.runtime.resize import bilinear
from keras_crosscbam.segmentation import segment_files
from keras_crosscbam.tf_data import tf

SIZE = (96, 128)
LUMA = (0.299, 0.587, 0.114)


def camvid(channels, **kwargs):
    return kc.CrossCBAM_M(weights="camvid", input_shape=(*SIZE, channels), **kwargs)


@pytest.fixture(scope="module")
def rgb():
    return camvid(3)


def logits(model, image):
    return ops.convert_to_numpy(model(np.float32(image)[None], training=False))[0]


def small(channels, size=(32, 48), **kwargs):
    """A network of random weights whose scores are far enough apart."""
    keras.utils.set_random_seed(3)
    model = kc.CrossCBAM(
        "stdc1", input_shape=(*size, channels), num_classes=3, aspp_filters=32, **kwargs
    )
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(3).normal(size=kernel.shape))
    return model


# Shipped weights


@pytest.mark.parametrize("include_preprocessing", [True, False])
def test_gray_gives_the_scores_of_three_equal_channels(rgb, include_preprocessing):
    """Logits of -20..20, also where the pixels are normalized outside the model."""
    model = camvid(1, include_preprocessing=include_preprocessing)
    assert expects_normalized(model) is not include_preprocessing
    gray = bilinear(street(1), SIZE)
    run = kc.runtime.load(model)
    assert run.channels == 1
    expected = logits(rgb, gray.repeat(3, axis=2))
    np.testing.assert_allclose(run.logits(gray[None])[0], expected, atol=5e-4)
    if not include_preprocessing:
        normalized = (gray / 255 - np.mean(MEAN)) / np.mean(STD)
        np.testing.assert_allclose(logits(model, normalized), expected, atol=5e-4)


def test_channels_that_repeat_the_colors_give_the_scores_of_the_colors(rgb):
    model = camvid(6)
    image = bilinear(street(3), SIZE)
    repeated = np.concatenate([image, image], axis=2)
    np.testing.assert_allclose(logits(model, repeated), logits(rgb, image), atol=5e-4)


@pytest.mark.parametrize("channels", [2, 4])
def test_the_first_convolution_is_repeated_and_rescaled(channels, caplog):
    file = find_weights("camvid", "cross_cbam_stdc1").variables
    found = variables_of(camvid(channels))
    assert (
        f"the first convolution, for 3 channels, is repeated and rescaled for {channels} in "
        "cross_cbam_m"
    ) in caplog.text
    kernel = np.float32(file["stem_conv1/conv"][0])
    expected = np.stack([kernel[:, :, c % 3] * 3 / channels for c in range(channels)], axis=2)
    np.testing.assert_allclose(found["stem_conv1/conv"][0], expected, rtol=1e-6)
    for path in found.keys() - {"stem_conv1/conv"}:
        for variable, array in zip(found[path], file[path], strict=True):
            np.testing.assert_array_equal(variable, np.float32(array))


@pytest.mark.parametrize("channels", [1, 3])
def test_gray_and_rgb_have_the_very_weights_of_the_file(rgb, channels, caplog):
    file = find_weights("camvid", "cross_cbam_stdc1").variables
    for path, variables in variables_of(rgb if channels == 3 else camvid(1)).items():
        for variable, array in zip(variables, file[path], strict=True):
            np.testing.assert_array_equal(variable, np.float32(array))
    assert "rescaled" not in caplog.text


def test_weights_for_four_channels_name_both_counts(tmp_path):
    file = tmp_path / "four.weights.h5"
    small(4).save_weights(file)
    message = (
        r"four\.weights\.h5 is for images with 4 channels, but the model '.*' is for 3\. No weights"
    )
    with pytest.raises(ValueError, match=message):
        small(3, weights=file)
    again = small(4, weights=file)
    assert again.get_layer("stem_conv1").conv.kernel.shape[2] == 4


def test_a_narrow_network_starts_from_weights_of_other_channels():
    from keras_crosscbam.models.narrow import narrowed

    for channels in (1, 4):
        model = kc.STDC1(input_shape=(*SIZE, channels), num_classes=20, alpha=0.5)
        narrowed(find_weights("imagenet20", "stdc1"), model).load_into(model)


# Files


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (10, 14, 4), np.uint8)


def save(array, path, mode=None):
    Image.fromarray(array, mode).save(path)
    return path


def test_one_channel_is_gray_whatever_the_file_holds(photo, tmp_path):
    gray = photo[..., 0]
    for array in (gray, gray[..., None].repeat(3, axis=2)):
        read = read_channels(save(array, tmp_path / "gray.png"), 1)
        np.testing.assert_array_equal(read[..., 0], gray)
    color = read_channels(save(photo[..., :3], tmp_path / "color.png"), 1)
    expected = (photo[..., :3] * np.array(LUMA)).sum(axis=2)
    assert color.shape == (10, 14, 1)
    assert np.abs(color[..., 0] - expected).max() <= 1
    deep = save(np.uint16(gray) * 257, tmp_path / "deep.png")
    np.testing.assert_array_equal(read_channels(deep, 1)[..., 0], gray)


def test_bands_pages_and_arrays_are_channels(photo, tmp_path):
    np.testing.assert_array_equal(read_channels(save(photo, tmp_path / "rgba.png"), 4), photo)
    np.testing.assert_array_equal(
        read_channels(save(photo[..., :2], tmp_path / "la.png"), 2), photo[..., :2]
    )
    pages = [Image.fromarray(photo[..., i]) for i in (0, 1, 2, 3, 0)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    stack = read_channels(tmp_path / "stack.tif", 5)
    np.testing.assert_array_equal(stack, photo[..., [0, 1, 2, 3, 0]])
    np.save(tmp_path / "five.npy", stack)
    np.testing.assert_array_equal(read_channels(tmp_path / "five.npy", 5), stack)
    np.save(tmp_path / "flat.npy", photo[..., 0])
    assert read_channels(tmp_path / "flat.npy", 1).shape == (10, 14, 1)


def test_four_channels_are_turned_upright(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "turned.png", exif=exif)
    upright = read_channels(tmp_path / "turned.png", 4)
    np.testing.assert_array_equal(upright, np.rot90(photo, -1))


def test_files_of_other_channels_name_both_counts(photo, tmp_path):
    save(photo[..., :3], tmp_path / "rgb.png")
    with pytest.raises(ValueError, match=r"rgb\.png: has 3 channels \(1 x RGB\)\. Expected 4"):
        read_channels(tmp_path / "rgb.png", 4)
    np.save(tmp_path / "two.npy", photo[..., :2])
    with pytest.raises(ValueError, match=r"two\.npy: Expected.*width, 4\).*shape \(10, 14, 2\)"):
        read_channels(tmp_path / "two.npy", 4)
    np.save(tmp_path / "float.npy", np.float32(photo))
    with pytest.raises(ValueError, match=r"float\.npy: Expected .*uint8.*Received: float32"):
        read_channels(tmp_path / "float.npy", 4)
    Image.fromarray(photo[..., 0]).convert("P").save(tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"p\.png: has pixels of mode P\. Expected 2 channels"):
        read_channels(tmp_path / "p.png", 2)
    pages = [Image.new("L", size) for size in ((3, 4), (4, 3))]
    pages[0].save(tmp_path / "sizes.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"sizes\.tif: has pages of different sizes"):
        read_channels(tmp_path / "sizes.tif", 2)
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    for name in ("object.npy", "broken.npy"):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: not a readable array"):
            read_channels(tmp_path / name, 4)
    with pytest.raises(ValueError, match=r"none\.npy: no such file"):
        read_channels(tmp_path / "none.npy", 4)


def test_arrays_of_the_user(photo):
    np.testing.assert_array_equal(array_to_channels(photo, 4), photo)
    np.testing.assert_array_equal(array_to_channels(photo, 3), photo[..., :3])
    np.testing.assert_array_equal(
        array_to_channels(photo[..., 0], 3), photo[..., :1].repeat(3, axis=2)
    )
    assert array_to_channels(photo, 1).shape == (10, 14, 1)
    with pytest.raises(ValueError, match=r"\(height, width, 4\)\. Received: uint8 of shape \(10, "):
        array_to_channels(photo[..., :3], 4)


def test_four_channels_are_resized_one_by_one(photo):
    """Of an opaque image of four channels Pillow would multiply three by the fourth."""
    resized = bilinear(photo, (5, 7))
    for channel in range(4):
        expected = Image.fromarray(photo[..., channel]).resize((7, 5), Image.BILINEAR)
        np.testing.assert_array_equal(resized[..., channel], expected)


def test_arrays_are_images_where_asked_for(tmp_path, photo):
    np.save(tmp_path / "a.npy", photo)
    save(photo, tmp_path / "b.png")
    assert [path.name for path in image_files(tmp_path)] == ["b.png"]
    assert [path.name for path in image_files(tmp_path, arrays=True)] == ["a.npy", "b.png"]


# Data sets


def make_folder(root, channels, frames=2, size=(24, 40), fields=None):
    """Data of one's own: .npy files, or PNG for one channel; the labels follow the first one."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for i in range(frames):
            ids = rng.integers(0, 2, (size[0] // 8, size[1] // 8), np.uint8)
            ids = ids.repeat(8, axis=0).repeat(8, axis=1)
            image = rng.integers(0, 100, (*size, channels), np.uint8)
            image[..., 0] += 100 * ids
            if channels == 1:
                save(image[..., 0], root / "images" / split / f"{i}.png")
            else:
                np.save(root / "images" / split / f"{i}.npy", image)
            save(ids, root / "masks" / split / f"{i}.png")
    content = {"name": "made", "channels": channels, "classes": [{"name": "a"}, {"name": "b"}]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content | (fields or {})))
    return root


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_a_folder_of_ones_own(tmp_path, channels):
    data = load_folder(make_folder(tmp_path, channels), "train")
    assert (data.channels, len(data)) == (channels, 2)
    assert data[0][0].shape == (24, 40, channels)
    batches = training_batches(data, (64, 64), 2, scale_range=(0.5, 0.5))
    images, labels = next(iter(batches))
    assert images.shape == (2, 64, 64, channels)
    # What lies outside of the frame is of the mean color.
    mean = 255 * (np.mean(MEAN) if channels == 1 else np.array(MEAN)[np.arange(channels) % 3])
    plain = training_batches(data, (64, 64), 2, scale_range=(0.5, 0.5), augmentations=())
    images, labels = (array.numpy() for array in next(iter(plain)))
    outside = images[labels == 255]
    np.testing.assert_allclose(outside, np.broadcast_to(mean, outside.shape), rtol=1e-5)
    whole, _ = next(iter(evaluation_batches(data)))
    np.testing.assert_array_equal(whole[0], data[0][0])


def test_the_doctor_reads_the_channels(tmp_path):
    from keras_crosscbam.doctor import inspect_dataset, report

    findings = inspect_dataset(make_folder(tmp_path, 5, frames=3))
    assert "40x24" in report(findings)
    assert "not a readable" not in report(findings)
    np.save(tmp_path / "images" / "val" / "0.npy", np.zeros((24, 40, 4), np.uint8))
    assert "0.npy: Expected" in report(inspect_dataset(tmp_path))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 0}, "channels must be a positive whole number. Received: 0"),
        ({"channels": True}, "channels must be a positive whole number. Received: True"),
        ({"channels": 4, "range": [0, 9]}, "range requires 1 or 3 channels. Received: channels 4"),
    ],
)
def test_mistakes_in_the_yaml(tmp_path, fields, message):
    make_folder(tmp_path, 4, frames=1, fields=fields)
    with pytest.raises(ValueError, match=message):
        read_class_file(tmp_path / "dataset.yaml")


def test_the_contents_of_a_data_set_depend_on_the_channels(tmp_path):
    root = make_folder(tmp_path, 1)
    gray = load_folder(root, "train")
    color = SegmentationDataset("made", gray.pairs, gray.classes, gray.encoding)
    assert color[0][0].shape == (24, 40, 3)
    digests = [data.read_all()[1] for data in (gray, color)]
    assert digests[0]["labels"] == digests[1]["labels"]
    assert digests[0]["images"] != digests[1]["images"]


# Augmentation


@pytest.mark.parametrize("channels", [1, 4])
def test_augmentations_keep_the_channels(rng, channels):
    sample = {
        "images": tf.constant(rng.uniform(0, 255, (16, 20, channels)), tf.float32),
        "segmentation_masks": tf.zeros((16, 20), tf.uint8),
    }
    for augmentation in (PhotometricDistortion(), RandomRotation(30), RandomErasing()):
        for seed in range(6):
            images = augmentation(sample, (seed, seed))["images"]
            assert images.shape == sample["images"].shape
            assert np.isfinite(images).all()


def test_what_is_about_colors_refuses_other_channels(rng):
    sample = {"images": tf.zeros((16, 20, 4)), "segmentation_masks": tf.zeros((16, 20), tf.uint8)}
    for augmentation in (RandomTemperature(0.4), RandomJpeg((50, 100))):
        message = (
            f"{type(augmentation).__name__} requires RGB images with 3.*images with 4 channels"
        )
        with pytest.raises(ValueError, match=message):
            augmentation(sample, (0, 0))


# Running


def dataset(folder, channels, size=(32, 48)):
    return load_folder(make_folder(folder, channels, size=size), "val")


def named(channels, classes=2):
    keras.utils.set_random_seed(3)
    return kc.CrossCBAM(
        input_shape=(32, 48, channels), classes=["a", "b"][:classes], aspp_filters=32
    )


def test_a_gray_network_takes_color_and_the_other_way_round(tmp_path, photo):
    """Both give the labels of the image converted by hand."""
    gray, color = kc.runtime.load(small(1)), kc.runtime.load(small(3))
    one = array_to_channels(photo, 1)
    expected = kc.segment(gray, one)
    path = save(photo[..., :3], tmp_path / "color.png")
    for given in (path, Image.open(path), photo, photo[..., :3], one, one[..., 0]):
        np.testing.assert_array_equal(kc.segment(gray, given), expected)
    np.testing.assert_array_equal(kc.segment(color, one), kc.segment(color, one.repeat(3, axis=2)))
    data = dataset(tmp_path / "data", 1)
    three = SegmentationDataset("made", data.pairs, data.classes, data.encoding)
    results = [evaluate(named(c), d) for c in (1, 3) for d in (data, three)]
    for result in results[1:]:
        np.testing.assert_array_equal(result["confusion"], results[0]["confusion"])


def test_other_numbers_of_channels_name_both_counts(tmp_path, photo):
    four = kc.runtime.load(small(4))
    with pytest.raises(ValueError, match=r"\(batch, 32, 48, 4\)\. Received: shape \(1, 32, 48, 3"):
        four.logits(np.zeros((1, 32, 48, 3), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 array \(height, width, 4\)\. Received: .*14, 3\)"):
        kc.segment(four, photo[..., :3])
    message = r"takes images of 3 channels, but those of the data set 'made' have 4"
    with pytest.raises(ValueError, match=message):
        evaluate(named(3), dataset(tmp_path, 4))


def test_a_folder_of_arrays_is_segmented(tmp_path, photo):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", photo)
    save(photo[..., :3], tmp_path / "in" / "b.png")
    done, failed = segment_files(small(4), tmp_path / "in", tmp_path / "out")
    assert Image.open(done.overlay).mode == "RGB"
    assert "b.png: has 3 channels (1 x RGB). Expected 4" in failed.error


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_file_from_elsewhere_with_four_channels(tmp_path, rng, layout):
    kernel = rng.normal(size=(4, 4)).astype(np.float32)
    file = onnx_file(tmp_path / "m.onnx", layout, described=False, kernel=kernel, size=(32, 48))
    run = kc.runtime.load(file, TABLE)
    assert (run.channels, run.description.layout) == (4, layout)
    image = rng.integers(0, 256, (32, 48, 4), np.uint8)
    expected = image.astype(np.float32) @ kernel - 128 * kernel.sum(axis=0)
    np.testing.assert_allclose(run.logits(image[None])[0], expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(kc.segment(run, image), expected.argmax(axis=-1))
    mean = (0.1, 0.2, 0.3, 0.4)
    normalized = (image / 255 - np.array(mean)) / 0.5
    expected = normalized @ kernel - 128 * kernel.sum(axis=0)
    run = kc.runtime.load(file, TABLE, mean=mean, std=0.5)
    np.testing.assert_allclose(run.logits(image[None])[0], expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match=r"each be one number or 4, .*Received: mean="):
        kc.runtime.load(file, TABLE, mean=(0.1, 0.2, 0.3), std=0.5)


def test_the_mirror_image_of_four_channels(photo):
    run = kc.runtime.TTARuntime(kc.runtime.load(small(4, size=(None, None))), (0.5, 1.0), flip=True)
    assert run.channels == 4
    assert run(photo).shape == (10, 14)


@pytest.mark.parametrize(
    ("channels", "name", "write"),
    [
        pytest.param(1, "m.onnx", kc.export.to_onnx, marks=pytest.mark.slow),
        (4, "m.onnx", kc.export.to_onnx),
        (4, "m.tflite", kc.export.to_litert),
        pytest.param(1, "m.tflite", kc.export.to_litert, marks=pytest.mark.slow),
        pytest.param(1, "m.xml", kc.export.to_openvino, marks=pytest.mark.slow),
        pytest.param(4, "m.xml", kc.export.to_openvino, marks=pytest.mark.slow),
        pytest.param(4, "m", kc.export.to_saved_model, marks=pytest.mark.slow),
    ],
)
def test_every_format_takes_the_channels(tmp_path, channels, name, write):
    """Each export compares its file with Keras on the street photograph."""
    model, image = small(channels), bilinear(street(channels), (32, 48))
    expected = kc.runtime.load(model).logits(image[None])
    assert write(model, tmp_path / name).argmax_agreement == 1
    run = kc.runtime.load(tmp_path / name)
    assert run.channels == channels
    np.testing.assert_allclose(run.logits(image[None]), expected, atol=1e-3)


def test_frames_of_other_channels_name_both_counts(photo):
    with pytest.raises(ValueError, match=r"width, 4\), .*shape \(10, 14, 2\)"):
        as_image(photo[..., :2], channels=4)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
def test_training_and_quantization(tmp_path, channels):
    from dataclasses import replace

    from training_program import TINY

    from keras_crosscbam.training import Phase
    from keras_crosscbam.training.segmentation import train

    root = make_folder(tmp_path / "data", channels, frames=4, size=(64, 64))
    splits = [load_folder(root, split) for split in ("train", "val")]
    whole = {"architecture": {}, "phases": (Phase(1, (64, 64)),)}
    recipe = replace(TINY, **whole, backbone_weights="imagenet20")
    best = train(*splits, recipe, tmp_path / "run", verbose=0)
    assert (tmp_path / "run" / "report.html").is_file()
    model = kc.CrossCBAM_M(weights=best, input_shape=(64, 64, channels))
    assert model.classes.names == ("a", "b")
    kc.export.quantize(model, tmp_path / "int8.onnx", splits[0], force=True)
    assert kc.runtime.load(tmp_path / "int8.onnx").channels == channels


def test_splits_of_different_channels_are_refused(tmp_path):
    from training_program import TINY

    from keras_crosscbam.training.segmentation import train

    gray = load_folder(make_folder(tmp_path / "data", 1), "train")
    color = SegmentationDataset("made", gray.pairs, gray.classes, gray.encoding)
    with pytest.raises(ValueError, match=r"same number of image channels\. Received: 1 and 3"):
        train(gray, color, TINY, tmp_path / "run")


def test_the_command_builds_for_the_channels_of_the_weights(tmp_path, photo, capsys):
    file = tmp_path / "four.weights.h5"
    kc.CrossCBAM_M((32, 48, 4), classes=["a", "b"]).save_weights(file)
    np.save(tmp_path / "photo.npy", photo)
    words = ["segment", tmp_path / "photo.npy", "--weights", file, "--out", tmp_path / "out"]
    assert cli.main(list(map(str, words))) == 0
    assert "1 of 1 images" in capsys.readouterr().out
