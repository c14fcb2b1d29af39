"""A Keras model as a runtime, on whichever backend Keras runs."""

from dataclasses import replace

import keras

from keras_crosscbam.models.activation import final_activation
from keras_crosscbam.models.inputs import NORMALIZATION, with_preprocessing
from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.messages import unreadable
from keras_crosscbam.runtime.signature import Tensor, only, signature


class KerasRuntime(Runtime):
    """Runs a `keras.Model` from images to scores, or to labels.

        >>> import numpy as np
        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.runtime.keras_model import KerasRuntime
        >>> run = KerasRuntime(kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3)))
        >>> run(np.zeros((90, 120, 3), np.uint8)).shape
        (90, 120)

    Args:
        model: a functional or sequential model; of one with an auxiliary head the main output is
            run. For one built with `include_preprocessing=False` pixels are normalized.
        classes: the `ClassTable`, where the model has no attribute `classes`.

    Raises:
        ValueError: for a model that is not built, and for one that is no segmentation network.
    """

    def __init__(self, model, classes=None):
        if not getattr(model, "inputs", None):
            raise ValueError(
                f"Keras model {model.name!r} has no inputs yet: give its first layer an input "
                "shape, or make it a functional model, keras.Model(inputs, outputs)"
            )
        self._given = inference_model(model)
        self.model = with_preprocessing(self._given)
        name = f"Keras model {model.name!r}"
        image, output = only(name, self.model.inputs), self.model.outputs[0]
        read = signature(name, _tensor(image), _tensor(output), run=self.run)
        if final_activation(self.model) is not None and read["description"].output == "logits":
            read["description"] = replace(read["description"], output="probabilities")
        super().__init__(name, classes=classes or getattr(model, "classes", None), **read)

    def normalize_by(self, normalization):
        super().normalize_by(normalization)
        self.model = self._given

    def _takes_raw_pixels(self):
        return any(layer.name == NORMALIZATION for layer in self._given._flatten_layers())

    def run(self, prepared):
        return self.model.predict_on_batch(prepared)


def keras_file(path, classes=None):
    """The `KerasRuntime` of a `.keras` file; `ValueError` for one that Keras cannot read."""
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras passes on what the zip file, HDF5 and JSON readers raise
        raise unreadable(path, ".keras file", error) from error
    return KerasRuntime(model, classes)


def _tensor(symbolic):
    return Tensor(tuple(symbolic.shape), str(symbolic.dtype))
