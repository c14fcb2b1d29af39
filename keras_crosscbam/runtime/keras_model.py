"""A Keras model as a runtime, on whichever backend Keras runs."""

import numpy as np

from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.runtime.base import Runtime


class KerasRuntime(Runtime):
    """Runs a `keras.Model` that returns scores at the size of its input."""

    def __init__(self, model, classes=None):
        self.model = inference_model(model)
        _, height, width, _ = self.model.input_shape
        super().__init__(
            name=f"Keras model {model.name!r}",
            size=None if height is None or width is None else (height, width),
            num_classes=self.model.output_shape[-1],
            classes=classes or getattr(model, "classes", None),
        )

    def logits(self, images):
        return self.model.predict_on_batch(np.asarray(images, np.float32))
