"""Augmentations for other roads: ranges, labels, repeatability; the stream without them."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from PIL import Image
from scipy import ndimage
from test_augment import MEAN_COLOR, apply, few, made_dataset, seeds
from test_recipes import TINY

from keras_crosscbam.datasets import IGNORE
from keras_crosscbam.datasets.augment import (
    PhotometricDistortion,
    RandomBlur,
    RandomContrast,
    RandomErasing,
    RandomFlip,
    RandomGamma,
    RandomJpeg,
    RandomLowLight,
    RandomNoise,
    RandomRotation,
    RandomShade,
    RandomTemperature,
    Sometimes,
    appearance,
)
from keras_crosscbam.datasets.pipeline import AUGMENTATIONS, training_batches
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.training.segmentation import crop_options, phased_batches

LOOKS = (
    RandomBlur(2.0),
    RandomContrast(0.5),
    RandomGamma(0.8),
    RandomJpeg((20, 100)),
    RandomLowLight(2.5),
    RandomNoise(16.0),
    RandomShade(0.7),
    RandomTemperature(0.4),
)
ALL = (*LOOKS, RandomRotation(10.0), RandomErasing(), *appearance(1.0))
of_looks = pytest.mark.parametrize("augmentation", LOOKS, ids=lambda a: type(a).__name__)


def noise(size=(24, 36)):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 12, size).astype(np.uint8)
    return rng.uniform(0, 255, (*size, 3)).astype(np.float32), labels


def street(size=(120, 160)):
    image = Image.fromarray(read_image(STREET)).resize(size[::-1])
    return np.asarray(image, np.float32), np.zeros(size, np.uint8)


# What holds for all


@pytest.mark.parametrize("augmentation", ALL, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_ranges_and_labels(augmentation, dtype):
    images, labels = noise()
    for seed in range(8):
        changed, after = apply(augmentation, images.astype(dtype), labels, (seed, 3))
        assert (changed.shape, changed.dtype) == (images.shape, np.float32)
        assert 0 <= changed.min() <= changed.max() <= 255
        assert (after.shape, after.dtype) == (labels.shape, np.uint8)
        assert set(np.unique(after)) <= {*np.unique(labels), IGNORE}


@of_looks
def test_looks_leave_labels_alone(augmentation):
    images, labels = noise()
    for seed in range(5):
        changed, after = apply(augmentation, images, labels, (seed, 0))
        np.testing.assert_array_equal(after, labels)
        assert np.abs(changed - images).max() > 0.1


@pytest.mark.parametrize("augmentation", ALL, ids=str)
def test_they_depend_on_the_seed_alone(augmentation):
    images, labels = noise()
    first = apply(augmentation, images, labels, (5, 6))
    again = apply(augmentation, images, labels, (5, 6))
    for array, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(array, other)
    others = [apply(augmentation, images, labels, (seed, 6)) for seed in range(30)]
    assert len({array.tobytes() + mask.tobytes() for array, mask in others}) > 1


@pytest.mark.parametrize("augmentation", ALL, ids=str)
def test_they_take_images_without_labels_and_of_any_size(augmentation):
    """In graphs that know no size, and of a single pixel."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.float32)])
    def run(images):
        return augmentation({"images": images}, tf.constant([1, 2]))["images"]

    for size in ((1, 1), (2, 5), (30, 20)):
        assert run(tf.ones((*size, 3))).shape == (*size, 3)


@of_looks
def test_nothing_is_left_black_or_white(augmentation):
    """The street can still be seen: what was told apart before is so afterwards."""
    images, labels = street()
    for seed in range(10):
        changed, _ = apply(augmentation, images, labels, (seed, 1))
        assert np.corrcoef(changed.ravel(), images.ravel())[0, 1] > 0.6
        assert changed.std() > 5


# What each of them does


def test_gamma_is_a_power():
    images, labels = noise()
    powers = []
    for seed in range(40):
        changed, _ = apply(RandomGamma(0.8), images, labels, (seed, 0))
        power = np.log(changed[0, 0, 0] / 255) / np.log(images[0, 0, 0] / 255)
        np.testing.assert_allclose(changed, 255 * (images / 255) ** power, rtol=1e-3, atol=1e-2)
        powers.append(np.log2(power))
    assert -0.8 <= min(powers) < -0.5
    assert 0.5 < max(powers) <= 0.8


def test_gamma_leaves_black_and_white():
    images = np.array([[[0, 255, 0]]], np.float32)
    for seed in range(5):
        changed, _ = apply(RandomGamma(0.8), images, np.zeros((1, 1), np.uint8), (seed, 0))
        np.testing.assert_allclose(changed, images, atol=1e-3)


def test_contrast_turns_about_the_mean():
    images, labels = noise()
    images = 100 + images / 5
    factors = []
    for seed in range(40):
        changed, _ = apply(RandomContrast(0.5), images, labels, (seed, 0))
        np.testing.assert_allclose(changed.mean(axis=(0, 1)), images.mean(axis=(0, 1)), rtol=1e-4)
        factors.append(changed.std() / images.std())
    assert 0.5 <= min(factors) < 0.65
    assert 1.35 < max(factors) <= 1.51


def test_temperature_moves_red_against_blue():
    images, labels = np.full((4, 4, 3), 100, np.float32), np.zeros((4, 4), np.uint8)
    reds = []
    for seed in range(40):
        red, green, blue = apply(RandomTemperature(0.4), images, labels, (seed, 0))[0][0, 0]
        assert green == 100
        assert red * blue == pytest.approx(1e4, rel=1e-4)
        reds.append(np.log2(red / 100))
    assert -0.4 <= min(reds) < -0.25
    assert 0.25 < max(reds) <= 0.4


def test_low_light_is_darker_and_paler():
    images, labels = np.full((4, 4, 3), (200, 100, 50), np.float32), np.zeros((4, 4), np.uint8)
    shares = []
    for seed in range(40):
        pixel = apply(RandomLowLight(2.5, pale=0.4), images, labels, (seed, 0))[0][0, 0]
        dark = pixel.mean() / images[0, 0].mean()
        shares.append(-2.2 * np.log2(dark) / 2.5)
        # The distance from gray shrinks by more than the light.
        assert np.ptp(pixel) == pytest.approx(150 * dark * (1 - 0.4 * shares[-1]), rel=1e-3)
    assert 0 <= min(shares) < 0.2
    assert 0.8 < max(shares) <= 1


def test_shade_darkens_parts_with_soft_edges():
    images, labels = np.full((120, 160, 3), 200, np.float32), np.zeros((120, 160), np.uint8)
    deepest = []
    for seed in range(20):
        changed, _ = apply(RandomShade(0.7), images, labels, (seed, 0))
        assert changed.max() <= 200.001
        np.testing.assert_array_equal(changed[..., 0], changed[..., 2])
        dark = 1 - changed[..., 0] / 200
        deepest.append(dark.max())
        steps = max(np.abs(np.diff(dark, axis=axis)).max() for axis in (0, 1))
        assert steps < 0.5 * dark.max() + 1e-6
        # There is light and there is shade.
        assert 0.05 < (dark > dark.max() / 2).mean() < 0.95
    assert 0.5 < max(deepest) <= 0.7001


def test_blur_is_scipys_gaussian():
    images, labels = noise((40, 50))
    found = []
    for seed in range(20):
        changed, _ = apply(RandomBlur(2.0), images, labels, (seed, 0))

        def expected(sigma):
            radius = int(np.ceil(3 * sigma))
            one = ndimage.gaussian_filter1d(images, sigma, axis=0, radius=radius, mode="mirror")
            return ndimage.gaussian_filter1d(one, sigma, axis=1, radius=radius, mode="mirror")

        sigmas = np.linspace(0.25, 2, 176)
        differences = [np.abs(changed - expected(sigma)).max() for sigma in sigmas]
        found.append(sigmas[np.argmin(differences)])
        assert min(differences) < 2
    assert min(found) < 0.6
    assert 1.6 < max(found) <= 2


def test_noise_is_normal_and_of_its_own_for_each_value():
    images, labels = np.full((60, 80, 3), 128, np.float32), np.zeros((60, 80), np.uint8)
    sigmas = []
    for seed in range(40):
        added = apply(RandomNoise(16.0), images, labels, (seed, 0))[0] - 128
        sigmas.append(added.std())
        assert abs(added.mean()) < 0.05 * added.std() + 1e-3
        assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.1
    assert 0 <= min(sigmas) < 3
    assert 13 < max(sigmas) <= 16.5


def test_jpeg_is_pillows_at_a_quality_in_the_range():
    images, labels = street()
    sizes = []
    for quality in (20, 95):
        changed, _ = apply(RandomJpeg((quality, quality)), images, labels, (0, 0))
        file = io.BytesIO()
        Image.fromarray(images.astype(np.uint8)).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file), np.float32)
        # Decoders differ by rounding, and in how they enlarge the color channels.
        assert np.abs(changed - expected).mean() < 3
        sizes.append(np.abs(changed - images).mean())
    assert sizes[0] > 2 * sizes[1]
    errors = [
        np.abs(apply(RandomJpeg((20, 95)), images, labels, (s, 0))[0] - images).mean()
        for s in range(15)
    ]
    assert sizes[1] - 0.1 <= min(errors) < max(errors) <= sizes[0] + 0.1


@few
@given(seeds)
def test_rotation_keeps_image_and_labels_together(seed):
    """The image holds its own labels, of large blocks: where none is near, they agree."""
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4).repeat(24, 0).repeat(24, 1)
    images = labels[..., None].repeat(3, -1).astype(np.float32) * 20
    rotated, turned = apply(RandomRotation(10.0), images, labels, seed)
    inside = turned != IGNORE
    assert inside.mean() > 0.6
    agree = np.abs(rotated[..., 0][inside] - 20.0 * turned[inside]) < 1
    assert agree.mean() > 0.85
    outside = ndimage.binary_erosion(~inside, iterations=2, border_value=1)
    np.testing.assert_allclose(rotated[outside], MEAN_COLOR[None].repeat(outside.sum(), 0), atol=1)


def test_rotation_is_scipys_and_covers_its_range():
    images, labels = street((60, 90))
    angles = []
    for seed in range(20):
        rotated, turned = apply(RandomRotation(5.0), images, labels, (seed, 0))
        inside = ndimage.binary_erosion(turned != IGNORE, iterations=2)
        candidates = np.linspace(-5, 5, 101)
        differences = [
            np.abs(ndimage.rotate(images, angle, reshape=False, order=1) - rotated)[inside].mean()
            for angle in candidates
        ]
        assert min(differences) < 0.5
        angles.append(candidates[np.argmin(differences)])
    assert -5 <= min(angles) < -3
    assert 3 < max(angles) <= 5


def test_erasing_takes_a_rectangle_of_pixels_and_labels():
    images, labels = noise((60, 80))
    areas, ratios = [], []
    for seed in range(60):
        erased, after = apply(RandomErasing((0.02, 0.25)), images, labels, (seed, 0))
        gone = after == IGNORE
        rows, columns = gone.any(axis=1), gone.any(axis=0)
        np.testing.assert_array_equal(gone, rows[:, None] & columns)
        np.testing.assert_allclose(erased[gone], MEAN_COLOR[None].repeat(gone.sum(), 0), rtol=1e-5)
        np.testing.assert_array_equal(erased[~gone], images[~gone])
        np.testing.assert_array_equal(after[~gone], labels[~gone])
        areas.append(gone.mean())
        ratios.append((rows.sum() / 60) / (columns.sum() / 80))
    assert 0.01 < min(areas) < 0.06
    assert 0.2 < max(areas) <= 0.27
    assert min(ratios) < 0.5
    assert max(ratios) > 2


def test_sometimes_is_a_share():
    images, labels = noise((4, 4))
    sometimes = Sometimes(RandomGamma(0.8), 0.25)
    changed = [
        not np.array_equal(apply(sometimes, images, labels, (s, 0))[0], images) for s in range(200)
    ]
    assert 30 < sum(changed) < 75


# The list and the recipe


def test_strength_zero_changes_no_more_than_a_jpeg_file_of_quality_100():
    images, labels = street()
    for augmentation in appearance(0.0):
        for seed in range(12):
            changed, _ = apply(augmentation, images, labels, (seed, 0))
            lossy = isinstance(augmentation.augmentation, RandomJpeg)
            assert np.abs(changed - images).mean() < (2.5 if lossy else 0.1)


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_strengths_outside_are_refused(strength):
    with pytest.raises(ValueError, match=r"`strength` must be .*Received: "):
        appearance(strength)


def test_recipes_say_what_is_done_to_the_crops():
    def kinds(**changes):
        options = crop_options(replace(TINY, **changes))["augmentations"]
        return [type(getattr(a, "augmentation", a)) for a in options]

    assert kinds() == [type(a) for a in AUGMENTATIONS]
    assert kinds(photometric=False) == [RandomFlip]
    assert kinds(rotation=5.0) == [RandomFlip, RandomRotation, PhotometricDistortion]
    assert kinds(erasing=0.5)[-1] is RandomErasing
    looks = kinds(appearance=0.5, erasing=0.5)[2:-1]
    assert set(looks) == {type(a) for a in LOOKS}
    (*_, erasing) = crop_options(replace(TINY, erasing=0.25))["augmentations"]
    assert erasing.share == 0.25


def digest(batches):
    """Labels as they are; of the images the means, in which rounding does not show."""
    labels, means = hashlib.sha256(), []
    for images, masks in batches:
        labels.update(np.asarray(masks["main"] if isinstance(masks, dict) else masks).tobytes())
        means += np.asarray(images).mean(axis=(1, 2, 3)).tolist()
    return labels.hexdigest()[:16], means


def test_the_stream_of_todays_recipes_stays_as_it_was(tmp_path):
    """Recorded before these fields were there."""
    data = made_dataset(tmp_path, frames=6, size=(72, 96))
    recipe = replace(TINY, batch_size=2, seed=3)
    labels, means = digest(phased_batches(data, recipe, steps=3))
    assert labels == "94b8d2b52fd40b5d"
    recorded = [127.195, 109.756, 124.179, 118.2, 139.054, 96.417]
    recorded += [124.684, 116.269, 146.905, 118.901, 112.125, 102.154]
    np.testing.assert_allclose(means, recorded, atol=0.02)
    plain = training_batches(data, (64, 96), 2, seed=3, stop_step=6)
    assert digest(plain) == (labels, means)


def test_the_stream_with_all_of_them_goes_on_where_it_stopped(tmp_path):
    data = made_dataset(tmp_path, frames=6, size=(72, 96))
    recipe = replace(TINY, batch_size=2, appearance=1.0, rotation=5.0, erasing=0.5, class_mix=0.5)
    whole = list(phased_batches(data, recipe, steps=3))
    rest = list(phased_batches(data, recipe, steps=3, start_step=4))
    assert len(rest) == 2
    for (images, masks), (others, other_masks) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(masks["main"], other_masks["main"])
