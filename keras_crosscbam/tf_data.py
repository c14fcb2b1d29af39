"""TensorFlow as the input pipeline of all backends, or a sentence that says how to get it.

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
        "Training needs TensorFlow on the JAX and PyTorch backends too: its tf.data reads and "
        "augments the images for all of them. Install it with pip install 'keras-crosscbam[cpu]' "
        "(or [tensorflow], or [cuda]) and leave KERAS_BACKEND as it is.",
        name=error.name,
    ) from error

__all__ = ["tf"]
