"""Runtime for `.xml`, `.onnx` and `.tflite` files, run by OpenVINO."""

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import METADATA, parse, read_beside
from keras_crosscbam.runtime.errors import unreadable
from keras_crosscbam.runtime.signature import Tensor, only, signature

PRECISIONS = ("f32", "bf16")


class OpenVINORuntime(Runtime):
    """Runs a segmentation network from an `.xml`, `.onnx` or `.tflite` file on the CPU.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.openvino import OpenVINORuntime
        >>> run = OpenVINORuntime("cross_cbam.xml", precision="bf16")  # doctest: +SKIP
        >>> run(np.zeros((720, 960, 3), np.uint8)).shape  # doctest: +SKIP
        (720, 960)

    Args:
        path: the file. The weights of an `.xml` file are next to it, in the `.bin` file of the same
            name.
        classes: the `ClassTable`, if the file does not contain one.
        threads: number of threads; None for all cores.
        precision: precision of the computation: `"f32"` (also for None), or `"bf16"`, which is
            faster and less exact, and OpenVINO's own default on processors that support it.

    Raises:
        ValueError: for an unreadable file, and for a file that is not a segmentation network.
        RuntimeError: if the processor does not support bfloat16.
    """

    def __init__(self, path, classes=None, threads=None, precision=None):
        import openvino

        precision = precision or "f32"
        if precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {PRECISIONS}. Received: {precision!r}")
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(path)
            self.compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise unreadable(path, "file for OpenVINO", error) from error
        computed = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if computed != precision:
            raise RuntimeError(
                f"{path}: OpenVINO would compute in {computed}, because this processor does not "
                f"support {precision}. Received: precision={precision!r}; use "
                f"precision={computed!r}"
            )
        self._request = self.compiled.create_infer_request()
        image, output = only(path, self.compiled.inputs), self.compiled.outputs[0]
        described = _description(model, path)
        read = signature(str(path), _tensor(image), _tensor(output), described, self.run)
        super().__init__(str(path), classes=classes, **read)

    def run(self, prepared):
        return self._request.infer({0: prepared}, share_inputs=True, share_outputs=True)[0]


def _description(model, path):
    """Reads the IR's entry, the metadata of an ONNX file, or the JSON file next to a `.tflite`."""
    for entry in ([METADATA], ["framework", METADATA]):
        if model.has_rt_info(entry):
            return parse(path, model.get_rt_info(entry).value)
    return read_beside(path)


def _tensor(port):
    shape = None
    if port.partial_shape.rank.is_static:
        shape = tuple(d.get_length() if d.is_static else None for d in port.partial_shape)
    return Tensor(shape, port.element_type.to_dtype().name)
