"""Keras to a LiteRT (TensorFlow Lite) file."""

from keras_crosscbam.export import parity
from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.export.verified import (
    at_size,
    frame_batches,
    kept_if_good,
    quiet,
    require_tensorflow,
)
from keras_crosscbam.runtime.description import write_beside
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.litert import LiteRTRuntime


def to_litert(model, path, input_size=None, batch=1, input="float", output="logits", frames=None):
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
        input: `"float"` or `"uint8"` pixels.
        output: `"logits"`, `"probabilities"`, `"labels"`, or `"coarse_logits"` before the last
            upsampling.
        frames: images, or paths of images, to compare on; None for a street photograph.

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
    with kept_if_good(path) as unchecked:
        unchecked.write_bytes(converted(converter(frozen).convert, model))
        write_beside(unchecked, description)
        images = frame_batches(frames, reference.size, batch, reference.channels)
        return parity.check(reference, LiteRTRuntime(unchecked), images)


def frozen_function(model, batch, description):
    """The `serving_function` of a model of fixed size, with its weights as constants."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    serve = serving_function(model, batch, description)
    return convert_variables_to_constants_v2(serve.get_concrete_function())


def converter(frozen):
    """TensorFlow's converter of a frozen function, set to float32."""
    import tensorflow as tf

    # Made of variables instead, it loses the weights when the quantizer runs the graph; made of
    # the Keras model, it computes dilated convolutions in three steps.
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def converted(convert, model):
    """What `convert` returns; a `ValueError` if the model has operations that LiteRT has not."""
    from tensorflow.lite.python.convert import ConverterError

    try:
        with quiet():
            return convert()
    except ConverterError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{model.name} has operations that LiteRT does not have ({reason}). Build it of "
            "layers that it has, or export to another format."
        ) from error
