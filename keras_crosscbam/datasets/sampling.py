"""Order of the frames in training, which depends only on seed and position."""

import numpy as np

from keras_crosscbam.datasets.argument_checks import check_whole
from keras_crosscbam.tf_data import tf


def frame_order(frames, seed, weights=None):
    """Returns a function that computes the order of the frames in a pass over the data.

    Args:
        frames: number of frames.
        seed: integer seed.
        weights: relative frequency of each frame; None to use each frame once in a pass.

    Returns:
        A TensorFlow function from the number of the pass, a scalar counted from 0, to int64 indices
        `(frames,)`.

    Raises:
        ValueError: if there is not one weight for each frame, or if weights are negative or all 0.
    """
    shares = None if weights is None else _cumulated(weights, frames)

    def order(number):
        seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), number]), 2)
        indices = tf.range(frames, dtype=tf.int64)
        if shares is not None:
            # Evenly spaced points with one random offset. The number of times that a frame is
            # drawn differs from its weight's share by less than one.
            offset = tf.random.stateless_uniform([], seeds[1], dtype=tf.float64)
            points = (tf.cast(indices, tf.float64) + offset) / frames
            indices = tf.searchsorted(tf.constant(shares), points, side="right", out_type=tf.int64)
            indices = tf.minimum(indices, frames - 1)
        return tf.random.experimental.stateless_shuffle(indices, seed=seeds[0])

    return order


def _cumulated(weights, frames):
    weights = np.asarray(weights, np.float64)
    total = weights.sum()
    if weights.shape != (frames,) or not (weights >= 0).all() or not 0 < total < np.inf:
        raise ValueError(
            f"The sampling weights must be {frames} numbers, one for each frame, of at least 0 and "
            f"not all 0. Received: shape {weights.shape}, sum {total}"
        )
    return np.cumsum(weights / total)


def index_stream(
    frames, batch_size, seed, weights=None, start_step=0, stop_step=None, shard=(0, 1)
):
    """Returns the frames in the order of training, with their positions in the training.

    The batch of a step has the positions from `step * batch_size` on. It may contain frames of two
    passes over the data.

    Args:
        frames, seed, weights: as in `frame_order`.
        batch_size: number of frames in a step, for all processes together.
        start_step: first step, counted from 0.
        stop_step: step to stop before; None for no end.
        shard: `(index, count)` of this process, if several share every batch.

    Returns:
        A `tf.data.Dataset` of int64 scalars `(index, position)`.

    Raises:
        ValueError: for arguments out of range, or if a batch cannot be divided equally.
    """
    check_whole("frames", frames, least=1)
    check_whole("batch_size", batch_size, least=1)
    check_whole("seed", seed, least=-(2**63))
    check_whole("start_step", start_step, least=0)
    if stop_step is not None:
        check_whole("stop_step", stop_step, least=start_step)
    index, count = shard
    check_whole("shard", index, least=0)
    check_whole("shard", count, least=index + 1)
    if batch_size % count:
        raise ValueError(
            f"`batch_size` must be a multiple of the number of workers, {count}. "
            f"Received: {batch_size}"
        )
    order, share = frame_order(frames, seed, weights), batch_size // count

    def positions_of(number):
        positions = number * frames + tf.range(frames, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((order(number), positions))

    first, offset = divmod(start_step * batch_size, frames)
    passes = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    stream = passes.flat_map(positions_of).skip(offset)
    if stop_step is not None:
        stream = stream.take((stop_step - start_step) * batch_size)
    if count > 1:
        stream = stream.filter(lambda _, position: position % batch_size // share == index)
    return stream


def frames_of_step(frames, batch_size, step, seed, weights=None):
    """Returns the indices of the frames in the batch of a step, which is counted from 0."""
    order = frame_order(frames, seed, weights)
    positions = range(step * batch_size, (step + 1) * batch_size)
    passes = {p // frames for p in positions}
    orders = {number: order(tf.constant(number, tf.int64)).numpy() for number in passes}
    return [int(orders[p // frames][p % frames]) for p in positions]


def class_balanced_weights(counts):
    """Returns sampling weights with which all classes occur about equally often.

    The weight is the probability of a frame if first a class and then one of its frames is drawn
    at random.

    Args:
        counts: number of labeled pixels, `(frames, classes)`.

    Returns:
        float64 `(frames,)` with sum 1.

    Raises:
        ValueError: if no pixel is labeled.
    """
    present = np.asarray(counts) > 0
    if not present.any():
        raise ValueError("No pixel of the data set is labeled, so classes cannot be balanced.")
    frames_with = present.sum(axis=0)
    weights = (present[:, frames_with > 0] / frames_with[frames_with > 0]).sum(axis=1)
    return weights / weights.sum()
