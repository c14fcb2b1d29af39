"""Augmentation keeps image and labels together; batches depend on seed and position alone."""

import time
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from keras_crosscbam.datasets import CAMVID_CLASSES, IGNORE, IndexEncoding, SegmentationDataset
from keras_crosscbam.datasets.augment import PhotometricDistortion, RandomFlip, RandomScaleCrop
from keras_crosscbam.datasets.pipeline import (
    AUGMENTATIONS,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_crosscbam.models.inputs import MEAN

CROP = (48, 64)
MEAN_COLOR = (255 * np.array(MEAN)).astype(np.float32)

# A color for every label. The ignore label has that of the padding.
PALETTE = np.random.default_rng(0).uniform(0, 255, (256, 3)).astype(np.float32)
PALETTE[IGNORE] = MEAN_COLOR

seeds = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
few = settings(deadline=None, max_examples=25)


def apply(augmentation, images, labels, seed):
    sample = {"images": tf.constant(images), "segmentation_masks": tf.constant(labels)}
    sample = augmentation(sample, tf.constant(seed))
    return sample["images"].numpy(), sample["segmentation_masks"].numpy()


def flat_regions(labels):
    """The pixels that have the label of all others up to three pixels away."""
    neighbors = sliding_window_view(np.pad(labels, 3, mode="edge"), (7, 7))
    return (neighbors == labels[..., None, None]).all(axis=(2, 3))


def coordinates(height, width):
    """An image whose pixels hold their row and column, and labels of one class."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([rows, columns, rows], axis=-1), np.zeros((height, width), np.uint8)


@few
@given(
    blocks=st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([*range(11), IGNORE]))
    ),
    scale=st.floats(0.5, 2),
    seed=seeds,
)
def test_image_and_labels_stay_aligned(blocks, scale, seed):
    labels = blocks.repeat(24, axis=0).repeat(24, axis=1)
    images, crop = apply(RandomScaleCrop(CROP, (scale, scale)), PALETTE[labels], labels, seed)
    images, crop = apply(RandomFlip(), images, crop, seed)
    # Across an edge the image is interpolated, while labels are not.
    flat = flat_regions(crop)
    assert flat.any()
    np.testing.assert_allclose(images[flat], PALETTE[crop][flat], atol=1e-2)
    assert set(np.unique(crop)) <= {*np.unique(labels), IGNORE}


@pytest.mark.parametrize("size", [(1, 1), (20, 30), (20, 200), (90, 70), CROP])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_source_gives_the_size_of_the_crop(size, dtype):
    source = np.full((*size, 3), 7, dtype), np.full(size, 3, np.uint8)
    for seed in range(5):
        images, labels = apply(RandomScaleCrop(CROP), *source, (seed, 0))
        assert (images.shape, images.dtype) == ((*CROP, 3), np.float32)
        assert (labels.shape, labels.dtype) == (CROP, np.uint8)
        assert set(np.unique(labels)) <= {3, IGNORE}


@few
@given(st.integers(1, 60), st.integers(1, 80), st.sampled_from([0.5, 0.8, 1, 1.7, 2]), seeds)
def test_padding_is_ignored_and_of_the_mean_color(height, width, scale, seed):
    source = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.uint8)
    images, labels = apply(RandomScaleCrop(CROP, (scale, scale)), *source, seed)
    padded = labels == IGNORE
    np.testing.assert_array_equal(padded, (images == MEAN_COLOR).all(axis=-1))
    np.testing.assert_allclose(images[~padded], 0, atol=1e-4)
    # What is left is one rectangle of the scaled image's size.
    rows, columns = (~padded).any(axis=1), (~padded).any(axis=0)
    np.testing.assert_array_equal(~padded, rows[:, None] & columns)
    assert rows.sum() == np.clip(np.round(np.float32(height) * np.float32(scale)), 1, CROP[0])
    assert columns.sum() == np.clip(np.round(np.float32(width) * np.float32(scale)), 1, CROP[1])


@few
@given(arrays(np.uint8, (*CROP, 3)), arrays(np.uint8, CROP), seeds)
def test_scale_of_one_and_crop_of_the_size_change_nothing(images, labels, seed):
    cropped, cropped_labels = apply(RandomScaleCrop(CROP, (1, 1)), images, labels, seed)
    np.testing.assert_allclose(cropped, images, atol=1e-4)
    np.testing.assert_array_equal(cropped_labels, labels)


def test_every_position_of_the_crop_occurs():
    crop = RandomScaleCrop((8, 8), (1, 1))
    corners = [apply(crop, *coordinates(11, 13), (s, 0))[0][0, 0, :2].round() for s in range(200)]
    # All of the (11 - 8 + 1) * (13 - 8 + 1) windows, the outermost ones included.
    assert {tuple(c) for c in corners} == {(row, col) for row in range(4) for col in range(6)}


def test_every_position_in_the_padding_occurs():
    crop = RandomScaleCrop((8, 9), (1, 1))
    masks = [apply(crop, *coordinates(6, 6), (seed, 0))[1] for seed in range(100)]
    corners = {tuple(np.argwhere(mask != IGNORE)[0]) for mask in masks}
    assert corners == {(row, col) for row in range(3) for col in range(4)}


def test_the_scale_covers_its_range():
    crop = RandomScaleCrop((80, 80), (0.5, 2))
    masks = [apply(crop, *coordinates(40, 40), (seed, 0))[1] for seed in range(100)]
    sides = [np.sqrt((mask != IGNORE).sum()) for mask in masks]
    assert 20 <= min(sides) < 23
    assert 77 < max(sides) <= 80
    assert np.mean(sides) == pytest.approx(50, abs=5)


@few
@given(arrays(np.float32, (4, 6, 3)), arrays(np.uint8, (4, 6)), seeds)
def test_flip_is_an_involution(images, labels, seed):
    twice = apply(RandomFlip(), *apply(RandomFlip(), images, labels, seed), seed)
    np.testing.assert_array_equal(twice[0], images)
    np.testing.assert_array_equal(twice[1], labels)


def test_half_of_the_images_are_flipped_together_with_their_labels():
    images, _ = coordinates(2, 3)
    labels = images[..., 1].astype(np.uint8)
    flips = 0
    for seed in range(200):
        flipped, flipped_labels = apply(RandomFlip(), images, labels, (seed, 0))
        np.testing.assert_array_equal(flipped[..., 1], flipped_labels)
        flips += flipped_labels.tolist() == labels[:, ::-1].tolist()
    assert 70 < flips < 130


@few
@given(arrays(np.uint8, (4, 5, 3)), arrays(np.uint8, (4, 5)), seeds)
def test_distortion_keeps_the_range_and_the_labels(images, labels, seed):
    source = images.astype(np.float32), labels
    distorted, distorted_labels = apply(PhotometricDistortion(), *source, seed)
    assert distorted.dtype == np.float32
    assert 0 <= distorted.min() <= distorted.max() <= 255
    np.testing.assert_array_equal(distorted_labels, labels)


def test_distortion_of_gray_is_bounded_brightness():
    # Contrast, saturation and hue leave an even gray alone.
    source = np.full((2, 2, 3), 128, np.float32), np.zeros((2, 2), np.uint8)
    distorted = [apply(PhotometricDistortion(), *source, (seed, 0))[0] for seed in range(60)]
    shifts = np.array([d.mean() for d in distorted]) - 128
    np.testing.assert_allclose(np.ptp(distorted, axis=(1, 2, 3)), 0, atol=1e-3)
    assert -32 <= shifts.min() < -20
    assert 20 < shifts.max() <= 32
    assert 15 < (np.abs(shifts) < 1e-3).sum() < 45  # it acts on every other image


@pytest.mark.parametrize("kind", ["contrast", "saturation", "hue"])
def test_distortion_changes(kind):
    """Each kind, left alone with its parameter, changes about half of the images."""
    unchanged = {"brightness": 0.0, "contrast": (1, 1.0001), "saturation": (1, 1.0001), "hue": 0.0}
    distortion = PhotometricDistortion(
        **{name: value for name, value in unchanged.items() if name != kind}
    )
    source = np.array([[[200, 100, 50], [20, 80, 160]]], np.float32), np.zeros((1, 2), np.uint8)
    distorted = [apply(distortion, *source, (seed, 0))[0] for seed in range(60)]
    changed = [np.abs(d - source[0]).max() > 0.5 for d in distorted]
    assert 15 < sum(changed) < 45


# Batches


def made_dataset(root, frames, size=(24, 32)):
    """Frames of noise, each all of one class: the label tells which frame it is."""
    pairs, rng = [], np.random.default_rng(0)
    for i in range(frames):
        image, mask = root / f"{i}.png", root / f"{i}_mask.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(image)
        Image.fromarray(np.full(size, i, np.uint8)).save(mask)
        pairs.append((image, mask))
    ids = IndexEncoding({i: i for i in range(11)})
    return SegmentationDataset("made", tuple(pairs), CAMVID_CLASSES, ids)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return made_dataset(tmp_path_factory.mktemp("six"), frames=6)


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    return made_dataset(tmp_path_factory.mktemp("seven"), frames=7)


def batches(dataset, batch_size=2, options=None, **kwargs):
    stream = training_batches(dataset, (16, 24), batch_size, **{"stop_step": 6, **kwargs})
    return list((stream.with_options(options) if options else stream).as_numpy_iterator())


def frames_of(batch):
    """Which frames a batch holds; the padding's label is the largest."""
    return batch[1].min(axis=(1, 2)).tolist()


def visits(stream):
    """Which frames all batches hold, one after the other."""
    return [frame for batch in stream for frame in frames_of(batch)]


def assert_same(actual, expected):
    for batch, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(batch[0], other[0])
        np.testing.assert_array_equal(batch[1], other[1])


def test_batches_have_the_promised_shapes_and_types(six):
    for images, labels in batches(six, batch_size=3):
        assert (images.shape, images.dtype) == ((3, 16, 24, 3), np.float32)
        assert (labels.shape, labels.dtype) == ((3, 16, 24), np.uint8)
        assert images.min() >= 0
        assert images.max() <= 255


def test_the_same_seed_gives_the_same_batches(six):
    assert_same(batches(six, seed=3), batches(six, seed=3))


class Unsteady(SegmentationDataset):
    """Every third frame takes long to read."""

    def __getitem__(self, index):
        time.sleep(0.03 if index % 3 == 0 else 0)
        return super().__getitem__(index)


def threads(number):
    """Options of a pipeline that has this many threads from the start."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = number
    return options


def test_threads_and_slow_reads_change_nothing(six):
    unsteady = Unsteady(six.name, six.pairs, six.classes, six.encoding)
    assert_same(
        batches(unsteady, options=threads(6), cache=False), batches(six, options=threads(1))
    )


def test_another_seed_gives_another_order_and_augmentation(six):
    one, other = batches(six, seed=1), batches(six, seed=2)
    assert [frames_of(b) for b in one] != [frames_of(b) for b in other]
    # The same frame comes out differently, wherever it came in the order.
    first = {f: x for b in one[:3] for f, x in zip(frames_of(b), b[0], strict=True)}
    second = {f: x for b in other[:3] for f, x in zip(frames_of(b), b[0], strict=True)}
    assert not any(np.array_equal(first[f], second[f]) for f in range(6))


def test_passes_differ_in_their_order(six):
    orders = {tuple(frames_of(batch)) for batch in batches(six, batch_size=6, stop_step=8)}
    assert len(orders) > 4


def test_a_frame_is_augmented_anew_in_every_pass(six):
    stream = batches(six.subset([0]), batch_size=1, stop_step=8, augmentations=[])
    assert len({images.tobytes() for images, _ in stream}) == 8


@pytest.mark.parametrize("frames", ["six", "seven"])
@pytest.mark.parametrize("start", [1, 3, 4, 8, 9])
def test_a_later_start_goes_on_as_without_a_stop(request, frames, start):
    data = request.getfixturevalue(frames)
    whole = batches(data, stop_step=9)
    assert len(whole) == 9
    assert_same(batches(data, start_step=start, stop_step=9), whole[start:])


def test_passes_follow_each_other_without_a_gap(seven):
    """Batches of 2 do not divide 7 frames: every other pass begins within a batch."""
    visited = visits(batches(seven, stop_step=14))
    for first in range(0, 28, 7):
        assert sorted(visited[first : first + 7]) == [0, 1, 2, 3, 4, 5, 6]


def test_a_data_set_smaller_than_a_batch_is_gone_through_repeatedly(six):
    three = six.subset(range(3))
    assert steps_per_epoch(three, 8) == 1
    first, second = batches(three, batch_size=8, stop_step=2)
    for batch in (first, second):
        assert sorted(Counter(frames_of(batch)).values()) == [2, 3, 3]
        assert len({x.tobytes() for x in batch[0]}) == 8  # each time augmented anew


def test_without_an_end_the_stream_goes_on(six):
    stream = training_batches(six, (16, 24), 2)
    assert_same(list(stream.take(9).as_numpy_iterator()), batches(six, stop_step=9))


def test_weights_say_how_often_frames_are_drawn(six):
    stream = batches(six, stop_step=12, sampling_weights=np.array([0, 3, 1, 0, 1, 1]))
    assert Counter(visits(stream)) == {1: 12, 2: 4, 4: 4, 5: 4}
    # One and the same frame, three times in a pass, is augmented anew each time.
    frames = [
        x for batch in stream for f, x in zip(frames_of(batch), batch[0], strict=True) if f == 1
    ]
    assert len({x.tobytes() for x in frames}) == 12


@pytest.mark.parametrize("weights", [None, np.arange(7)])
def test_processes_that_share_the_batches_make_them_together(seven, weights):
    options = {"batch_size": 6, "sampling_weights": weights, "start_step": 2, "stop_step": 5}
    shards = zip(*(batches(seven, shard=(i, 3), **options) for i in range(3)), strict=True)
    shards = list(shards)
    assert {len(images) for parts in shards for images, _ in parts} == {2}
    together = [[np.concatenate(arrays) for arrays in zip(*parts, strict=True)] for parts in shards]
    assert_same(together, batches(seven, **options))


def test_a_batch_that_cannot_be_shared_is_refused(six):
    with pytest.raises(ValueError, match=r"multiple of the number of workers, 2\. Received: 3"):
        training_batches(six, (16, 24), 3, shard=(0, 2))


@pytest.mark.parametrize("augmentations", [AUGMENTATIONS, ()])
def test_the_cache_changes_nothing(six, augmentations):
    kwargs = {"augmentations": augmentations, "scale_range": (0.7, 1.5)}
    assert_same(batches(six, cache=True, **kwargs), batches(six, cache=False, **kwargs))


def test_without_augmentations_frames_of_the_crop_s_size_come_as_they_are(six):
    stream = training_batches(six, (24, 32), 6, scale_range=(1, 1), augmentations=(), stop_step=1)
    for image, labels in zip(*next(stream.as_numpy_iterator()), strict=True):
        np.testing.assert_allclose(image, six[int(labels[0, 0])][0], atol=1e-4)


def test_the_flip_alone_only_flips(six):
    stream = training_batches(
        six, (24, 32), 6, scale_range=(1, 1), augmentations=[RandomFlip()], stop_step=3
    )
    flips = []
    for image, labels in stream.unbatch().as_numpy_iterator():
        source, _ = six[int(labels[0, 0])]
        differences = [np.abs(image - s).max() for s in (source, source[:, ::-1])]
        assert min(differences) < 1e-4
        flips.append(differences[1] < differences[0])
    assert {*flips} == {True, False}


def test_augmentations_of_one_s_own_follow_each_other_with_seeds_of_their_own(six):
    """Each gets what the one before returned, and a seed that depends on the position alone."""

    def stamp(channel):
        def write_seed(sample, seed):
            drawn = tf.random.stateless_uniform([], seed) * tf.ones((24, 32, 1))
            parts = tf.split(sample["images"], 3, axis=-1)
            return {
                **sample,
                "images": tf.concat([*parts[:channel], drawn, *parts[channel + 1 :]], -1),
            }

        return write_seed

    def double(sample, seed):
        return {**sample, "images": 2 * sample["images"]}

    options = {"augmentations": [stamp(0), double, stamp(1)], "start_step": 1, "stop_step": 4}
    stream = list(training_batches(six, (24, 32), 3, **options).as_numpy_iterator())
    drawn = np.concatenate([images[:, 0, 0, :2] for images, _ in stream])
    assert len(np.unique(drawn)) == 18
    assert drawn[:, 0].max() > 1
    assert drawn[:, 1].max() < 1
    assert_same(
        stream, training_batches(six, (24, 32), 3, cache=False, **options).as_numpy_iterator()
    )


def test_evaluation_keeps_order_frames_and_the_rest(seven):
    stream = list(evaluation_batches(seven, batch_size=3).as_numpy_iterator())
    assert [len(images) for images, _ in stream] == [3, 3, 1]
    images, labels = (np.concatenate(parts) for parts in zip(*stream, strict=True))
    assert (images.dtype, labels.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(images, [seven[i][0] for i in range(7)])
    np.testing.assert_array_equal(labels, [seven[i][1] for i in range(7)])


def test_evaluation_one_by_one_takes_frames_of_any_size(tmp_path):
    for name, size in (("a", (10, 12)), ("b", (9, 14))):
        (tmp_path / name).mkdir()
        made_dataset(tmp_path / name, frames=1, size=size)
    pairs = tuple((tmp_path / n / "0.png", tmp_path / n / "0_mask.png") for n in "ab")
    data = SegmentationDataset("made", pairs, CAMVID_CLASSES, IndexEncoding({0: 0}))
    shapes = [labels.shape for _, labels in evaluation_batches(data)]
    assert shapes == [(1, 10, 12), (1, 9, 14)]


def test_evaluation_at_another_size_stays_aligned(tmp_path):
    labels = np.repeat([3, 8], [40, 24]).astype(np.uint8) * np.ones((48, 1), np.uint8)
    Image.fromarray(PALETTE[labels].astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(labels).save(tmp_path / "mask.png")
    pairs = ((tmp_path / "image.png", tmp_path / "mask.png"),)
    data = SegmentationDataset("made", pairs, CAMVID_CLASSES, IndexEncoding({3: 3, 8: 8}))
    ((images, resized),) = evaluation_batches(data, input_size=(36, 96)).as_numpy_iterator()
    assert (images.shape, resized.shape) == ((1, 36, 96, 3), (1, 36, 96))
    flat = flat_regions(resized[0])
    np.testing.assert_allclose(images[0][flat], np.floor(PALETTE)[resized[0]][flat], atol=1e-2)
    assert (resized[0] == 3).mean() == pytest.approx(40 / 64, abs=0.02)


@pytest.mark.parametrize("name", ["4.png", "4_mask.png"])
@pytest.mark.parametrize(
    "stream",
    [lambda data: training_batches(data, (16, 24), 2, stop_step=3), evaluation_batches],
    ids=["training", "evaluation"],
)
def test_a_corrupt_file_is_named(tmp_path, name, stream):
    data = made_dataset(tmp_path, frames=6)
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(tf.errors.OpError, match=f"{name}: not a readable image"):
        list(stream(data))
