"""A Keras model as a runtime, on whichever backend Keras runs."""

from dataclasses import replace

import keras

from keras_crosscbam.models.activation import final_activation, last_activation
from keras_crosscbam.models.class_names import classes_of
from keras_crosscbam.models.inputs import NORMALIZATION, with_preprocessing
from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.private_api import flatten_layers
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.errors import unreadable
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
        classes: as in `keras_crosscbam.runtime.load`.

    Raises:
        ValueError: for a model that is not built, for one that is no segmentation network, and for
            one of one class that ends neither in logits nor in a sigmoid.
    """

    reuses_output = False

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
        kind = _kind(name, self.model) if _is_one_score(output) else None
        read = signature(
            name, _tensor(image), _tensor(output), run=self.run, kind=kind, layout="nhwc"
        )
        description = replace(read["description"], classes=classes_of(self.model))
        if final_activation(self.model) is not None and description.output == "logits":
            description = replace(description, output="probabilities")
        super().__init__(name, classes=classes, **{**read, "description": description})

    def normalize_by(self, normalization):
        super().normalize_by(normalization)
        self.model = self._given

    def _takes_raw_pixels(self):
        return any(layer.name == NORMALIZATION for layer in flatten_layers(self._given))

    def run(self, prepared):
        return self.model.predict_on_batch(prepared)


def keras_file(path, classes=None):
    """The `KerasRuntime` of a `.keras` file; `ValueError` for one that Keras cannot read."""
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras passes on what the zip file, HDF5 and JSON readers raise
        raise unreadable(path, ".keras file", error) from error
    return KerasRuntime(model, classes)


def _is_one_score(output):
    """Whether there is one float a pixel: the score of one class."""
    return len(output.shape) == 4 and output.shape[-1] == 1 and "float" in str(output.dtype)


def _kind(name, model):
    """What the one score of a model is; `ValueError` where that cannot be told."""
    kinds = {"linear": "logits", "sigmoid": "probabilities"}
    activation = last_activation(model)
    if activation not in kinds:
        raise ValueError(
            f"{name} gives one score a pixel, which must be a logit or a probability: let it end "
            f"in a layer without activation, or in a sigmoid. Received: activation {activation!r}"
        )
    return kinds[activation]


def _tensor(symbolic):
    return Tensor(tuple(symbolic.shape), str(symbolic.dtype))
