"""Data-parallel training on several devices and machines.

Every batch is divided among the replicas, so the result of a training does not depend on their
number, except for rounding. `find_workers` selects the strategy:

- TensorFlow with `TF_CONFIG` set: MultiWorkerMirroredStrategy;
- TensorFlow with several GPUs: MirroredStrategy;
- JAX with several devices: `keras.distribution.DataParallel`, on one machine.
"""

import contextlib
import json
import os

import keras
import numpy as np

from keras_crosscbam.private_api import BuiltByExample, flatten_layers


def find_workers():
    """Returns the `Workers` that this process trains on; see the docstring of this module.

    >>> from keras_crosscbam.training.distribution import find_workers
    >>> find_workers().is_chief
    True
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if _cluster_size() > 1:
            return MultiWorkers()
        if len(tf.config.list_logical_devices("GPU")) > 1:
            return Replicas()
    if backend == "jax" and len(keras.distribution.list_devices()) > 1:
        return JaxDevices()
    return Workers()


def _cluster_size():
    """Returns the number of processes that `TF_CONFIG` names, 0 if it is unset or empty."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return 0
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        size = sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
        if size > 1:
            task, index = config["task"]["type"], int(config["task"]["index"])
            cluster[task][index]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, or unset. Received: {text!r}'
        ) from error
    return size


class WorkerLostError(RuntimeError):
    """Raised if another process of a training has ended or cannot be reached."""


class Workers:
    """Training on a single device, and base class of the other kinds of workers.

    Attributes:
        index: index of this process, counted from 0.
        count: number of processes of the training.
        replicas: number of devices of all processes.
        strategy: the `tf.distribute` strategy, or None.
        lost: exception types that are raised when another process has ended.
    """

    index = 0
    count = 1
    replicas = 1
    strategy = None
    lost = ()

    @property
    def is_chief(self):
        """Whether this process writes the files of the run."""
        return self.index == 0

    def scope(self):
        """Returns the context to build and compile the model in."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def adapt(self, model):
        """Returns the model to fit, which shares the layers of `model`."""
        return model

    def feed(self, batches_of):
        """Returns the batches to fit on, from a function of a shard `(index, count)`."""
        return batches_of((self.index, self.count))

    def agree(self, number, otherwise):
        """Raises a `RuntimeError` if the processes have different numbers.

        Args:
            number: integer of up to 60 bits.
            otherwise: predicate of the error message, whose subject is "The workers".
        """

    def of_chief(self, number):
        """Returns the value that the chief has for an integer or boolean."""
        return number


class Replicas(Workers):
    """Training on the GPUs of this machine with `tf.distribute.MirroredStrategy`.

    Args:
        devices: names of devices; None for all GPUs.
    """

    def __init__(self, devices=None):
        import tensorflow as tf

        self.strategy = tf.distribute.MirroredStrategy(devices)
        self.replicas = self.strategy.num_replicas_in_sync

    def adapt(self, model):
        return _with_synchronized_batch_norm(model) if self.replicas > 1 else model


class MultiWorkers(Workers):
    """Training with several TensorFlow processes that are listed in `TF_CONFIG`."""

    def __init__(self):
        import tensorflow as tf

        self.lost = (tf.errors.UnavailableError, tf.errors.AbortedError)
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        resolver = self.strategy.cluster_resolver
        cluster = resolver.cluster_spec()
        self.count = sum(cluster.num_tasks(job) for job in cluster.jobs)
        chiefs = cluster.num_tasks("chief") if "chief" in cluster.jobs else 0
        self.index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
        self.replicas = self.strategy.num_replicas_in_sync

    def adapt(self, model):
        model = _with_synchronized_batch_norm(model)
        return _multi_worker_model(self)(model.inputs, model.output, name=model.name)

    def feed(self, batches_of):
        batches = batches_of((self.index, self.count))
        self.spec = batches.element_spec
        local = self.replicas // self.count
        if local > 1:
            batches = batches.rebatch(self.spec[0].shape[0] // local)
        return self.strategy.distribute_datasets_from_function(lambda _: batches)

    def agree(self, number, otherwise):
        if len(np.unique(self._of_all(number))) > 1:
            raise RuntimeError(f"The workers {otherwise}.")

    def of_chief(self, number):
        return int(self._of_all(number)[0])

    def _of_all(self, number):
        import tensorflow as tf

        numbers = self.strategy.run(lambda: tf.constant([number], tf.int64))
        return np.asarray(self.strategy.gather(numbers, axis=0))


class JaxDevices(Workers):
    """Training on all JAX devices of this machine with `keras.distribution.DataParallel`."""

    def __init__(self):
        import jax

        if jax.process_count() > 1:
            raise RuntimeError(
                "On JAX this package trains on the devices of one machine. For several machines "
                "use KERAS_BACKEND=tensorflow and TF_CONFIG."
            )
        self.replicas = jax.device_count()
        # Set for the entire process, because `fit` also uses it, not only variable creation.
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def _with_synchronized_batch_norm(model):
    """Returns the model after setting BatchNormalization to use the statistics of all replicas.

    JAX does not need this: there a batch is one array over all devices.
    """
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return model


def _multi_worker_model(workers):
    import tensorflow as tf

    class MultiWorkerModel(BuiltByExample, keras.Model):
        """A model whose `fit` works with MultiWorkerMirroredStrategy.

        `keras.Model.fit` of Keras 3 does not (github.com/keras-team/keras/issues/20585): it
        averages the inputs of the workers to find their shapes, and averages scalar results along
        an axis.
        """

        def make_train_function(self, force=False):
            if self.train_function is not None and not force:
                return
            strategy = workers.strategy

            @tf.function(reduce_retracing=True)
            def step(iterator):
                logs = strategy.run(self.train_step, args=(next(iterator),))
                return {
                    name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()
                }

            self.train_function = step

        def example_batch(self):
            return keras.tree.map_structure(
                lambda spec: np.zeros([n or 32 for n in spec.shape], spec.dtype.as_numpy_dtype),
                workers.spec,
            )

    return MultiWorkerModel


def count_replicas():
    """Returns the number of replicas of the current `tf.distribute` strategy, 1 without one.

        >>> from keras_crosscbam.training.distribution import count_replicas
        >>> count_replicas()
        1

    On the JAX and PyTorch backends it is always 1. With `keras.distribution` a JAX array contains
    the complete batch.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(x):
    """Sums a tensor over the replicas of a `tf.distribute` strategy.

        >>> from keras_crosscbam.training.distribution import sum_over_replicas
        >>> total, replicas = sum_over_replicas(3.0)  # in a single process
        >>> total, replicas
        (3.0, 1)

    Args:
        x: a tensor with the same shape in all replicas.

    Returns:
        A pair: the sum, and the number of replicas. Outside of a replica, `x` and 1.
    """
    replicas = count_replicas()
    if replicas == 1:
        return x, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return x, 1
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x), replicas
