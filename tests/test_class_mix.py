"""Classes of one crop pasted over another."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_crosscbam.classes import IGNORE
from keras_crosscbam.datasets import CAMVID_CLASSES
from keras_crosscbam.datasets.augment import ClassMix
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.encodings import IndexEncoding
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.training import RECIPES, with_settings

SIZE = (24, 32)


def crop(rng, labels):
    images = rng.uniform(0, 255, (*SIZE, 3)).astype(np.float32)
    return {"images": images, "segmentation_masks": labels}


def test_whole_classes_are_pasted_and_never_what_is_unlabeled(rng):
    taken = []
    for seed in range(20):
        below = crop(rng, np.full(SIZE, 9, np.uint8))
        above = crop(rng, rng.choice(np.uint8([0, 1, 2, IGNORE]), SIZE))
        mixed = ClassMix()(below, above, tf.constant([seed, 1], tf.int64))
        labels = mixed["segmentation_masks"].numpy()
        chosen = set(np.unique(labels)) - {9}
        assert chosen <= {0, 1, 2}
        over = np.isin(above["segmentation_masks"], list(chosen))
        np.testing.assert_array_equal(labels, np.where(over, above["segmentation_masks"], 9))
        np.testing.assert_array_equal(
            mixed["images"], np.where(over[..., None], above["images"], below["images"])
        )
        taken.append(len(chosen))
    # 60 fair coins.
    assert 15 < sum(taken) < 45


@pytest.fixture(scope="module")
def two_grays(tmp_path_factory):
    """Four frames; the upper half of each is one class, the lower half another, gray by class."""
    root, pairs = tmp_path_factory.mktemp("grays"), []
    for i in range(4):
        labels = np.repeat(np.uint8([2 * i, 2 * i + 1]), SIZE[0] // 2)[:, None].repeat(SIZE[1], 1)
        Image.fromarray(np.stack([20 * labels] * 3, axis=-1)).save(root / f"{i}.png")
        Image.fromarray(labels).save(root / f"{i}_mask.png")
        pairs.append((root / f"{i}.png", root / f"{i}_mask.png"))
    encoding = IndexEncoding({i: i for i in range(8)})
    return SegmentationDataset("grays", tuple(pairs), CAMVID_CLASSES, encoding)


def batches(data, **options):
    options = {"scale_range": (1, 1), "augmentations": (), "stop_step": 12, **options}
    return list(training_batches(data, SIZE, 2, **options).as_numpy_iterator())


def frames_in(labels):
    return len(np.unique(labels // 2))


def test_pixels_and_labels_stay_together(two_grays):
    stream = batches(two_grays, class_mix=1.0)
    for images, labels in stream:
        np.testing.assert_allclose(images, 20.0 * labels[..., None].repeat(3, axis=-1), atol=1e-3)
    mixed = [frames_in(part) == 2 for _, labels in stream for part in labels]
    # Half the crops show classes of two frames: one of both classes, of three other frames in four.
    assert 3 < sum(mixed) < 20


def test_the_share_says_how_many(two_grays):
    original = batches(two_grays)
    assert all(frames_in(part) == 1 for _, labels in original for part in labels)
    for share, low, high in ((0.0, 0, 0), (0.25, 0, 12), (1.0, 8, 24)):
        stream = batches(two_grays, class_mix=share)
        changed = sum(
            (a != b).any()
            for (_, ours), (_, theirs) in zip(original, stream, strict=True)
            for a, b in zip(ours, theirs, strict=True)
        )
        assert low <= changed <= high


def test_a_stream_taken_up_again_is_the_same(two_grays):
    whole = batches(two_grays, class_mix=0.5, seed=3)
    for old, new in zip(
        whole[7:], batches(two_grays, class_mix=0.5, seed=3, start_step=7), strict=True
    ):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)


def test_recipes_say_how_many():
    assert with_settings(RECIPES["camvid-m"], ["class_mix=0.5"]).class_mix == 0.5
    with pytest.raises(ValueError, match=r"`class_mix` must be .*Received: 1\.5"):
        with_settings(RECIPES["camvid-m"], ["class_mix=1.5"])
