"""Keras to a LiteRT (TensorFlow Lite) file."""

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
    """Writes a model as a float32 `.tflite` file of static shapes, and proves it on real frames.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_litert(model, "m.tflite", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.5e-05

    It takes pixels of 0..255 `(batch, height, width, 3)`. BatchNormalization is folded into the
    convolutions, and there are none but LiteRT's own operations, nearly all of which its XNNPACK
    kernels run. The description lies beside it, in `NAME.tflite.json`.

    Args:
        model: a functional `keras.Model` from images to scores; of one with an auxiliary head, the
            main output.
        path: the file to write. It appears only once it has passed the comparison.
        input_size: `(height, width)`; None for the model's own size.
        batch: the fixed batch size.
        input, output, frames: as in `to_onnx`.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, on another backend than TensorFlow, and for models
            with operations that LiteRT does not have.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            scores stand for other probabilities.
        ImportError: if LiteRT is missing; `pip install keras-crosscbam[litert]`.
    """
    require_tensorflow("LiteRT")
    if batch is None or batch < 1:
        raise ValueError(f"`batch` is fixed in LiteRT files, and positive. Received: {batch}")
    model = at_size(model, input_size)
    description, reference = describe(model, input, output), KerasRuntime(model)
    frozen = frozen_function(model, batch, description)

    def write(unchecked):
        unchecked.write_bytes(converted(converter(frozen).convert, model))
        write_beside(unchecked, description)

    return write_verified(path, write, reference, LiteRTRuntime, frames, batch)


def frozen_function(model, batch, description):
    """The `serving_function` of a model of fixed size, with its weights as constants."""
    serve = serving_function(model, batch, description)
    return freeze(serve.get_concrete_function())


def converter(frozen):
    """TensorFlow's converter of a frozen function, set to float32."""
    import tensorflow as tf

    # Made of variables instead, it loses the weights when the quantizer runs the graph; made of
    # the Keras model, it computes dilated convolutions in three steps.
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def converted(convert, model):
    """What `convert` returns; a `ValueError` if the model has operations that LiteRT has not."""
    try:
        with quiet():
            return convert()
    except litert_converter_error() as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{model.name} has operations that LiteRT does not have ({reason}). Build it of "
            "layers that it has, or export to another format."
        ) from error
