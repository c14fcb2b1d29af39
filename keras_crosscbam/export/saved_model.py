"""Keras to a SavedModel, for TensorFlow Serving and all that reads TensorFlow's own format."""

import keras

from keras_crosscbam.export import parity
from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.export.verified import at_size, frame_batches, kept_if_good, require_tensorflow
from keras_crosscbam.runtime.description import write_beside
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.saved_model import SavedModelRuntime


def to_saved_model(
    model, folder, input_size=None, batch=None, input="float", output="logits", frames=None
):
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
        input: `"float"` or `"uint8"` pixels.
        output: `"logits"`, `"probabilities"`, `"labels"`, or `"coarse_logits"` before the last
            upsampling.
        frames: images, or paths of images, to compare on; None for a street photograph.

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
    with kept_if_good(folder) as unchecked:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serving_default", serving_function(model, batch, description))
        archive.write_out(str(unchecked), verbose=False)
        write_beside(unchecked, description)
        images = frame_batches(frames, reference.size, batch, reference.channels)
        return parity.check(reference, SavedModelRuntime(unchecked), images)
