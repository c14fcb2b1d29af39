"""Export of Keras models to LiteRT (TensorFlow Lite) files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.export.verified import at_size, quiet, require_tensorflow, write_verified
from keras_crosscbam.private_api import freeze, litert_converter_error
from keras_crosscbam.runtime.description import write_beside
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.litert import LiteRTRuntime

if TYPE_CHECKING:
    import keras

    from keras_crosscbam.export.parity import Parity
    from keras_crosscbam.types import Frames, Size, StrPath


def to_litert(
    model: keras.Model,
    path: StrPath,
    input_size: Size | None = None,
    batch: int = 1,
    input: str = "float",
    output: str = "logits",
    frames: Frames | None = None,
) -> Parity:
    """Writes a model as a float32 `.tflite` file of static shapes, and verifies it on images.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_litert(model, "m.tflite", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.5e-05

    The file takes pixels of 0..255 `(batch, height, width, 3)`. BatchNormalization is folded into
    the convolutions. The file contains only LiteRT's built-in operations, nearly all of which run
    in its XNNPACK kernels. The description is next to it, in `NAME.tflite.json`.

    Args:
        model: a functional `keras.Model` from images to scores. An auxiliary head is not exported.
        path: the file to write. It is only created if the comparison passes.
        input_size: `(height, width)`; None for the model's own size.
        batch: the fixed batch size.
        input, output, frames: as in `to_onnx`.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, on other backends than TensorFlow, and for models
            with operations that LiteRT does not support.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            probabilities differ.
        ImportError: if LiteRT is missing; `pip install keras-crosscbam[litert]`.
    """
    require_tensorflow("LiteRT")
    if batch is None or batch < 1:
        raise ValueError(f"`batch` must be a positive integer for LiteRT files. Received: {batch}")
    model = at_size(model, input_size)
    description, reference = describe(model, input, output), KerasRuntime(model)
    frozen = frozen_function(model, batch, description)

    def write(unchecked):
        unchecked.write_bytes(converted(converter(frozen).convert, model))
        write_beside(unchecked, description)

    return write_verified(path, write, reference, LiteRTRuntime, frames, batch)


def frozen_function(model, batch, description):
    """Returns the `serving_function` of a model of fixed size, with its weights as constants."""
    serve = serving_function(model, batch, description)
    return freeze(serve.get_concrete_function())


def converter(frozen):
    """Returns TensorFlow's float32 converter for a frozen function."""
    import tensorflow as tf

    # If the function has variables, the weights are lost when the quantizer runs the graph. If the
    # converter is created from the Keras model, it computes dilated convolutions in three steps.
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def converted(convert, model):
    """Returns `convert()`; raises a `ValueError` for operations that LiteRT does not support."""
    try:
        with quiet():
            return convert()
    except litert_converter_error() as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{model.name} has operations that LiteRT does not support ({reason}). Replace these "
            "layers, or export to another format."
        ) from error
