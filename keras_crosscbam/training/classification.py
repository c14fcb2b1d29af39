"""Pretraining of an encoder as a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_crosscbam.datasets.argument_checks import check_range, check_size, check_whole
from keras_crosscbam.datasets.augment import (
    CutMix,
    MixUp,
    PhotometricDistortion,
    RandomFlip,
    rand_augment,
)
from keras_crosscbam.datasets.cache import Cached
from keras_crosscbam.datasets.pipeline import frame_reader, steps_per_epoch
from keras_crosscbam.datasets.sampling import frames_of_step, index_stream
from keras_crosscbam.models.inputs import with_preprocessing
from keras_crosscbam.models.stdc import STDC
from keras_crosscbam.models.surgery import as_functional
from keras_crosscbam.tf_data import tf
from keras_crosscbam.training.callbacks import check_callbacks
from keras_crosscbam.training.distribution import find_workers
from keras_crosscbam.training.phases import in_phases
from keras_crosscbam.training.resumable import open_run
from keras_crosscbam.variants import encoder_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from keras_crosscbam.datasets.classification import ClassificationDataset
    from keras_crosscbam.training.distribution import Workers
    from keras_crosscbam.training.recipe import PretrainingRecipe
    from keras_crosscbam.types import StrPath

MONITOR = "val_top1"
_CLASS = tf.TensorSpec((), tf.int64)


def pretrain(
    train_set: ClassificationDataset,
    val_set: ClassificationDataset,
    recipe: PretrainingRecipe,
    out: StrPath,
    workers: Workers | None = None,
    verbose: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains an STDC classifier with a recipe and saves the weights with the best top-1 accuracy.

        >>> from keras_crosscbam.datasets.classification import load_image_folders
        >>> from keras_crosscbam.training import PRETRAINING_RECIPES, pretrain
        >>> best = pretrain(load_image_folders("imagenet", "train"),
        ...     load_image_folders("imagenet", "val"),
        ...     PRETRAINING_RECIPES["imagenet1k-stdc1"], "runs/stdc1")  # doctest: +SKIP
        >>> model = keras_crosscbam.CrossCBAM_M(backbone_weights=best)  # doctest: +SKIP

    The folder `out` and resuming after an interruption work as in
    `keras_crosscbam.training.segmentation.train`.

    Args:
        train_set, val_set: `ClassificationDataset`s with the same classes.
        recipe: a `PretrainingRecipe`.
        out: folder of the run, which is created if needed.
        workers: devices and machines to train on; None for all that are available.
        verbose: 0 for no progress line.
        callbacks: as in `train`.

    Returns:
        The path of `best.weights.h5`, with the weights of the complete classifier.

    Raises:
        ValueError: for a folder that contains another run, or images that cannot be read.
        RuntimeError: if the loss becomes NaN, the disk is full, or another process trains in the
            folder.
    """
    check_callbacks(callbacks)
    classes = len(train_set.classes)
    steps = recipe.steps_per_epoch or steps_per_epoch(train_set, recipe.batch_size)
    data = {
        "name": train_set.name,
        "classes": list(train_set.classes),
        "train_images": len(train_set),
        "val_images": len(val_set),
        "train_files": train_set.digest(),
        "val_files": val_set.digest(),
    }
    with open_run(out, recipe, steps, data, workers or find_workers()) as run:

        def make():
            model = STDC(
                recipe.backbone,
                input_shape=(None, None, 3),
                num_classes=classes,
                classifier_activation=None,
                dropout_rate=recipe.dropout_rate,
                weights=run.weights,
                alpha=recipe.alpha,
            )
            run.deepen(model, encoder_name("stdc1", recipe.alpha))
            return run.narrow(model, recipe.backbone)

        model = run.build(make)
        run.compile(
            model,
            loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=recipe.label_smoothing
            ),
            metrics=["accuracy"],
        )
        read = frame_reader(Cached(train_set) if recipe.cache else train_set, _CLASS)

        def batches_of(shard):
            def phase_batches(phase, start_step, stop_step):
                crop = RandomResizedCrop(phase.crop_size, recipe.area_range)
                stream = index_stream(
                    len(train_set),
                    recipe.batch_size,
                    recipe.seed,
                    start_step=start_step,
                    stop_step=stop_step,
                    shard=shard,
                )
                return (
                    stream.map(
                        _augmented(read, crop, recipe, classes, len(train_set)),
                        num_parallel_calls=tf.data.AUTOTUNE,
                        deterministic=True,
                    )
                    .batch(recipe.batch_size // shard[1], drop_remainder=True)
                    .prefetch(tf.data.AUTOTUNE)
                )

            return in_phases(recipe, steps, run.step, phase_batches)

        def files_of(step):
            frames = frames_of_step(len(train_set), recipe.batch_size, step, recipe.seed)
            return [train_set.files[i][0] for i in frames]

        return run.fit(
            model,
            batches_of,
            validation=TopOneValidation(model, val_set, recipe.validation_size),
            monitor=MONITOR,
            model_to_save=keras.Model(model.input, model.output),
            files_of=files_of,
            scores={"top-1": "accuracy", "val top-1": MONITOR},
            extra=callbacks,
            verbose=verbose,
        )


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crops a part of an image with random area and aspect ratio (3:4 to 4:3) and resizes it.

    Attributes:
        crop_size: `(height, width)` of the output in pixels.
        area_range: smallest and largest area, as a fraction of the area of the image.
    """

    crop_size: tuple[int, int]
    area_range: tuple[float, float]

    def __post_init__(self):
        check_size("crop_size", self.crop_size)
        check_range("area_range", self.area_range, positive=True, most=1)

    def __call__(self, sample, seed):
        images = sample["images"]
        start, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(images),
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=self.area_range,
            use_image_if_no_bounding_boxes=True,
        )
        part = tf.image.resize(tf.slice(images, start, size), self.crop_size)
        return {**sample, "images": tf.ensure_shape(part, (*self.crop_size, 3))}


def _augmented(read, crop, recipe, classes, images):
    """Returns a function from index and position in the training to an image and its classes."""
    steps = [crop, RandomFlip(), PhotometricDistortion()]
    if recipe.rand_augment:
        steps.append(rand_augment(recipe.rand_augment))
    mixes = [mix(a) for mix, a in ((MixUp, recipe.mixup), (CutMix, recipe.cutmix)) if a]

    def alone(index, key):
        image, label = read(index)
        sample = {"images": image}
        for step, own in zip(steps, tf.unstack(tf.random.split(key, len(steps))), strict=True):
            sample = step(sample, own)
        return {**sample, "labels": tf.one_hot(label, classes)}

    def mixed(sample, key):
        which, own, chance, amount = tf.unstack(tf.random.split(key, 4))
        index = tf.random.stateless_uniform([], which, 0, images, tf.int64)
        other = alone(index, own)
        if len(mixes) == 1:
            return mixes[0](sample, other, amount)
        return tf.cond(
            tf.random.stateless_uniform([], chance) < 0.5,
            lambda: mixes[0](sample, other, amount),
            lambda: mixes[1](sample, other, amount),
        )

    def augmented(index, position):
        key = tf.stack([tf.constant(recipe.seed, tf.int64), position])
        sample = alone(index, key)
        if mixes:
            sample = mixed(sample, tf.random.fold_in(key, 1))
        return sample["images"], sample["labels"]

    return augmented


class TopOneValidation:
    """Computes the top-1 accuracy of a classifier on central crops, with its current weights.

    Args:
        model: a classifier.
        dataset: a `ClassificationDataset`.
        size: side of the square crops in pixels. The shorter side of each image is resized to it.
    """

    def __init__(self, model, dataset, size):
        check_whole("size", size, least=1)
        # A separate model, so that prediction does not depend on the distribution of training.
        self.model = as_functional(with_preprocessing(model))
        self.images = len(dataset)
        read = frame_reader(dataset, _CLASS)

        def central_crop(index):
            image, label = read(index)
            sides = tf.cast(tf.shape(image)[:2], tf.float32)
            sides = tf.cast(tf.round(sides * size / tf.reduce_min(sides)), tf.int32)
            image = tf.image.resize(image, sides, antialias=True)
            return tf.image.resize_with_crop_or_pad(image, size, size), label

        self.batches = (
            tf.data.Dataset.range(self.images)
            .map(central_crop, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(50)
            .prefetch(tf.data.AUTOTUNE)
        )

    def __call__(self):
        """Returns a dict with `val_top1`, in 0..1."""
        right = 0
        for images, labels in self.batches.as_numpy_iterator():
            right += np.sum(self.model.predict_on_batch(images).argmax(axis=-1) == labels)
        return {MONITOR: float(right / self.images)}
