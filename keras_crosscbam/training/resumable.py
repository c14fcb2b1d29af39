"""Runs of trainings that can be interrupted and resumed."""

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
from keras_crosscbam.training.keep_best import KeepBest
from keras_crosscbam.training.lock import only_process
from keras_crosscbam.training.optimizers import make_optimizer

BEST, LOG, CHECKPOINTS, DESCRIPTION = "best.weights.h5", "log.csv", "checkpoints", "run.json"
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_run(out, recipe, steps_per_epoch, data, workers):
    """Context that yields the `Run` in a folder and locks the folder for other processes.

    Args:
        out, recipe, steps_per_epoch, data, workers: attributes of the `Run`.

    Raises:
        ValueError: if the folder contains a run with another recipe or other data.
        RuntimeError: if another process trains in the folder, or workers of one training have
            different data.
    """
    # The workers of one training share the folder, so only the worker that writes locks it.
    with only_process(Path(out)) if workers.is_chief else contextlib.nullcontext():
        yield Run(out, recipe, steps_per_epoch, data, workers)


@dataclass
class Run:
    """A training in a folder, which is created or, after an interruption, resumed.

    Attributes:
        out: path of the folder.
        recipe: an `Optimization`.
        steps_per_epoch: number of steps between two checkpoints.
        data: description of the data sets, a dict of JSON values. It must be the same when the run
            is resumed.
        workers: the `Workers` that `find_workers` returns.
        step: the step to continue with, 0 for a new run.
        state: path of the checkpoint to load, None for a new run.
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
            "have different data: all of them must have the same files",
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
        """Path of the file of the best weights."""
        return self.out / BEST

    @property
    def log(self):
        """Path of the log file with a row for each epoch."""
        return self.out / LOG

    @property
    def weights(self):
        """The weights of the recipe to start from, None if a checkpoint is loaded."""
        return None if self.state else self.recipe.weights

    def deepen(self, model, shallow):
        """Loads the recipe's `deepened_from`, if it is set, and returns the model.

        `shallow` is the architecture of shipped weights.
        """
        if self.recipe.deepened_from and not self.state:
            deepened(find_weights(self.recipe.deepened_from, shallow)).load_into(model)
        return model

    def narrow(self, model, *wide):
        """Loads the recipe's `narrowed_from`, if it is set, into a narrower network.

        Args:
            model: the narrower network. If it has only the encoder in common with the weights, only
                the encoder is loaded.
            wide: architectures of shipped weights. The first one that exists for the name is used.

        Returns:
            The model.
        """
        name = self.recipe.narrowed_from
        if name and not self.state:
            shipped = {entry["architecture"] for entry in list_weights().get(name, [])}
            wide = next((architecture for architecture in wide if architecture in shipped), wide[0])
            weights = narrowed(find_weights(name, wide), model)
            weights.load_into(model, backbone_only=not weights.reach_beyond_encoder(model))
        return model

    def build(self, make):
        """Builds a model with the recipe's seed and dtype policy, on all devices."""
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
            # Creates the optimizer's variables, so that a checkpoint can be loaded into them.
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
            batches_of: function of a shard `(index, count)` that returns the batches from `step`
                on.
            validation, monitor, model_to_save: arguments of `KeepBest`.
            files_of: function from a step to its files.
            scores: the argument of `Progress`.
            extra: further callbacks. They run after `KeepBest`, so the scores of the epoch are in
                the logs. Values that they add to the logs are written into the epoch's row.
            verbose: 0 for no progress line.

        Returns:
            The path of the best weights.

        Raises:
            ValueError: if the best weights of a finished run are missing.
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
                print(f"{self.out}: already finished, {done} epochs. Nothing to train.")
            return self.best
        if epoch and chief and verbose:
            print(f"{self.out}: resuming after {epoch} of {recipe.epochs} epochs.", flush=True)
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
            # TensorFlow wraps errors that are raised when a file is read.
            if unreadable := re.search(r"ValueError: (.*)", str(error)):
                raise ValueError(unreadable[1]) from error
            raise
        except self.workers.lost as error:
            raise WorkerLostError(
                f"{self.out}: another worker of this training has ended or cannot be reached. "
                "Start all workers again: the training resumes from the last checkpoint."
            ) from error
        if stopping.is_over and chief and verbose:
            print(
                f"{self.out}: stopped early after {recipe.early_stopping} consecutive validations "
                "without a new best score."
            )
        return self.best

    def _averaged_with(self, epoch):
        """Returns the checkpoints whose weights are averaged with those after an epoch."""
        wanted = self.recipe.average_epochs - 1
        if wanted < 1 or epoch + 1 < self.recipe.epochs:
            return []
        files = self.checkpoints.intact(wanted)
        if len(files) < wanted:
            logger.warning(
                "%s: only %d of the %d checkpoints to average over exist and are intact",
                self.out,
                len(files),
                wanted,
            )
        return files


def _number(values):
    """Returns an integer that is a digest of JSON values."""
    return int(hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:15], 16)
