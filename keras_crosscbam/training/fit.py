"""One training from recipe and data to the best weights, resumable at every epoch."""

import csv
import json
import logging
from dataclasses import asdict
from functools import reduce
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from keras_crosscbam.datasets.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.training.losses import SegmentationCrossEntropy
from keras_crosscbam.training.metrics import SegmentationMeanIoU
from keras_crosscbam.training.schedules import PolySchedule
from keras_crosscbam.variants import VARIANTS

MONITOR = "val_main_mean_iou"
BEST, BACKUP, LOG = "best.weights.h5", "backup", "log.csv"
logger = logging.getLogger(__name__)


def train(train_set, val_set, recipe, out, weights=None, validation_freq=5, verbose="auto"):
    """Trains a network by a recipe and keeps the weights with the best validation mean IoU.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.datasets import load_camvid
        >>> from keras_crosscbam.training import RECIPES
        >>> from keras_crosscbam.training.fit import train
        >>> best = train(load_camvid("CamVid", "train"), load_camvid("CamVid", "val"),
        ...     RECIPES["camvid-m"], out="runs/camvid-m")  # doctest: +SKIP

    The folder `out` receives `recipe.json`, `log.csv`, TensorBoard logs (if that is installed),
    `best.weights.h5` (the training model with its auxiliary head), and in the end
    `model.weights.h5`, the best weights without it. Called again after an interruption, it
    goes on with the epoch that was cut off, on the very batches that an undisturbed run would have
    seen.

    Args:
        train_set: `SegmentationDataset` to learn from.
        val_set: `SegmentationDataset` to choose by, judged at the frames' own size.
        recipe: a `Recipe`.
        out: folder of the run; made if need be.
        weights: name, path or URL of weights to start from; None for a random start.
        validation_freq: epochs between two validations; the last epoch always has one.
        verbose: as in `keras.Model.fit`.

    Returns:
        The path of `model.weights.h5`.

    Raises:
        ValueError: for data that cannot be read, or a folder that holds a run of another recipe.
        RuntimeError: if the losses became NaN before the first validation.
    """
    out = Path(out)
    # Reading everything once also finds bad files now, not hours into the training.
    counts = train_set.count_pixels()
    val_set.count_pixels()
    _claim(out, recipe)
    keras.utils.set_random_seed(recipe.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(recipe.dtype_policy)
    try:
        model = CrossCBAM(
            VARIANTS[recipe.variant].backbone,
            input_shape=(None, None, 3),
            num_classes=len(train_set.classes),
            aux_head=True,
            weights=weights,
        )
    finally:
        keras.config.set_dtype_policy(policy)
    steps = steps_per_epoch(train_set, recipe.batch_size)
    compile_for(model, recipe, steps * recipe.epochs, class_weights(counts, recipe))
    model.fit(
        phased_batches(train_set, recipe, start_epoch=_finished_epochs(out)),
        steps_per_epoch=steps,
        epochs=recipe.epochs,
        validation_data=evaluation_batches(val_set).map(_for_both_heads),
        validation_freq=[
            epoch
            for epoch in range(1, recipe.epochs + 1)
            if epoch % validation_freq == 0 or epoch == recipe.epochs
        ],
        callbacks=_callbacks(out, recipe.seed),
        shuffle=False,
        verbose=verbose,
    )
    best = out / BEST
    if not best.exists():
        raise RuntimeError(
            f"{out}: no validation was reached with finite weights; log.csv shows the losses. "
            "A lower learning rate helps where they became NaN."
        )
    model.load_weights(best)
    final = out / "model.weights.h5"
    inference_model(model).save_weights(final)
    return final


def compile_for(model, recipe, total_steps, weights=None):
    """Compiles a training model, with its auxiliary head, as a recipe says."""
    schedule = PolySchedule(
        recipe.learning_rate,
        total_steps,
        recipe.end_learning_rate,
        warmup_steps=recipe.warmup_steps,
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay),
        loss={head: SegmentationCrossEntropy(weights) for head in ("main", "aux")},
        loss_weights={"main": 1.0, "aux": recipe.aux_weight},
        metrics={"main": [SegmentationMeanIoU(model.output["main"].shape[-1])]},
    )


def phased_batches(train_set, recipe, start_epoch=0):
    """The batches of all phases of a recipe, from an epoch on, with labels for both heads."""
    phases, first = [], 0
    for phase in recipe.phases:
        last = first + phase.epochs
        # A phase that is over stays, empty: with it the batches keep their dynamic shape, and so
        # the traced network its rounding.
        phases.append(
            training_batches(
                train_set,
                phase.crop_size,
                recipe.batch_size,
                scale_range=recipe.scale_range,
                photometric=recipe.photometric,
                seed=recipe.seed,
                start_epoch=max(start_epoch, first),
                epochs=last,
            )
        )
        first = last
    return reduce(lambda a, b: a.concatenate(b), phases).map(_for_both_heads)


def class_weights(counts, recipe):
    """Weights `share ** -class_balance`, with mean 1 over the labelled pixels; None for none.

    Args:
        counts: labelled pixels of each class, as `SegmentationDataset.count_pixels` gives them.
        recipe: a `Recipe`.
    """
    if not recipe.class_balance:
        return None
    shares = counts / counts.sum()
    weights = np.maximum(shares, 1e-6) ** -recipe.class_balance
    return (weights / (weights * shares).sum()).tolist()


def _for_both_heads(images, labels):
    return images, {"main": labels, "aux": labels}


def _claim(out, recipe):
    """Writes the recipe into a new folder; an old one must hold the same."""
    out.mkdir(parents=True, exist_ok=True)
    written, file = json.dumps(asdict(recipe), indent=2), out / "recipe.json"
    if file.exists() and json.loads(file.read_text()) != json.loads(written):
        raise ValueError(f"{out} holds a run of another recipe; choose another folder or remove it")
    file.write_text(written)


class SaveBest(keras.callbacks.Callback):
    """Keeps the weights of the best validation; `ModelCheckpoint` also saves where there was none.

    Args:
        path: a `.weights.h5` file, replaced whole or not at all.
        best: score to beat, None for none yet.
    """

    def __init__(self, path, best=None):
        super().__init__()
        self.path = path
        self.best = best

    def on_epoch_end(self, epoch, logs=None):
        score = (logs or {}).get(MONITOR)
        if score is None or (self.best is not None and score <= self.best):
            return
        unfinished = self.path.with_name(f"unfinished-{self.path.name}")
        self.model.save_weights(unfinished)
        unfinished.replace(self.path)
        self.best = score


class SeedDropout(keras.callbacks.Callback):
    """Starts the dropout of each epoch from a state of its own; Keras does not save such states.

    Args:
        seed: whole number that, with the epoch, determines the masks.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        generators = [getattr(layer, "seed_generator", None) for layer in self.model.layers]
        for index, generator in enumerate(filter(None, generators)):
            generator.state.assign(np.array([self.seed + index, epoch], "uint32"))


def _callbacks(out, seed):
    callbacks = [
        keras.callbacks.TerminateOnNaN(),
        SeedDropout(seed),
        SaveBest(out / BEST, _best_so_far(out / LOG)),
        keras.callbacks.CSVLogger(out / LOG, append=True),
        keras.callbacks.BackupAndRestore(
            out / BACKUP, double_checkpoint=True, delete_checkpoint=False
        ),
    ]
    if find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False))
    else:
        logger.info("No TensorBoard logs: `pip install tensorboard` for them")
    return callbacks


def _finished_epochs(out):
    """How many epochs the backup of an interrupted run stands for."""
    metadata = out / BACKUP / "training_metadata.json"
    if not metadata.exists():
        return 0
    epochs = json.loads(metadata.read_text())["epoch"]
    logger.info("Resuming after epoch %d", epochs)
    return epochs


def _best_so_far(log):
    """The best validation mean IoU that an interrupted run has logged, or None."""
    if not log.exists():
        return None
    with log.open(newline="") as file:
        scores = [
            float(row[MONITOR]) for row in csv.DictReader(file) if row[MONITOR] not in ("", "NA")
        ]
    return max(scores, default=None)
