"""A stand-in for a card: an engine that ONNX Runtime computes, in memory of the host.

It has the methods of NVIDIA's classes that `TensorRTRuntime` calls, and reads and writes at the
addresses it is given, so that whatever the runtime does with buffers and shapes is done for real.
"""

import ctypes
from types import SimpleNamespace

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8", "tensor(int64)": "INT64"}
TRT = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"))


class HostCuda:
    """The methods of `CudaBindings`; `captured` counts the graphs."""

    stream, free_at_start = 0, 2**20

    def __init__(self):
        self.captured, self.closed, self._kept = 0, False, []

    def free_memory(self):
        return self.free_at_start - sum(array.nbytes for array in self._kept)

    def allocate(self, nbytes):
        self._kept.append(np.full(nbytes, 255, np.uint8))
        return self._kept[-1].ctypes.data

    def pinned(self, nbytes):
        return np.full(nbytes, 255, np.uint8)

    def to_device(self, address, array):
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def to_host(self, array, address):
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def synchronize(self):
        pass

    def time(self, function, runs):
        for _ in range(runs):
            function()
        return np.ones(runs)

    def capture(self, function):
        self.captured += 1
        return function

    def close(self):
        self.closed = True


class HostEngine:
    """The methods of an `ICudaEngine` and of its `IExecutionContext`."""

    def __init__(self, path, profile=None):
        self._session = onnxruntime.InferenceSession(str(path))
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._ends = {end.name: end for end in ends}
        self._names, self._profile = [end.name for end in ends], profile
        self.num_io_tensors = len(ends)
        self._addresses, self._shape, self.runs = {}, None, []

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return "input" if name == self._names[0] else "output"

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=TYPES[self._ends[name].type])

    def get_tensor_profile_shape(self, name, index):
        return self._profile

    def create_execution_context(self):
        return self

    def set_input_shape(self, name, shape):
        fits = self._profile is None or all(
            low <= side <= high
            for low, side, high in zip(self._profile[0], shape, self._profile[2], strict=True)
        )
        if fits:
            self._shape = tuple(shape)
        return fits

    def get_tensor_shape(self, name):
        """Of the engine until there is an input shape, then of the context."""
        shape = [side if isinstance(side, int) else -1 for side in self._ends[name].shape]
        if self._shape:
            shape = [b if a == -1 else a for a, b in zip(shape, self._shape, strict=False)]
        return tuple(shape)

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def execute_async_v3(self, stream):
        image = self._names[0]
        if image not in self._addresses:
            return False
        dtype = {"FLOAT": np.float32, "UINT8": np.uint8}[self.get_tensor_dtype(image).name]
        given = np.empty(self._shape, dtype)
        ctypes.memmove(given.ctypes.data, self._addresses[image], given.nbytes)
        results = self._session.run(None, {image: given})
        for name, result in zip(self._names[1:], results, strict=True):
            ctypes.memmove(self._addresses[name], result.ctypes.data, result.nbytes)
        self.runs.append(self._shape)
        return True
