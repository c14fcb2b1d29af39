"""An ONNX file as a runtime, run by ONNX Runtime."""

import numpy as np

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import METADATA, parse
from keras_crosscbam.runtime.errors import unreadable
from keras_crosscbam.runtime.signature import Tensor, only, signature

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""What ONNX Runtime is asked for by device: the first one, and those for what it cannot run."""

DTYPES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's names of types that NumPy calls otherwise."""


class OnnxRuntime(Runtime):
    """Runs a segmentation network from a file, written here or elsewhere.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.onnx import OnnxRuntime
        >>> run = OnnxRuntime("cross_cbam.onnx", threads=2)  # doctest: +SKIP
        >>> run(np.zeros((720, 960, 3), np.uint8)).shape  # doctest: +SKIP
        (720, 960)

    A file from elsewhere must have one image input, NCHW or NHWC, and as its first output scores
    or class indices. It gets pixels of 0..255, unless `keras_crosscbam.runtime.load` is told of a
    normalization.

    Args:
        path: the file.
        classes: the `ClassTable`, where the file does not carry one.
        device: `"cpu"`, `"cuda"` or `"tensorrt"`.
        threads: how many threads one operator may use; None leaves it to ONNX Runtime.

    Raises:
        ValueError: for an unreadable file, and for one that is no segmentation network.
        RuntimeError: if the device is not there, or not in this build of ONNX Runtime.
    """

    reuses_output = False

    def __init__(self, path, classes=None, device="cpu", threads=None):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Errors come as exceptions; the log would show them a second time.
        options.log_severity_level = 4
        providers = _providers(device)
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=list(providers)
            )
        except Exception as error:  # ONNX Runtime raises a class of its own for each cause
            raise unreadable(path, "ONNX file", error) from error
        if self.session.get_providers()[0] != providers[0]:
            raise RuntimeError(
                f"{path}: ONNX Runtime found no device for {providers[0]}, and would have run on "
                "the CPU. Check driver and CUDA libraries, or use device='cpu'."
            )
        image, output = only(path, self.session.get_inputs()), self.session.get_outputs()[0]
        self._input, self._output = image.name, output.name
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        described = parse(path, text) if text else None
        read = signature(str(path), _tensor(image), _tensor(output), described, self.run)
        super().__init__(str(path), classes=classes, **read)

    def run(self, prepared):
        return self.session.run([self._output], {self._input: prepared})[0]


def _providers(device):
    import onnxruntime

    if device not in PROVIDERS:
        raise ValueError(f"`device` must be one of {tuple(PROVIDERS)}. Received: {device!r}")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[device][0] not in available:
        raise RuntimeError(
            f"This build of ONNX Runtime has no {PROVIDERS[device][0]}. For device={device!r} "
            "run `pip uninstall onnxruntime` and `pip install onnxruntime-gpu`. "
            f"Received: a build with {available}"
        )
    return [provider for provider in PROVIDERS[device] if provider in available]


def _tensor(argument):
    kind = argument.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(side if isinstance(side, int) else None for side in argument.shape)
    return Tensor(shape or None, np.dtype(DTYPES.get(kind, kind)).name)
