"""Keras to a SavedModel, for TensorFlow Serving and all that reads TensorFlow's own format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.export.verified import at_size, require_tensorflow, write_verified
from keras_crosscbam.runtime.description import write_beside
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.saved_model import SavedModelRuntime

if TYPE_CHECKING:
    from keras_crosscbam.export.parity import Parity
    from keras_crosscbam.types import Frames, StrPath


def to_saved_model(
    model: keras.Model,
    folder: StrPath,
    input_size: tuple[int | None, int | None] | None = None,
    batch: int | None = None,
    input: str = "float",
    output: str = "logits",
    frames: Frames | None = None,
) -> Parity:
    """Writes a model as a SavedModel folder, and proves it on real frames.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
        >>> kc.export.to_saved_model(model, "m").argmax_agreement  # doctest: +SKIP
        1.0

    Its endpoint `serving_default` takes `image`, pixels of 0..255 `(batch, height, width, 3)`, and
    returns `{output: ...}`. The file `keras_crosscbam.json` inside describes it.

    Args:
        model: a functional `keras.Model` from images to scores; of one with an auxiliary head, the
            main output.
        folder: the folder to write; an older SavedModel of that name is replaced. It appears only
            once it has passed the comparison.
        input_size: `(height, width)`; None for the model's own, which may be any size.
        batch: a fixed batch size, or None for any.
        input, output, frames: as in `to_onnx`.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, on another backend than TensorFlow, and if the
            folder holds something else.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            scores stand for other probabilities.
    """
    require_tensorflow("SavedModel")
    model = at_size(model, input_size, free=True)
    description, reference = describe(model, input, output), KerasRuntime(model)

    def write(unchecked):
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serving_default", serving_function(model, batch, description))
        archive.write_out(str(unchecked), verbose=False)
        write_beside(unchecked, description)

    return write_verified(folder, write, reference, SavedModelRuntime, frames, batch)
