"""One interface over every format a trained network runs in.

>>> import keras_crosscbam
>>> run = keras_crosscbam.runtime.load("cross_cbam.onnx")  # doctest: +SKIP
>>> labels = run(image)  # doctest: +SKIP
"""

from pathlib import Path

import keras

from keras_crosscbam.runtime.base import Runtime

__all__ = ["Runtime", "load"]


def load(model, classes=None):
    """Makes a `Runtime` of a model or a file.

    Args:
        model: a `keras.Model`, a `Runtime`, or the path of a `.keras` or `.onnx` file.
        classes: the `ClassTable`, where the model does not carry one.

    Returns:
        A `Runtime`.

    Raises:
        ValueError: for anything else, and for files that are missing or damaged.
    """
    if isinstance(model, Runtime):
        return model
    if isinstance(model, keras.Model):
        return _keras_runtime(model, classes)
    path = Path(model)
    if path.suffix not in (".keras", ".onnx"):
        raise ValueError(
            "Expected a Keras model or the path of a .keras or .onnx file. "
            f"Received: {model!r}. Weights alone go through CrossCBAM_M(weights=...)."
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix == ".onnx":
        from keras_crosscbam.runtime.onnx import OnnxRuntime

        return OnnxRuntime(path, classes)
    try:
        return _keras_runtime(keras.saving.load_model(path, compile=False), classes)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a readable .keras file ({error})") from error


def _keras_runtime(model, classes):
    from keras_crosscbam.runtime.keras_model import KerasRuntime

    return KerasRuntime(model, classes)
