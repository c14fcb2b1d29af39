"""A SavedModel folder as a runtime, run by TensorFlow."""

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import read_beside
from keras_crosscbam.runtime.errors import unreadable
from keras_crosscbam.runtime.signature import Tensor, only, signature

ENDPOINTS = ("serving_default", "serve")


class SavedModelRuntime(Runtime):
    """Runs a segmentation network from a folder with a `saved_model.pb`.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.saved_model import SavedModelRuntime
        >>> run = SavedModelRuntime("cross_cbam")  # doctest: +SKIP
        >>> run(np.zeros((720, 960, 3), np.uint8)).shape  # doctest: +SKIP
        (720, 960)

    The endpoint `serving_default` is run, or `serve`, or the only one there is.

    Args:
        path: the folder. Its description is the file `keras_crosscbam.json` inside.
        classes: the `ClassTable`, where the description does not carry one.

    Raises:
        ValueError: for an unreadable folder, and for one that is no segmentation network.
    """

    reuses_output = False

    def __init__(self, path, classes=None):
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:  # TensorFlow raises a class of its own for each cause
            raise unreadable(path, "SavedModel", error) from error
        endpoints = dict(self._loaded.signatures)
        names = [name for name in ENDPOINTS if name in endpoints] or list(endpoints)
        if not names or (names[0] not in ENDPOINTS and len(names) > 1):
            raise ValueError(
                f"{path}: expected a SavedModel with an endpoint 'serving_default'. "
                f"Received: endpoints {names}"
            )
        self._endpoint, self._constant = endpoints[names[0]], tf.constant
        inputs = self._endpoint.structured_input_signature[1]
        self._input = only(path, list(inputs))
        described, outputs = read_beside(path), self._endpoint.structured_outputs
        named = described is not None and described.output in outputs
        self._output = described.output if named else next(iter(outputs))
        image, output = _tensor(inputs[self._input]), _tensor(outputs[self._output])
        read = signature(str(path), image, output, described, self.run)
        super().__init__(str(path), classes=classes, **read)

    def run(self, prepared):
        return self._endpoint(**{self._input: self._constant(prepared)})[self._output].numpy()


def _tensor(spec):
    shape = None if spec.shape.rank is None else tuple(spec.shape)
    return Tensor(shape, spec.dtype.name)
