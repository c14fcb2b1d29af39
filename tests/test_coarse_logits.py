"""Labels of coarse scores against what they stand for: the argmax of all scores upsampled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_crosscbam.runtime.coarse_logits import (
    argmax_of_planes,
    labels_of_coarse,
    labels_of_scores,
    upsample,
)


def in_full(scores, size):
    """PyTorch's bilinear upsampling in float64, `(batch, height, width, classes)`."""
    planes = torch.from_numpy(np.asarray(scores, np.float64)).permute(0, 3, 1, 2)
    return (
        torch.nn.functional.interpolate(planes, size, mode="bilinear").permute(0, 2, 3, 1).numpy()
    )


def assert_labels_of(scores, size):
    """The labels are those of the full scores, except where the two best are equal."""
    full = in_full(scores, size)
    labels = labels_of_coarse(scores, size)
    assert labels.shape == full.shape[:3]
    assert labels.dtype == np.uint8
    short_of_best = (
        full.max(-1) - np.take_along_axis(full, labels[..., None].astype(int), -1)[..., 0]
    )
    assert short_of_best.max() < 1e-5


@settings(max_examples=150, deadline=None)
@given(
    coarse=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ratio=st.tuples(st.floats(0.5, 9), st.floats(0.5, 9)),
    classes=st.integers(1, 20),
    smooth=st.booleans(),
    whole=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_and_any_scores(coarse, ratio, classes, smooth, whole, seed):
    """Smooth scores have few mixed cells, rough ones no others; whole ones are often equal."""
    scores = np.random.default_rng(seed).normal(size=(2, *coarse, classes)) * 3
    if smooth:
        scores = scores.cumsum(axis=1).cumsum(axis=2)
    if whole:
        scores = np.rint(scores)
    size = tuple(max(round(side * by), 1) for side, by in zip(coarse, ratio, strict=True))
    assert_labels_of(scores.astype(np.float32), size)


@pytest.mark.parametrize(
    ("coarse", "size"),
    [((45, 60), (360, 480)), ((12, 15), (90, 120)), ((13, 13), (97, 97)), ((64, 128), (512, 1024))],
)
def test_sizes_of_networks(rng, coarse, size):
    scores = rng.normal(size=(1, *coarse, 19)).cumsum(axis=1).cumsum(axis=2).astype(np.float32)
    assert_labels_of(scores, size)
    np.testing.assert_allclose(upsample(scores, size), in_full(scores, size), atol=2e-4)


def test_a_class_that_is_best_at_no_corner_may_win_between():
    scores = np.array([[[[9.0, 0.0, 6.0], [0.0, 9.0, 6.0]]]])
    assert labels_of_coarse(scores, (1, 16))[0, 0].tolist() == [0] * 7 + [2] * 2 + [1] * 7


def test_equal_scores_go_to_the_first_class():
    scores = np.ones((1, 3, 4, 5))
    scores[0, 1, 1] = [0, 2, 2, 2, 0]
    labels = labels_of_coarse(scores, (24, 32))
    assert set(np.unique(labels)) == {0, 1}


def test_scores_of_numpy_and_of_any_memory_order(rng):
    scores = rng.normal(size=(2, 5, 7, 6))
    expected = labels_of_coarse(scores, (40, 56))
    planes = np.ascontiguousarray(scores.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(
        labels_of_coarse(planes.transpose(0, 2, 3, 1), (40, 56)), expected
    )
    single = np.stack([labels_of_coarse(scores[i : i + 1], (40, 56))[0] for i in range(2)])
    np.testing.assert_array_equal(single, expected)


def test_labels_of_scores_of_any_memory_order(rng):
    scores = rng.integers(0, 3, (2, 37, 21, 6))
    planes = np.ascontiguousarray(scores.transpose(0, 3, 1, 2))
    for same in (scores, planes.transpose(0, 2, 3, 1)):
        np.testing.assert_array_equal(labels_of_scores(same), scores.argmax(axis=-1))


def test_winners_are_those_of_argmax(rng):
    planes = rng.integers(0, 4, (256, 30, 40)).astype(np.float32)
    np.testing.assert_array_equal(argmax_of_planes(planes), planes.argmax(axis=0))
    np.testing.assert_array_equal(argmax_of_planes(iter(-planes)), (-planes).argmax(axis=0))
