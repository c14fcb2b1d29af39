"""From files to batches: `tf.data` pipelines that are a pure function of seed and position."""

import numpy as np
import tensorflow as tf

from keras_crosscbam.datasets.augment import PhotometricDistortion, RandomFlip, RandomScaleCrop


def training_batches(
    dataset,
    crop_size,
    batch_size,
    *,
    scale_range=(0.5, 2.0),
    photometric=True,
    seed=0,
    start_epoch=0,
    epochs=None,
    cache=True,
):
    """Shuffled, augmented batches for `model.fit`.

        >>> from keras_crosscbam.datasets import load_camvid
        >>> from keras_crosscbam.datasets.pipeline import training_batches
        >>> data = load_camvid("CamVid", "train")  # doctest: +SKIP
        >>> batches = training_batches(data, (360, 480), batch_size=8, epochs=10)  # doctest: +SKIP

    Every batch depends on the seed and its position in the whole training alone, neither on
    threads nor on how often the training was interrupted: with `start_epoch=7` the stream goes on
    exactly as it would have without a stop after epoch 7.

    Args:
        dataset: a `SegmentationDataset`.
        crop_size: `(height, width)` of the batches in pixels.
        batch_size: frames a batch; an epoch has `steps_per_epoch(dataset, batch_size)` batches.
        scale_range: smallest and largest random scale.
        photometric: whether to vary brightness, contrast, saturation and hue.
        seed: whole number that determines order and augmentation.
        start_epoch: the epoch, counted from 0, to start with.
        epochs: the epoch to end before; None repeats forever.
        cache: whether to keep the decoded frames in memory (0.2 GB for CamVid at 480x360).

    Returns:
        A `tf.data.Dataset` of `(images, labels)`: float32 `(batch, height, width, 3)` in 0..255
        and uint8 `(batch, height, width)`, ignore 255.
    """
    steps = steps_per_epoch(dataset, batch_size)
    augmentations = [RandomScaleCrop(crop_size, scale_range), RandomFlip()]
    if photometric:
        augmentations.append(PhotometricDistortion())
    read = _reader(dataset, cache)

    def order_of(epoch):
        """Indices of an epoch; data sets smaller than a batch are gone through repeatedly."""
        shuffled = tf.random.experimental.stateless_shuffle(
            tf.range(len(dataset), dtype=tf.int64), seed=tf.stack([seed, epoch])
        )
        positions = tf.range(steps * batch_size, dtype=tf.int64)
        indices = tf.gather(shuffled, positions % len(dataset))
        return tf.data.Dataset.from_tensor_slices((indices, epoch * steps * batch_size + positions))

    def augmented(index, position):
        images, labels = read(index)
        sample = {"images": images, "segmentation_masks": labels}
        key = tf.stack([tf.constant(seed, tf.int64), position])
        keys = tf.unstack(tf.random.split(key, len(augmentations)))
        for augmentation, augmentation_key in zip(augmentations, keys, strict=True):
            sample = augmentation(sample, augmentation_key)
        return sample["images"], sample["segmentation_masks"]

    last = np.iinfo(np.int64).max if epochs is None else epochs
    return (
        tf.data.Dataset.range(start_epoch, last)
        .flat_map(order_of)
        .map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def steps_per_epoch(dataset, batch_size):
    """Whole batches in one pass over the data, at least one."""
    return max(len(dataset) // batch_size, 1)


def evaluation_batches(dataset, batch_size=1, input_size=None):
    """Whole frames in order, for validation in `model.fit`.

    Args:
        dataset: a `SegmentationDataset` whose frames have one size, unless `batch_size` is 1.
        batch_size: frames a batch; the last batch may be smaller.
        input_size: `(height, width)` to resize images to; the labels follow by nearest neighbour.
            `keras_crosscbam.evaluate` instead resizes the logits, and judges at full size.

    Returns:
        A `tf.data.Dataset` like that of `training_batches`.
    """
    read = _reader(dataset, cache=False)

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


def _reader(dataset, cache):
    """A TensorFlow function from an index to a decoded frame and its labels."""
    decoded = {}

    def decode(index):
        index = int(index)
        if index not in decoded:
            frame = dataset[index]
            if not cache:
                return frame
            decoded[index] = frame
        return decoded[index]

    def read(index):
        images, labels = tf.numpy_function(decode, [index], (tf.uint8, tf.uint8), stateful=False)
        images.set_shape((None, None, 3))
        labels.set_shape((None, None))
        return images, labels

    return read
