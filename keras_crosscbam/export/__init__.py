"""Files for other runtimes, each compared with the Keras model before it is kept."""

from keras_crosscbam.export.onnx import to_onnx
from keras_crosscbam.export.parity import Parity, ParityError

__all__ = ["Parity", "ParityError", "to_onnx"]
