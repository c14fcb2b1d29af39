"""Layers of Keras and KerasCV augment images and labels alike, or are refused."""

import hashlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import layers

from keras_crosscbam.datasets import IGNORE
from keras_crosscbam.datasets.augment import PhotometricDistortion, RandomFlip
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation, as_augmentation

# A color for every label. The ignore label has that of the layers' padding.
PALETTE = np.random.default_rng(0).integers(1, 256, (256, 3)).astype(np.float32)
PALETTE[IGNORE] = 0


@pytest.fixture
def labels(rng):
    blocks = rng.choice([0, 1, 2, 10, 254, IGNORE], (9, 12))
    return blocks.repeat(5, axis=0).repeat(5, axis=1).astype(np.uint8)


def run(augmentation, images, labels, seeds, threads=1):
    """Images and labels for every seed, augmented in a `tf.data` pipeline as in training."""

    def augmented(seed):
        sample = {"images": tf.constant(images), "segmentation_masks": tf.constant(labels)}
        sample = augmentation(sample, tf.stack([tf.constant(7, tf.int64), seed]))
        return sample["images"], sample["segmentation_masks"]

    stream = tf.data.Dataset.range(seeds).map(augmented, num_parallel_calls=threads)
    return list(stream.as_numpy_iterator())


def padded(layer, **kwargs):
    """A layer that takes the nearest pixel of image and labels, and pads with black."""
    return layer(**kwargs, fill_mode="constant", interpolation="nearest")


GEOMETRIC = {
    "flip": lambda: layers.RandomFlip(),
    "rotation": lambda: padded(layers.RandomRotation, factor=0.1),
    "translation": lambda: padded(layers.RandomTranslation, height_factor=0.4, width_factor=0.4),
    "zoom": lambda: padded(layers.RandomZoom, height_factor=(-0.5, 0.5)),
    "shear": lambda: padded(layers.RandomShear, x_factor=0.4, y_factor=0.4),
    "perspective": lambda: layers.RandomPerspective(1.0, interpolation="nearest"),
    "crop": lambda: layers.RandomCrop(20, 30),
    "resizing": lambda: layers.Resizing(30, 40, "nearest", pad_to_aspect_ratio=True),
    "pipeline": lambda: layers.Pipeline(
        [layers.RandomFlip(), padded(layers.RandomRotation, factor=0.1), layers.RandomCrop(20, 30)]
    ),
}


@pytest.mark.parametrize("name", GEOMETRIC)
def test_image_and_labels_move_together(name, labels):
    drawn = run(KerasAugmentation(GEOMETRIC[name]()), PALETTE[labels], labels, seeds=6)
    for images, masks in drawn:
        assert (images.dtype, masks.dtype) == (np.float32, np.uint8)
        np.testing.assert_allclose(images, PALETTE[masks], atol=1e-3)
        assert set(np.unique(masks)) <= {*np.unique(labels), IGNORE}
    assert len({masks.tobytes() for _, masks in drawn}) > (name != "resizing")


COLOR = {
    "jitter": lambda: layers.RandomColorJitter(
        brightness_factor=0.3, contrast_factor=0.3, saturation_factor=0.3, hue_factor=0.1
    ),
    "grayscale": lambda: layers.RandomGrayscale(0.5),
    "invert": lambda: layers.RandomInvert(0.5),
    "blur": lambda: layers.RandomGaussianBlur(0.5),
}


@pytest.mark.parametrize("name", COLOR)
def test_colors_change_and_labels_stay(name, labels):
    source = PALETTE[labels].astype(np.uint8)
    drawn = run(KerasAugmentation(COLOR[name]()), source, labels, seeds=12)
    for images, masks in drawn:
        assert (images.shape, images.dtype) == (source.shape, np.float32)
        assert 0 <= images.min() <= images.max() <= 255
        np.testing.assert_array_equal(masks, labels)
    assert len({images.tobytes() for images, _ in drawn}) > 1


def test_grayscale_is_gray_on_about_half_of_the_images(labels):
    drawn = run(KerasAugmentation(layers.RandomGrayscale(0.5)), PALETTE[labels], labels, seeds=60)
    gray = [np.ptp(images, axis=-1).max() < 1e-3 for images, _ in drawn]
    assert 15 < sum(gray) < 45


def test_padding_is_ignored_and_black(labels):
    right = layers.RandomTranslation(0.0, (0.5, 0.5), fill_mode="constant", interpolation="nearest")
    ((images, masks),) = run(KerasAugmentation(right), PALETTE[labels] + 1, labels, seeds=1)
    np.testing.assert_array_equal(masks[:, :30], IGNORE)
    np.testing.assert_array_equal(images[:, :30], 0)
    np.testing.assert_array_equal(masks[:, 30:], labels[:, :30])


def test_rand_augment_takes_labels_along(labels):
    drawn = run(KerasAugmentation(layers.RandAugment()), PALETTE[labels], labels, seeds=6)
    assert len({images.tobytes() for images, _ in drawn}) > 3
    assert len({masks.tobytes() for _, masks in drawn}) > 1
    assert {label for _, masks in drawn for label in np.unique(masks)} == {*np.unique(labels)}


flip = KerasAugmentation(layers.RandomFlip("horizontal"))


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, (4, 5)), st.integers(0, 2**31 - 1))
def test_every_label_survives_a_flip(labels, seed):
    sample = {"images": tf.constant(PALETTE[labels]), "segmentation_masks": tf.constant(labels)}
    flipped = flip(sample, tf.constant([seed, 0], tf.int64))
    masks = flipped["segmentation_masks"].numpy()
    np.testing.assert_array_equal(flipped["images"], PALETTE[masks])
    assert masks.tolist() in (labels.tolist(), labels[:, ::-1].tolist())


def assert_same(drawn, others):
    for draw, other in zip(drawn, others, strict=True):
        np.testing.assert_array_equal(draw[0], other[0])
        np.testing.assert_array_equal(draw[1], other[1])


@pytest.mark.parametrize("make", [GEOMETRIC["pipeline"], COLOR["jitter"]])
def test_layers_of_keras_depend_on_the_seed_of_the_sample_alone(make, labels):
    augmentation = KerasAugmentation(make())
    drawn = run(augmentation, PALETTE[labels], labels, seeds=8)
    assert len({images.tobytes() for images, _ in drawn}) > 4
    # Not on threads, on what was drawn before, or on the layer's own seed.
    assert_same(run(augmentation, PALETTE[labels], labels, seeds=8, threads=4), drawn)
    keras.utils.set_random_seed(123)
    assert_same(run(KerasAugmentation(make()), PALETTE[labels], labels, seeds=8), drawn)


NEAREST = "creates new labels: it must interpolate them by nearest neighbor"
REFUSED = {
    "fill of white": (padded(layers.RandomRotation, factor=0.1, fill_value=255), NEAREST),
    "fill of gray": (padded(layers.RandomZoom, height_factor=0.4, fill_value=114), NEAREST),
    "interpolation": (layers.RandomCrop(1100, 60), NEAREST),
    "value range": (layers.RandomContrast(0.5, value_range=(0, 1)), r"value_range=\(0, 255\)"),
    "other distortion": (layers.Pipeline([layers.RandomElasticTransform()]), "leave it out"),
    "batches only": (layers.MixUp(), "MixUp cannot augment images together with labels"),
    "no augmentation": (layers.Dense(3), "Dense cannot augment images together with labels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_spoils_labels_or_pixels_is_refused(name):
    layer, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        KerasAugmentation(layer)


def test_a_crop_larger_than_its_image_fails_instead_of_interpolating(labels):
    augmentation = KerasAugmentation(layers.RandomCrop(100, 90))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"RandomCrop {NEAREST}"):
        run(augmentation, PALETTE[labels], labels, seeds=1)


def test_a_layer_that_needs_the_size_says_so():
    augmentation = KerasAugmentation(layers.RandomCrop(10, 10))
    sample = {
        "images": tf.TensorSpec((None, None, 3), tf.uint8),
        "segmentation_masks": tf.TensorSpec((None, None), tf.uint8),
    }
    with pytest.raises(ValueError, match="known size: use it after RandomScaleCrop"):
        tf.function(augmentation).get_concrete_function(sample, tf.TensorSpec([2], tf.int64))


def test_layers_are_wrapped_and_augmentations_kept(labels):
    own = RandomFlip()
    assert as_augmentation(own) is own
    assert as_augmentation(lambda sample, seed: sample)
    wrapped = as_augmentation(layers.RandomFlip("horizontal"))
    assert_same(
        run(wrapped, PALETTE[labels], labels, seeds=3), run(flip, PALETTE[labels], labels, seeds=3)
    )


@pytest.mark.parametrize("wrong", [layers.RandomFlip, RandomFlip, "flip", lambda image: image])
def test_what_is_no_augmentation_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be a callable of a sample and a seed.*Received: "):
        as_augmentation(wrong)


# KerasCV


@pytest.fixture(scope="module")
def cv():
    return pytest.importorskip("keras_cv", reason="keras-cv is not installed").layers


KERAS_CV = {
    "RandomFlip": {"mode": "horizontal"},
    "RandomCropAndResize": {
        "target_size": (30, 40),
        "crop_area_factor": (0.5, 1.0),
        "aspect_ratio_factor": (0.8, 1.2),
        "interpolation": "nearest",
    },
    "RandomRotation": {
        "factor": 0.1,
        "segmentation_classes": 256,
        "fill_mode": "constant",
        "interpolation": "nearest",
    },
}


@pytest.mark.parametrize("name", KERAS_CV)
def test_keras_cv_moves_image_and_labels_together(cv, name, labels):
    augmentation = KerasAugmentation(getattr(cv, name)(**KERAS_CV[name]))
    drawn = run(augmentation, PALETTE[labels], labels, seeds=20)
    for images, masks in drawn:
        assert masks.dtype == np.uint8
        np.testing.assert_allclose(images, PALETTE[masks], atol=1e-2)
        assert set(np.unique(masks)) <= {*np.unique(labels), IGNORE}
    assert len({masks.tobytes() for _, masks in drawn}) > 1


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("JitteredResize", {"target_size": (40, 40), "scale_factor": (0.4, 0.7)}),
        ("Resizing", {"height": 40, "width": 40, "pad_to_aspect_ratio": True}),
        ("RandomZoom", {"height_factor": (0.3, 0.5), "fill_mode": "constant"}),
    ],
)
def test_padding_of_keras_cv_is_ignored_and_black(cv, name, kwargs):
    augmentation = KerasAugmentation(getattr(cv, name)(**kwargs))
    white, zeros = np.full((30, 60, 3), 255, np.uint8), np.zeros((30, 60), np.uint8)
    for images, masks in run(augmentation, white, zeros, seeds=3):
        assert set(np.unique(masks)) == {0, IGNORE}
        # The edge of a zoomed image is interpolated, or one pixel beside that of the labels.
        differ = (masks == 0) != (images[..., 0] > 127)
        assert differ.sum() <= 2 * 60


def test_keras_cv_changes_pixels_and_leaves_labels(cv, labels):
    jitter = cv.Augmenter([cv.RandomColorJitter((0, 255), 0.3, 0.3, 0.3, 0.1), cv.GridMask()])
    drawn = run(KerasAugmentation(jitter), PALETTE[labels], labels, seeds=4)
    for images, masks in drawn:
        np.testing.assert_array_equal(masks, labels)
        assert 0 <= images.min() <= images.max() <= 255
    assert max(np.abs(images - PALETTE[labels]).max() for images, _ in drawn) > 5


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "RandomRotation cannot augment images together with labels"),
        ({"segmentation_classes": 11}, "loses labels: pass segmentation_classes=256"),
    ],
)
def test_keras_cv_rotation_needs_to_know_all_labels(cv, kwargs, message):
    with pytest.raises(ValueError, match=message):
        KerasAugmentation(cv.RandomRotation(0.1, **kwargs))


# Other backends


def digest():
    """Hash of what some layers make of some samples."""
    labels = np.random.default_rng(7).integers(0, 11, (30, 40)).astype(np.uint8)
    made = [
        run(KerasAugmentation(make()), PALETTE[labels], labels, seeds=4, threads=2)
        for make in (GEOMETRIC["pipeline"], COLOR["jitter"])
    ]
    return hashlib.sha256(b"".join(x.tobytes() for m in made for xs in m for x in xs)).hexdigest()


def test_jax_draws_the_same_samples():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, test_augment_layers as tests
print(keras.backend.backend(), tests.digest())
try:
    tests.KerasAugmentation(keras.Sequential([keras.layers.RandomFlip()]))
except ValueError as error:
    print(error)
"""
    finished = subprocess.run(
        [sys.executable, "-c", code, os.path.dirname(__file__)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    drawn, refused = finished.stdout.splitlines()
    assert drawn == f"jax {digest()}"
    assert "Sequential cannot augment images together with labels" in refused


# Saturation without HSV


@settings(deadline=None, max_examples=50)
@given(arrays(np.uint8, (2, 3, 3)), st.floats(0, 3))
def test_saturation_is_that_of_tensorflow(images, factor):
    off = {"brightness": 0.0, "contrast": (1.0, 1.0001), "hue": 0.0}
    distortion = PhotometricDistortion(**off, saturation=(factor, factor + 1e-6))
    expected = tf.image.adjust_saturation(images / np.float32(255), factor) * 255
    distances = []
    for seed in range(8):
        sample = {"images": tf.constant(images, tf.float32)}
        distorted = distortion(sample, (seed, 0))["images"]
        distances.append([np.abs(distorted - x).max() for x in (images, expected)])
    # It acts on some and leaves others alone.
    np.testing.assert_allclose(np.min(distances, axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.min(distances, axis=1), 0, atol=0.05)
