"""What every training is made of: a folder, a recipe, and a `fit` that can be interrupted."""

import contextlib
import hashlib
import json
import logging
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import keras

from keras_crosscbam.manifest import list_weights
from keras_crosscbam.models.deepen import deepened
from keras_crosscbam.models.narrow import narrowed
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.tf_data import tf
from keras_crosscbam.training.callbacks import (
    EpochLog,
    KeepBest,
    LogAndCheckpoint,
    Progress,
    SeedDropout,
    StopOnNaN,
)
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.distribution import WorkerLostError, Workers
from keras_crosscbam.training.early_stopping import EarlyStopping
from keras_crosscbam.training.final_epochs import FreezeStatistics
from keras_crosscbam.training.fingerprint import REMEDY, bind, describe
from keras_crosscbam.training.lock import only_process
from keras_crosscbam.training.optimizers import SGD, AdamW
from keras_crosscbam.training.schedules import PolySchedule

BEST, LOG, CHECKPOINTS, DESCRIPTION = "best.weights.h5", "log.csv", "checkpoints", "run.json"
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_run(out, recipe, steps_per_epoch, data, workers):
    """The `Run` in a folder, which no other process trains in within this context.

    Args:
        out, recipe, steps_per_epoch, data, workers: attributes of the `Run`.

    Raises:
        ValueError: if the folder holds a run of another recipe or other data.
        RuntimeError: if another process trains in the folder, or workers of one training have
            different data.
    """
    # The workers of one training share the folder; the one that writes speaks for all of them.
    with only_process(Path(out)) if workers.is_chief else contextlib.nullcontext():
        yield Run(out, recipe, steps_per_epoch, data, workers)


@dataclass
class Run:
    """The folder of a training; made, or found again after an interruption.

    Attributes:
        out: the folder.
        recipe: an `Optimization`.
        steps_per_epoch: steps between two checkpoints.
        data: what the recipe is applied to, a dict of JSON values; a folder is bound to it.
        workers: what `find_workers` found.
        step: the step that the run goes on with, 0 at the beginning.
        state: the checkpoint to load, None at the beginning.
    """

    out: Path
    recipe: object
    steps_per_epoch: int
    data: dict
    workers: Workers
    step: int = field(init=False)
    state: Path | None = field(init=False)

    def __post_init__(self):
        self.out = Path(self.out)
        keep = max(2, self.recipe.average_epochs)
        self.checkpoints = Checkpoints(self.out / CHECKPOINTS, keep)
        description = describe(self.recipe, self.data)
        self.workers.agree(
            _number({**description["data"], "name": None}),
            "have different data: each must have the same files",
        )
        bind(
            self.out / DESCRIPTION,
            description,
            self.recipe,
            has_weights=self.best.is_file() or self.checkpoints.any(),
            write=self.workers.is_chief,
        )
        self.step, self.state = self.checkpoints.newest()
        self.workers.agree(
            self.step,
            "resume from different steps: the folder of the run must be shared by all of them",
        )

    @property
    def best(self):
        """The file of the best weights."""
        return self.out / BEST

    @property
    def log(self):
        """The file of the figures of each epoch."""
        return self.out / LOG

    @property
    def weights(self):
        """The weights to start from: those of the recipe, unless a checkpoint is loaded anyway."""
        return None if self.state else self.recipe.weights

    def deepen(self, model, shallow):
        """Loads the recipe's `deepened_from`, of an architecture of that name, if there is any."""
        if self.recipe.deepened_from and not self.state:
            deepened(find_weights(self.recipe.deepened_from, shallow)).load_into(model)
        return model

    def narrow(self, model, *wide):
        """Loads the recipe's `narrowed_from`, if there is any, into a narrower network.

        Args:
            model: the narrower network. Of weights that have only the encoder in common with it,
                the encoder is loaded alone.
            wide: architectures that a name may stand for; the first one that ships counts.
        """
        name = self.recipe.narrowed_from
        if name and not self.state:
            shipped = {entry["architecture"] for entry in list_weights().get(name, [])}
            wide = next((architecture for architecture in wide if architecture in shipped), wide[0])
            weights = narrowed(find_weights(name, wide), model)
            weights.load_into(model, backbone_only=not weights.reach_beyond_encoder(model))
        return model

    def build(self, make):
        """Builds a model under the recipe's seed and dtype policy, on all devices."""
        keras.utils.set_random_seed(self.recipe.seed)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.recipe.dtype_policy)
        try:
            with self.workers.scope():
                return self.workers.adapt(make())
        finally:
            keras.config.set_dtype_policy(policy)

    def compile(self, model, **losses):
        """Compiles a model with the recipe's optimizer."""
        with self.workers.scope():
            model.compile(
                optimizer=make_optimizer(self.recipe, self.recipe.epochs * self.steps_per_epoch),
                jit_compile=self.recipe.jit_compile,
                **losses,
            )
            # Built now, so that a checkpoint finds its places.
            model.optimizer.build(model.trainable_variables)

    def fit(
        self,
        model,
        batches_of,
        validation,
        monitor,
        model_to_save,
        files_of,
        scores,
        extra=(),
        verbose=1,
    ):
        """Trains from the newest checkpoint to the end.

        Args:
            model: the compiled model.
            batches_of: function of a shard `(index, count)` that makes the batches from `step` on.
            validation, monitor, model_to_save: what `KeepBest` takes.
            files_of: function of a step that names its files.
            scores: what `Progress` shows.
            extra: callbacks of one's own, behind `KeepBest`: they see the scores of each epoch.
                What they add to the logs is in the epoch's row.
            verbose: 0 for no progress line.

        Returns:
            The path of the best weights.

        Raises:
            ValueError: if a finished run has lost its best weights.
        """
        recipe, chief = self.recipe, self.workers.is_chief
        epoch = self.step // self.steps_per_epoch
        log = EpochLog(self.log, epochs=epoch)
        stopping = EarlyStopping(log.rows, monitor, recipe.early_stopping, self.workers)
        if epoch == recipe.epochs or stopping.is_over:
            if not self.best.is_file():
                raise ValueError(f"{self.out} is a finished run without its {BEST}. {REMEDY}")
            if chief and verbose:
                done = f"all {epoch}" if epoch == recipe.epochs else f"{epoch} of {recipe.epochs}"
                print(f"{self.out}: already finished, {done} epochs; nothing is trained.")
            return self.best
        if epoch and chief and verbose:
            print(f"{self.out}: goes on after {epoch} of {recipe.epochs} epochs.", flush=True)
        if self.state:
            model.load_weights(self.state)
        best = self.best if chief else None
        callbacks = [
            SeedDropout(recipe.seed),
            StopOnNaN(self.steps_per_epoch, files_of),
            KeepBest(
                validation,
                monitor,
                model_to_save,
                best,
                recipe.epochs,
                recipe.validation_freq,
                keep_last=recipe.keep == "last",
                checkpoints_of=self._averaged_with,
            ),
            *extra,
            stopping,
        ]
        if recipe.freeze_batch_norm_epochs:
            first = recipe.epochs - recipe.freeze_batch_norm_epochs
            callbacks.insert(0, FreezeStatistics(first))
        size = (self.steps_per_epoch, recipe.batch_size)
        if chief:
            callbacks += [LogAndCheckpoint(log, self.checkpoints, *size)]
            if find_spec("tensorboard"):
                folder = self.out / "tensorboard"
                callbacks.append(keras.callbacks.TensorBoard(folder, write_graph=False))
            else:
                logger.info("No TensorBoard logs: `pip install tensorboard` for them")
        if chief and verbose:
            callbacks.append(Progress(recipe.epochs, *size, scores))
        try:
            model.fit(
                self.workers.feed(batches_of),
                steps_per_epoch=self.steps_per_epoch,
                initial_epoch=epoch,
                epochs=recipe.epochs,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
        except tf.errors.InvalidArgumentError as error:
            # TensorFlow wraps what went wrong in reading a file.
            if unreadable := re.search(r"ValueError: (.*)", str(error)):
                raise ValueError(unreadable[1]) from error
            raise
        except self.workers.lost as error:
            raise WorkerLostError(
                f"{self.out}: another worker of this training is gone. Start it again; the others "
                "resume with it from the last checkpoint."
            ) from error
        if stopping.is_over and chief and verbose:
            print(
                f"{self.out}: stopped early, {recipe.early_stopping} validations in a row were no "
                "better than the best."
            )
        return self.best

    def _averaged_with(self, epoch):
        """The checkpoints whose weights are averaged with those after an epoch."""
        wanted = self.recipe.average_epochs - 1
        if wanted < 1 or epoch + 1 < self.recipe.epochs:
            return []
        files = self.checkpoints.intact(wanted)
        if len(files) < wanted:
            logger.warning(
                "%s: only %d of the %d checkpoints to average over are there and intact",
                self.out,
                len(files),
                wanted,
            )
        return files


def make_optimizer(recipe, total_steps):
    """The optimizer of a recipe, for a training of so many steps."""
    schedule = PolySchedule(
        recipe.learning_rate,
        total_steps,
        recipe.end_learning_rate,
        # A short training must not spend itself on warming up.
        warmup_steps=min(recipe.warmup_steps, total_steps // 10),
    )
    common = {
        "learning_rate": schedule,
        "backbone_rate": getattr(recipe, "backbone_rate", 1.0),
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
        "use_ema": recipe.ema > 0,
        "ema_momentum": recipe.ema,
    }
    if recipe.optimizer == "sgd":
        return SGD(momentum=0.9, l2=recipe.weight_decay, **common)
    return AdamW(weight_decay=recipe.weight_decay, **common)


def _number(values):
    """A whole number that tells JSON values from others."""
    return int(hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:15], 16)
