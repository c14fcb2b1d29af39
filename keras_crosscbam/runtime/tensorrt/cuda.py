"""CUDA functions for running an engine, through cuda-bindings or pycuda."""

import contextlib
import ctypes
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: name reported by the driver.
        compute_capability: `(major, minor)`; a GTX 1080 Ti has (6, 1).
        memory: memory in bytes.
    """

    name: str
    compute_capability: tuple[int, int]
    memory: int

    def __str__(self):
        major, minor = self.compute_capability
        return f"{self.name} (compute capability {major}.{minor})"


def connect():
    """Opens the first CUDA device.

        >>> from keras_crosscbam.runtime.tensorrt import cuda
        >>> print(cuda.connect().device)  # doctest: +SKIP
        NVIDIA GeForce RTX 3060 (compute capability 8.6)

    It must be called before TensorRT, which raises an unclear TypeError or crashes with a
    segmentation fault if there is no driver.

    Returns:
        A `CudaBindings` or a `PyCuda` with `device`, `stream` (one stream for all work),
        `free_at_start` (free GPU memory in bytes at this time), and the methods below.

    Raises:
        RuntimeError: if there is no driver or no device, or neither Python package is installed.
    """
    missing = []
    for kind in (CudaBindings, PyCuda):
        try:
            return kind()
        except ImportError as error:
            missing.append(str(error))
    raise RuntimeError(
        "TensorRT's buffers need the package cuda-bindings, or pycuda, and neither can be "
        f"imported ({'; '.join(missing)}). Run `pip install cuda-bindings`."
    )


def _no_gpu(reason):
    return RuntimeError(
        f"There is no NVIDIA GPU to run on: {reason}. If the machine has one, install its driver; "
        "`nvidia-smi` must list the GPU."
    )


class CudaBindings:
    """CUDA functions through NVIDIA's cuda-bindings."""

    def __init__(self):
        from cuda.bindings import runtime

        self._runtime = runtime
        error, count = runtime.cudaGetDeviceCount()
        if error or count == 0:
            raise _no_gpu(self._reason(error) if error else "the driver lists none")
        properties = self._call("cudaGetDeviceProperties", 0)
        self.device = Device(
            name=properties.name.split(b"\0")[0].decode(),
            compute_capability=(properties.major, properties.minor),
            memory=properties.totalGlobalMem,
        )
        self._stream = self._call("cudaStreamCreate")
        self.stream = int(self._stream)
        self._device_memory, self._host_memory = [], []
        self.free_at_start = self.free_memory()

    def free_memory(self):
        """Returns the free GPU memory in bytes."""
        return self._call("cudaMemGetInfo")[0]

    def allocate(self, nbytes):
        """Allocates memory on the device and returns its address."""
        address = self._call("cudaMalloc", nbytes)
        self._device_memory.append(address)
        return int(address)

    def pinned(self, nbytes):
        """Allocates page-locked host memory, which copies fastest, as a uint8 array `(nbytes,)`."""
        address = self._call("cudaMallocHost", nbytes)
        self._host_memory.append(address)
        return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(int(address)), np.uint8)

    def to_device(self, address, array):
        """Starts a copy of a pinned array to the device."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, array.ctypes.data, array.nbytes, kind)

    def to_host(self, array, address):
        """Starts a copy from the device to a pinned array."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, address, array.nbytes, kind)

    def synchronize(self):
        """Waits for all started work."""
        self._call("cudaStreamSynchronize", self._stream)

    def time(self, function, runs):
        """Measures calls of a function on the device: float64 milliseconds `(runs,)`."""
        starts = [self._call("cudaEventCreate") for _ in range(runs)]
        ends = [self._call("cudaEventCreate") for _ in range(runs)]
        for start, end in zip(starts, ends, strict=True):
            self._call("cudaEventRecord", start, self._stream)
            function()
            self._call("cudaEventRecord", end, self._stream)
        self.synchronize()
        pairs = zip(starts, ends, strict=True)
        times = [self._call("cudaEventElapsedTime", start, end) for start, end in pairs]
        for event in starts + ends:
            self._call("cudaEventDestroy", event)
        return np.array(times)

    def capture(self, function):
        """Records the work of a function as a CUDA graph.

        Returns:
            A function that starts the recorded work; None if it cannot be recorded.
        """
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            function()
        except RuntimeError:
            # A failed capture must be ended, because the stream cannot be used otherwise.
            self._runtime.cudaStreamEndCapture(self._stream)
            return None
        error, graph = self._runtime.cudaStreamEndCapture(self._stream)
        if error:
            self._runtime.cudaGetLastError()
            return None
        replay = self._call("cudaGraphInstantiate", graph, 0)
        return lambda: self._call("cudaGraphLaunch", replay, self._stream)

    def close(self):
        """Frees the memory, if the driver has not already freed it at the end of the process."""
        while self._device_memory:
            self._runtime.cudaFree(self._device_memory.pop())
        while self._host_memory:
            self._runtime.cudaFreeHost(self._host_memory.pop())

    def _copy(self, target, source, nbytes, kind):
        self._call("cudaMemcpyAsync", target, source, nbytes, kind, self._stream)

    def _call(self, name, *arguments):
        error, *values = getattr(self._runtime, name)(*arguments)
        if error:
            raise RuntimeError(f"{name}: {self._reason(error)}")
        return values[0] if len(values) == 1 else values

    def _reason(self, error):
        return self._runtime.cudaGetErrorString(error)[1].decode()


class PyCuda:
    """CUDA functions through pycuda, which does not support CUDA graphs."""

    def __init__(self):
        import pycuda.driver as driver

        self._driver = driver
        try:
            driver.init()
            device = driver.Device(0)
        except driver.Error as error:
            raise _no_gpu(error) from error
        # TensorRT uses the primary context.
        self._context = device.retain_primary_context()
        self._context.push()
        self.device = Device(device.name(), device.compute_capability(), device.total_memory())
        self._stream = driver.Stream()
        self.stream = self._stream.handle
        self._device_memory = []
        self.free_at_start = self.free_memory()

    def free_memory(self):
        return self._driver.mem_get_info()[0]

    def allocate(self, nbytes):
        memory = self._driver.mem_alloc(nbytes)
        self._device_memory.append(memory)
        return int(memory)

    def pinned(self, nbytes):
        return self._driver.pagelocked_empty(nbytes, np.uint8)

    def to_device(self, address, array):
        self._driver.memcpy_htod_async(address, array, self._stream)

    def to_host(self, array, address):
        self._driver.memcpy_dtoh_async(array, address, self._stream)

    def synchronize(self):
        self._stream.synchronize()

    def time(self, function, runs):
        events = [(self._driver.Event(), self._driver.Event()) for _ in range(runs)]
        for start, end in events:
            start.record(self._stream)
            function()
            end.record(self._stream)
        self.synchronize()
        return np.array([start.time_till(end) for start, end in events])

    def capture(self, function):
        return None

    def close(self):
        with contextlib.suppress(self._driver.Error):
            while self._device_memory:
                self._device_memory.pop().free()
            self._context.pop()
