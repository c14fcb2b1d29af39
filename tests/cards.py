"""What a test of TensorRT needs, or else is left out, saying so."""

import pytest

from keras_crosscbam.runtime.tensorrt import cuda
from keras_crosscbam.runtime.tensorrt.engine_file import find_tensorrt


def need_rtx():
    """TensorRT-RTX, which builds without a GPU: `pip install keras-crosscbam[tensorrt-rtx]`."""
    try:
        return find_tensorrt("TensorRT-RTX")
    except ImportError as error:
        pytest.skip(f"builds no engines: {error}")


def need_no_card():
    try:
        cuda.connect().close()
    except RuntimeError:
        return
    pytest.skip("there is a GPU: what a machine without one answers is left out")


def need_card():
    try:
        cuda.connect().close()
        return find_tensorrt()
    except (RuntimeError, ImportError) as error:
        pytest.skip(f"runs no engines: {error}")
