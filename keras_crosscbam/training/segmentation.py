"""Training of a segmentation network with a recipe."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from keras_crosscbam.datasets.augment import (
    PhotometricDistortion,
    RandomErasing,
    RandomFlip,
    RandomRotation,
    Sometimes,
    appearance,
)
from keras_crosscbam.datasets.cache import Cached
from keras_crosscbam.datasets.label_statistics import balanced_weights, check_labels
from keras_crosscbam.datasets.pipeline import steps_per_epoch, training_batches
from keras_crosscbam.datasets.sampling import class_balanced_weights, frames_of_step
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.training.callbacks import check_callbacks
from keras_crosscbam.training.distribution import find_workers
from keras_crosscbam.training.fingerprint import describe_augmentations, describe_function
from keras_crosscbam.training.losses.distillation import SegmentationDistillation
from keras_crosscbam.training.losses.specification import make_loss
from keras_crosscbam.training.metrics import SegmentationMeanIoU
from keras_crosscbam.training.phases import in_phases
from keras_crosscbam.training.report import write_report
from keras_crosscbam.training.resumable import open_run
from keras_crosscbam.training.teachers import find_teachers
from keras_crosscbam.training.tensorboard import TensorBoardPictures
from keras_crosscbam.training.training_model import (
    built_model,
    check_recipe_for_build,
    training_model,
)
from keras_crosscbam.training.validation import SegmentationValidation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    import keras

    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.training.distribution import Workers
    from keras_crosscbam.training.recipe import Recipe
    from keras_crosscbam.types import InputShape, StrPath

MONITOR = "val_mean_iou"
logger = logging.getLogger(__name__)


def train(
    train_set: SegmentationDataset,
    val_set: SegmentationDataset,
    recipe: Recipe,
    out: StrPath,
    augmentations: Sequence[Any] | None = None,
    workers: Workers | None = None,
    verbose: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    build: Callable[[InputShape, ClassTable], keras.Model] | None = None,
) -> Path:
    """Trains a network with a recipe and saves the weights with the best validation mean IoU.

        >>> from keras_crosscbam.datasets import load_camvid
        >>> from keras_crosscbam.training import RECIPES, train
        >>> best = train(load_camvid("CamVid", "train"), load_camvid("CamVid", "val"),
        ...     RECIPES["camvid-m"], out="runs/camvid-m")  # doctest: +SKIP

    The function writes these files into the folder `out`: `run.json` (the recipe and the
    description of the data), `log.csv`, `checkpoints/`, TensorBoard logs (if TensorBoard is
    installed), `best.weights.h5` (the network without its auxiliary head), and in the end
    `report.html`. When run again after an interruption, it continues from the newest intact
    checkpoint, with the same batches as a run without interruption.

    Args:
        train_set: `SegmentationDataset` to train on.
        val_set: `SegmentationDataset` to validate on, at the size of its labels.
        recipe: a `Recipe`.
        out: folder of the run, which is created if needed. Several machines must share it.
        augmentations: augmentations of the crops that replace those of the recipe; see
            `training_batches`.
        workers: devices and machines to train on; None for all that are available, see
            `find_workers`.
        verbose: 0 for no progress line.
        callbacks: a list of `keras.callbacks.Callback`. At the end of an epoch they run after
            validation, whose scores are in their logs, and before the epoch's row of `log.csv`
            and its checkpoint are written. They run on every machine. Checkpoints do not contain
            their state: a resumed training uses the callbacks as they are passed.
        build: function that builds another network than that of the recipe, to train different
            networks in the same way. Its arguments are `input_shape=(None, None, channels)` and the
            `ClassTable` of the data. It returns a functional model from pixels of 0..255 to logits
            at their size, with the weights to start from. The recipe must not set an architecture
            or weights. Its variant, dropout rate and auxiliary head do not apply.

    Returns:
        The path of `best.weights.h5`.

    Raises:
        ValueError: for data that cannot be read or in which fewer than two classes are labeled,
            splits with different classes, a folder that contains another run, or `build` with a
            recipe that sets an architecture or weights.
        RuntimeError: if the loss becomes NaN, the disk is full, or another process trains in the
            folder.
    """
    check_callbacks(callbacks)
    if build:
        check_recipe_for_build(recipe)
    if train_set.classes.names != val_set.classes.names:
        raise ValueError(
            "`train_set` and `val_set` must have the same classes in the same order. Received: "
            f"{', '.join(train_set.classes.names)}; {', '.join(val_set.classes.names)}"
        )
    if train_set.channels != val_set.channels:
        raise ValueError(
            "`train_set` and `val_set` must have the same number of image channels. Received: "
            f"{train_set.channels} and {val_set.channels}"
        )
    teachers = find_teachers(recipe, train_set.classes)
    # Reading all files once also finds bad files before the training starts.
    counts, train_digests = train_set.read_all()
    val_counts, val_digests = val_set.read_all()
    check_labels(train_set, "train", counts.sum(axis=0))
    check_labels(val_set, "val", val_counts.sum(axis=0))
    steps = recipe.steps_per_epoch or steps_per_epoch(train_set, recipe.batch_size)
    data = {
        "name": train_set.name,
        "classes": list(train_set.classes.names),
        "num_classes": train_set.classes.num_classes,
        "train_frames": len(train_set),
        "val_frames": len(val_set),
        **{f"train_{part}": digest for part, digest in train_digests.items()},
        **{f"val_{part}": digest for part, digest in val_digests.items()},
        "augmentations": describe_augmentations(augmentations),
        "network": build and describe_function(build),
        "left_out": list(train_set.left_out),
    }
    with open_run(out, recipe, steps, data, workers or find_workers()) as run:
        model = run.build(lambda: training_model(train_set, recipe, run, teachers, build))
        compile_for(run, model, recipe, counts.sum(axis=0))
        sampling = class_balanced_weights(counts) if recipe.balanced_sampling else None

        def files_of(step):
            frames = frames_of_step(len(train_set), recipe.batch_size, step, recipe.seed, sampling)
            return [train_set.pairs[i][0] for i in frames]

        validation = SegmentationValidation(model, val_set, recipe.validation_size)
        pictures = []
        if run.workers.is_chief and find_spec("tensorboard"):
            pictures.append(TensorBoardPictures(run.out / "tensorboard" / "pictures", validation))
        best = run.fit(
            model,
            lambda shard: phased_batches(
                train_set, recipe, steps, run.step, augmentations, sampling, shard, model.output
            ),
            validation=validation,
            monitor=MONITOR,
            model_to_save=inference_model(model),
            files_of=files_of,
            scores=progress_scores(len(val_set.classes)),
            extra=[*pictures, *callbacks],
            verbose=verbose,
        )
        if run.workers.is_chief:
            _report(run.out, best, recipe, val_set, build)
        return best


def progress_scores(classes):
    """Returns the argument `scores` of `Progress` for a network with `classes` classes."""
    over = f"over {{val_classes_in_mean}} of {classes} classes"
    return {"mIoU": "main_mean_iou", f"val mIoU {over}": MONITOR}


def _report(out, best, recipe, val_set, build):
    # The model of the report computes in float32, independent of the dtype policy in training.
    if build:
        model = inference_model(built_model(build, val_set))
        model.load_weights(best)
    else:
        input_shape = (None, None, val_set.channels)
        model = CrossCBAM(
            **recipe.network, input_shape=input_shape, classes=val_set.classes, weights=best
        )
    try:
        write_report(out, model, val_set, recipe.validation_size)
    except ImportError as error:
        logger.info("No report: %s", error)


def compile_for(run, model, recipe, counts):
    """Compiles a training model, including any auxiliary head, with the settings of a recipe.

    Args:
        run: the `Run`.
        model: the model.
        recipe: a `Recipe`.
        counts: number of labeled pixels of each class, for the class weights.
    """
    weights = None
    if recipe.class_balance:
        weights = balanced_weights(counts, recipe.class_balance).tolist()
    losses = {
        head: make_loss(loss, weights, recipe.focal_gamma, recipe.label_smoothing)
        for head, loss in (("main", recipe.loss), ("aux", recipe.aux_loss))
        if head in model.output
    }
    loss_weights = {"main": 1.0, "aux": recipe.aux_weight}
    if recipe.teacher:
        losses["distilled"] = SegmentationDistillation(recipe.temperature)
        loss_weights["distilled"] = recipe.distillation_weight
    run.compile(
        model,
        loss=losses,
        loss_weights={head: loss_weights[head] for head in losses},
        metrics={"main": [SegmentationMeanIoU(model.output["main"].shape[-1])]},
    )


def phased_batches(
    train_set,
    recipe,
    steps,
    start_step=0,
    augmentations=None,
    sampling=None,
    shard=(0, 1),
    outputs=("main", "aux"),
):
    """Returns the batches of a recipe from a step on, with labels for each model output."""
    options = crop_options(recipe)
    if augmentations is not None:
        options["augmentations"] = augmentations
    # All phases use the same cache.
    frames = Cached(train_set) if recipe.cache else train_set

    def batches_of(phase, start_step, stop_step):
        return training_batches(
            frames,
            phase.crop_size,
            recipe.batch_size,
            **options,
            sampling_weights=sampling,
            seed=recipe.seed,
            start_step=start_step,
            stop_step=stop_step,
            shard=shard,
            cache=False,
        )

    return in_phases(recipe, steps, start_step, batches_of).map(
        lambda images, labels: (images, dict.fromkeys(outputs, labels))
    )


def crop_options(recipe):
    """Returns the settings of a recipe for its crops, as arguments of `training_batches`."""
    augmentations = [RandomFlip()]
    if recipe.rotation:
        augmentations.append(RandomRotation(recipe.rotation))
    if recipe.photometric:
        augmentations.append(PhotometricDistortion())
    if recipe.appearance:
        augmentations += appearance(recipe.appearance)
    if recipe.erasing:
        augmentations.append(Sometimes(RandomErasing(), recipe.erasing))
    return {
        "scale_range": recipe.scale_range,
        "augmentations": augmentations,
        "class_mix": recipe.class_mix,
    }
