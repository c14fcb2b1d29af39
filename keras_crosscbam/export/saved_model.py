"""Export of Keras models to SavedModel folders, for TensorFlow Serving and similar tools."""

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
    """Writes a model as a SavedModel folder, and verifies it on images.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
        >>> kc.export.to_saved_model(model, "m").argmax_agreement  # doctest: +SKIP
        1.0

    The endpoint `serving_default` takes `image`, pixels of 0..255 `(batch, height, width, 3)`, and
    returns `{output: ...}`. The description is the file `keras_crosscbam.json` inside.

    Args:
        model: a functional `keras.Model` from images to scores. An auxiliary head is not exported.
        folder: the folder to write. It is only created if the comparison passes; an existing
            SavedModel of that name is replaced.
        input_size: `(height, width)`; None for the model's own size, which may be dynamic.
        batch: a fixed batch size, or None for any.
        input, output, frames: as in `to_onnx`.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, on other backends than TensorFlow, and if the folder
            contains other files.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            probabilities differ.
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
