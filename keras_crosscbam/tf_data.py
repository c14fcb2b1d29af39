"""Imports TensorFlow for the input pipeline, or raises an error with install instructions.

>>> from keras_crosscbam.tf_data import tf
>>> int(tf.data.Dataset.range(3).cardinality())
3
"""

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    if error.name != "tensorflow":
        raise
    raise ModuleNotFoundError(
        "Training needs TensorFlow on the JAX and PyTorch backends too: tf.data reads and "
        "augments the images on all backends. Install it with "
        "pip install 'keras-crosscbam[cpu]' (or [tensorflow], or [cuda]). KERAS_BACKEND need not "
        "change.",
        name=error.name,
    ) from error

__all__ = ["tf"]
