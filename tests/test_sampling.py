"""The order of the frames is a pure function of seed and position, and as fair as promised."""

from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from keras_crosscbam.datasets.sampling import (
    class_balanced_weights,
    frame_order,
    frames_of_step,
    index_stream,
)

frames_ = st.integers(1, 12)
batch_sizes = st.integers(1, 15)
seeds = st.integers(0, 2**31)
few = settings(deadline=None, max_examples=15)


def weights_of(frames):
    """None, or whole weights of which some may be zero."""
    whole = st.lists(st.integers(0, 5), min_size=frames, max_size=frames).filter(any)
    return st.none() | whole.map(np.array)


def stream(*args, **kwargs):
    """The indices and positions of an `index_stream`, as lists."""
    pairs = list(index_stream(*args, **kwargs).as_numpy_iterator())
    return [int(index) for index, _ in pairs], [int(position) for _, position in pairs]


@few
@given(frames_, batch_sizes, seeds, st.integers(1, 6))
def test_every_pass_is_a_permutation(frames, batch_size, seed, steps):
    indices, positions = stream(frames, batch_size, seed, stop_step=steps)
    assert positions == list(range(steps * batch_size))
    for first in range(0, len(indices), frames):
        one_pass = indices[first : first + frames]
        assert len(set(one_pass)) == len(one_pass)
        assert set(one_pass) <= set(range(frames))


@few
@given(st.data(), frames_, batch_sizes, seeds, st.integers(0, 6), st.integers(0, 4))
def test_a_later_start_equals_the_tail(data, frames, batch_size, seed, start, steps):
    weights, stop = data.draw(weights_of(frames)), start + steps
    whole = stream(frames, batch_size, seed, weights, stop_step=stop)
    tail = stream(frames, batch_size, seed, weights, start_step=start, stop_step=stop)
    assert tail == tuple(part[start * batch_size :] for part in whole)


def test_a_start_far_into_the_training_is_found_at_once():
    """160,000 steps of 16 frames, of 2975: an order that is gone through would take minutes."""
    indices, positions = stream(2975, 16, seed=1, start_step=160_000, stop_step=160_001)
    assert positions == list(range(160_000 * 16, 160_001 * 16))
    assert indices == frames_of_step(2975, 16, 160_000, seed=1)


@few
@given(st.data(), frames_, st.integers(1, 3), st.integers(2, 4), seeds, st.integers(0, 3))
def test_shards_share_every_batch(data, frames, share, count, seed, start):
    weights = data.draw(weights_of(frames))
    args = (frames, share * count, seed, weights, start, start + 3)
    shards = [list(zip(*stream(*args, shard=(i, count)), strict=True)) for i in range(count)]
    assert [len(shard) for shard in shards] == [3 * share] * count
    joined = [
        pair
        for step in range(3)
        for shard in shards
        for pair in shard[step * share : (step + 1) * share]
    ]
    assert joined == list(zip(*stream(*args), strict=True))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"`batch_size` must be a multiple .* 4\. Received: 6"):
        index_stream(10, 6, seed=0, shard=(1, 4))


@few
@given(st.data(), frames_, batch_sizes, seeds, st.integers(0, 20))
def test_the_frames_of_a_step_are_those_the_stream_yields(data, frames, batch_size, seed, step):
    weights = data.draw(weights_of(frames))
    named = frames_of_step(frames, batch_size, step, seed, weights)
    yielded, _ = stream(frames, batch_size, seed, weights, start_step=step, stop_step=step + 1)
    assert named == yielded


def test_without_an_end_the_stream_goes_on():
    endless = index_stream(3, 2, seed=4).take(300).as_numpy_iterator()
    assert [int(index) for index, _ in endless] == stream(3, 2, 4, stop_step=150)[0]


def orders(frames, seed, passes, weights=None):
    order = frame_order(frames, seed, weights)
    return np.array([order(tf.constant(number, tf.int64)) for number in range(passes)])


@pytest.mark.parametrize("weights", [None, np.arange(1, 9)])
def test_seeds_and_passes_have_orders_of_their_own(weights):
    drawn = [tuple(o) for seed in range(5) for o in orders(8, seed, 5, weights)]
    assert len(set(drawn)) == 25


def test_every_frame_comes_at_every_place():
    """No frame is always early: in 200 passes each has been first, last and in between."""
    places = orders(4, seed=3, passes=200)
    counts = [np.bincount(places[:, place], minlength=4) for place in range(4)]
    assert np.min(counts) > 25
    assert np.max(counts) < 75


# Weights


@few
@given(st.data(), st.integers(1, 40), seeds)
def test_weighted_frames_are_drawn_as_often_as_their_weight_says(data, frames, seed):
    weights = data.draw(arrays(float, frames, elements=st.floats(0.01, 100)))
    for order in orders(frames, seed, 3, weights):
        expected = frames * weights / weights.sum()
        assert np.abs(np.bincount(order, minlength=frames) - expected).max() < 1 + 1e-9


def test_on_average_the_weights_are_met_exactly():
    """Within one a pass is not always the same one: 0.4 of a draw comes in 2 passes of 5."""
    weights = np.array([0.4, 1.4, 2.2, 0.0])
    counts = [np.bincount(order, minlength=4) for order in orders(4, 5, 400, weights)]
    np.testing.assert_allclose(np.mean(counts, axis=0), weights, atol=0.08)


def two_draws(counts):
    """Probability of each frame: a class out of those there are, then a frame that has it."""
    having = {}
    for frame, row in enumerate(counts):
        for label, pixels in enumerate(row):
            if pixels:
                having.setdefault(label, []).append(frame)
    chances = [Fraction(0)] * len(counts)
    for frames in having.values():
        for frame in frames:
            chances[frame] += Fraction(1, len(having)) * Fraction(1, len(frames))
    return chances


tables = arrays(
    np.int64,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.sampled_from([0, 1, 900]),
).filter(np.any)


@settings(deadline=None, max_examples=100)
@given(tables)
def test_class_balanced_weights_are_those_of_drawing_a_class_then_a_frame(counts):
    weights = class_balanced_weights(counts)
    np.testing.assert_allclose(weights, np.array(two_draws(counts.tolist()), float), atol=1e-12)
    assert weights.sum() == pytest.approx(1)


def test_class_balanced_draws_show_a_rare_class_as_often_as_a_common_one():
    """Nine frames of one class and one of another, drawn pass after pass."""
    counts = np.eye(2, dtype=int)[[0] * 9 + [1]]
    indices, _ = stream(10, 10, 0, class_balanced_weights(counts), stop_step=20)
    assert indices.count(9) == 100
