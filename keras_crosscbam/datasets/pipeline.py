"""`tf.data` pipelines for training and evaluation, which depend only on seed and position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_crosscbam.datasets.argument_checks import (
    check_list,
    check_number,
    check_size,
    check_whole,
)
from keras_crosscbam.datasets.augment import (
    ClassMix,
    PhotometricDistortion,
    RandomFlip,
    RandomScaleCrop,
)
from keras_crosscbam.datasets.cache import Cached
from keras_crosscbam.datasets.keras_augmentation import as_augmentation
from keras_crosscbam.datasets.sampling import index_stream
from keras_crosscbam.tf_data import tf

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized
    from typing import Any

    import numpy as np

    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import Size

AUGMENTATIONS = (RandomFlip(), PhotometricDistortion())
"""The default augmentations of training crops."""


def training_batches(
    dataset: SegmentationDataset,
    crop_size: Size,
    batch_size: int,
    *,
    scale_range: tuple[float, float] = (0.5, 2.0),
    augmentations: Sequence[Any] = AUGMENTATIONS,
    class_mix: float = 0.0,
    sampling_weights: Sequence[float] | np.ndarray | None = None,
    seed: int = 0,
    start_step: int = 0,
    stop_step: int | None = None,
    shard: tuple[int, int] = (0, 1),
    cache: bool = True,
) -> tf.data.Dataset:
    """Returns shuffled and augmented batches for `model.fit`.

        >>> from keras_crosscbam.datasets import load_camvid, training_batches
        >>> data = load_camvid("CamVid", "train")  # doctest: +SKIP
        >>> batches = training_batches(data, (360, 480), batch_size=8)  # doctest: +SKIP

    A batch depends only on the seed and on its step in the training, not on threads or
    interruptions: with `start_step=700` the batches are the same as after 700 steps of a training
    without interruption. A batch may contain frames of two passes over the data, so every frame is
    used equally often.

    Args:
        dataset: a `SegmentationDataset`.
        crop_size: `(height, width)` of the batches in pixels.
        batch_size: number of frames in a batch.
        scale_range: smallest and largest random scale.
        augmentations: augmentations of the crops: callables of a sample
            `{"images", "segmentation_masks"}` and a seed, as in `keras_crosscbam.datasets.augment`,
            or layers that `KerasAugmentation` supports.
        class_mix: fraction of the crops, in 0..1, over which classes of another frame's crop are
            pasted; see `ClassMix`.
        sampling_weights: relative frequency of each frame, for example from
            `class_balanced_weights`; None to use each frame once in a pass.
        seed: integer that determines order and augmentation.
        start_step: first step, counted from 0.
        stop_step: step to stop before; None for no end.
        shard: `(index, count)` of this process, if several share every batch. It gets
            `batch_size / count` of the frames.
        cache: whether to keep the decoded frames in memory (0.2 GB for CamVid at 480x360), if there
            is enough memory; see `Cached`.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`: float32 `(batch, height, width, channels)` in
        0..255, and uint8 `(batch, height, width)` with 255 for ignored pixels.

    Raises:
        ValueError: for arguments out of range, or if the batch cannot be divided equally.
    """
    check_list("augmentations", augmentations)
    check_number("class_mix", class_mix, most=1)
    steps = [RandomScaleCrop(crop_size, scale_range), *map(as_augmentation, augmentations)]
    read = frame_reader(Cached(dataset) if cache else dataset)
    mix = ClassMix(class_mix)

    def crop(index, key):
        images, labels = read(index)
        sample = {"images": images, "segmentation_masks": labels}
        for step, part in zip(steps, tf.unstack(tf.random.split(key, len(steps))), strict=True):
            sample = step(sample, part)
        return sample

    def augmented(index, position):
        key = tf.stack([tf.constant(seed, tf.int64), position])
        sample = crop(index, key)
        if class_mix:
            sample = mixed(sample, tf.random.fold_in(key, 1))
        return sample["images"], sample["segmentation_masks"]

    def mixed(sample, key):
        chance, which, own, classes = tf.unstack(tf.random.split(key, 4))
        frame = tf.random.stateless_uniform([], which, 0, len(dataset), tf.int64)
        return tf.cond(
            mix.applies(chance),
            lambda: mix(sample, crop(frame, own), classes),
            lambda: sample,
        )

    frames = index_stream(
        len(dataset), batch_size, seed, sampling_weights, start_step, stop_step, shard
    )
    return (
        frames.map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size // shard[1], drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def steps_per_epoch(dataset: Sized, batch_size: int) -> int:
    """Returns the number of batches in about one pass over the data, at least one."""
    check_whole("batch_size", batch_size, least=1)
    return max(len(dataset) // batch_size, 1)


def evaluation_batches(
    dataset: SegmentationDataset, batch_size: int = 1, input_size: Size | None = None
) -> tf.data.Dataset:
    """Returns batches of complete frames in order, for validation in `model.fit`.

    Args:
        dataset: a `SegmentationDataset`. If `batch_size` is not 1, all frames must have the same
            size.
        batch_size: number of frames in a batch. The last batch may be smaller.
        input_size: `(height, width)` to resize images to. Labels are resized by nearest neighbor.
            `keras_crosscbam.evaluate` instead resizes the logits and evaluates at full size.

    Returns:
        A `tf.data.Dataset` of `(images, labels)` as in `training_batches`.

    Raises:
        ValueError: for arguments out of range.
    """
    check_whole("batch_size", batch_size, least=1)
    if input_size is not None:
        check_size("input_size", input_size)
    read = frame_reader(dataset)

    def sample(index):
        images, labels = read(index)
        images = tf.cast(images, tf.float32)
        if input_size is not None:
            images = tf.image.resize(images, input_size)
            labels = tf.image.resize(labels[..., None], input_size, method="nearest")[..., 0]
        return images, labels

    return (
        tf.data.Dataset.range(len(dataset))
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


MASK = tf.TensorSpec((None, None), tf.uint8)


def frame_reader(dataset, label=MASK):
    """Returns a TensorFlow function from an index to an image of a data set and its label.

    Args:
        dataset: a sequence of pairs of an image, uint8 `(height, width, channels)`, and a label.
        label: `tf.TensorSpec` of a label.

    Raises:
        ValueError: if `dataset` is not a data set, but for example a path.
    """
    if isinstance(dataset, str) or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            "`dataset` must be a data set, such as load_dataset(folder, split) returns. "
            f"Received: {dataset!r}"
        )

    channels = getattr(dataset, "channels", 3)

    def decode(index):
        return dataset[int(index)]

    def read(index):
        types = (tf.uint8, label.dtype)
        images, labels = tf.numpy_function(decode, [index], types, stateful=False)
        images.set_shape((None, None, channels))
        labels.set_shape(label.shape)
        return images, labels

    return read
