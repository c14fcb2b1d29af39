"""Runtimes: one interface to trained networks in any file format.

>>> import keras_crosscbam
>>> run = keras_crosscbam.runtime.load("cross_cbam.onnx")  # doctest: +SKIP
>>> labels = run(image)  # doctest: +SKIP
"""

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.loading import load
from keras_crosscbam.runtime.tta import TTARuntime

__all__ = ["Description", "Runtime", "TTARuntime", "load"]
