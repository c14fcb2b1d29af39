"""What the workers of one training tell each other: sums over all of them."""

import keras


def count_replicas():
    """Replicas that train in step under the `tf.distribute` strategy of this call; 1 for none.

        >>> from keras_crosscbam.training.replicas import count_replicas
        >>> count_replicas()
        1

    On the JAX and PyTorch backends always 1: under `keras.distribution` a JAX array is whole.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(x):
    """Sums a tensor over the replicas of a `tf.distribute` strategy.

        >>> from keras_crosscbam.training.replicas import sum_over_replicas
        >>> total, replicas = sum_over_replicas(3.0)  # in a single process
        >>> total, replicas
        (3.0, 1)

    Args:
        x: a tensor, of the same shape in all replicas.

    Returns:
        The sum, and the number of replicas it goes over; `x` itself and 1 outside a replica.
    """
    replicas = count_replicas()
    if replicas == 1:
        return x, 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return x, 1
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x), replicas
