"""Exports models to files for other runtimes, and verifies each file against the Keras model."""

from keras_crosscbam.export.litert import to_litert
from keras_crosscbam.export.onnx import to_onnx
from keras_crosscbam.export.openvino import to_openvino
from keras_crosscbam.export.parity import Parity, ParityError
from keras_crosscbam.export.quantization.int8 import QuantizationError, QuantizationReport, quantize
from keras_crosscbam.export.saved_model import to_saved_model
from keras_crosscbam.export.tensorrt.engine import EngineReport, build_engine
from keras_crosscbam.export.triton import to_triton

__all__ = [
    "EngineReport",
    "Parity",
    "ParityError",
    "QuantizationError",
    "QuantizationReport",
    "build_engine",
    "quantize",
    "to_litert",
    "to_onnx",
    "to_openvino",
    "to_saved_model",
    "to_triton",
]
