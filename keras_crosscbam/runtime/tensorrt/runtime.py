"""Runs TensorRT engines."""

import math
import weakref

import numpy as np

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.signature import Tensor, signature
from keras_crosscbam.runtime.tensorrt.engine_file import open_engine

DTYPES = {"FLOAT": "float32", "HALF": "float16", "BOOL": "bool"}
"""NumPy names of the types whose lower-case TensorRT name differs."""


class TensorRTRuntime(Runtime):
    """Runs a segmentation network from a TensorRT engine of this package or of another tool.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.tensorrt.runtime import TensorRTRuntime
        >>> run = TensorRTRuntime("m1.engine")  # doctest: +SKIP
        >>> run(np.zeros((1024, 2048, 3), np.uint8)).shape  # doctest: +SKIP
        (1024, 2048)
        >>> print(1000 / np.median(run.time_device(1000)), "frames/s")  # doctest: +SKIP
        238.1 frames/s

    The network is recorded as a CUDA graph at the first run with each input shape, and replayed
    afterwards, which makes the overhead of the host's calls small.

    Attributes:
        memory: GPU memory of the engine and its buffers in bytes.

    Args:
        path: an `.engine` or `.plan` file for this GPU and this version of TensorRT.
        classes: the `ClassTable`, if the sidecar file `NAME.engine.json` does not contain one.
        trt: the TensorRT module; None for the one that matches the engine.

    Raises:
        ValueError: if the file is not an intact engine, was built by another version of TensorRT or
            for another GPU, or is not a segmentation network.
        ImportError: if TensorRT is missing.
        RuntimeError: if there is no driver or GPU, or TensorRT cannot open the file.
    """

    def __init__(self, path, classes=None, trt=None):
        engine, description, self._cuda, trt = open_engine(path, trt)
        weakref.finalize(self, self._cuda.close)
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1:
            raise ValueError(f"{path}: expected one input, the image. Received: inputs {inputs}")
        image, output = (
            tensor(engine.get_tensor_shape(name), engine.get_tensor_dtype(name))
            for name in (inputs[0], outputs[0])
        )
        super().__init__(
            str(path), classes=classes, **signature(str(path), image, output, description)
        )
        self._context, self._shape = engine.create_execution_context(), None
        self._input, self._output = inputs[0], outputs[0]
        self._profile = [image.shape] * 3
        if None in image.shape:
            self._profile = [tuple(s) for s in engine.get_tensor_profile_shape(self._input, 0)]
        self._set_shape(self._profile[2])
        self._host, self._device = {}, {}
        for name in names:
            dtype = np.dtype(_dtype(engine.get_tensor_dtype(name)))
            size = math.prod(self._context.get_tensor_shape(name))
            self._host[name] = self._cuda.pinned(size * dtype.itemsize).view(dtype)
            self._device[name] = self._cuda.allocate(size * dtype.itemsize)
            self._context.set_tensor_address(name, self._device[name])
        self.memory = self._cuda.free_at_start - self._cuda.free_memory()

    def run(self, prepared):
        most = self._profile[2][0]
        if len(prepared) > most:
            parts = [prepared[i : i + most] for i in range(0, len(prepared), most)]
            return np.concatenate([self.run(part).copy() for part in parts])
        self._record(prepared.shape)
        image = self._host[self._input][: prepared.size]
        output_shape = tuple(self._context.get_tensor_shape(self._output))
        output = self._host[self._output][: math.prod(output_shape)]
        np.copyto(image.reshape(prepared.shape), prepared)
        self._cuda.to_device(self._device[self._input], image)
        self._launch()
        self._cuda.to_host(output, self._device[self._output])
        self._cuda.synchronize()
        return output.reshape(output_shape)

    def time_device(self, runs=1000, batch=None, warm_up=100):
        """Measures the time of the network on the GPU with CUDA events, without copies.

        Args:
            runs: number of timed runs.
            batch: batch size for an engine with a dynamic batch; None for the size that the engine
                is optimized for.
            warm_up: number of runs before the timed ones, in which the GPU raises its clock.

        Returns:
            Milliseconds for a batch, float64 of shape `(runs,)`.
        """
        shape = self._profile[1]
        self._record((batch or shape[0], *shape[1:]))
        self._cuda.time(self._launch, warm_up)
        return self._cuda.time(self._launch, runs)

    def _set_shape(self, shape):
        if not self._context.set_input_shape(self._input, shape):
            raise ValueError(
                f"{self.name} takes inputs from {self._profile[0]} to {self._profile[2]}. "
                f"Received: {tuple(shape)}"
            )

    def _record(self, shape):
        """Sets the input shape and records the network; `_launch` then starts it."""
        if shape == self._shape:
            return
        self._shape = None
        self._set_shape(shape)
        # The first run does work that a graph cannot contain, such as loading kernels.
        self._enqueue()
        self._cuda.synchronize()
        self._launch = self._cuda.capture(self._enqueue) or self._enqueue
        self._shape = shape

    def _enqueue(self):
        if not self._context.execute_async_v3(self._cuda.stream):
            raise RuntimeError(f"{self.name}: TensorRT could not start the network")


def tensor(shape, dtype):
    """Returns a `Tensor` for a shape and `DataType` of TensorRT."""
    return Tensor(tuple(None if side == -1 else side for side in shape), _dtype(dtype))


def _dtype(dtype):
    return DTYPES.get(dtype.name, dtype.name.lower())
