"""Opens TensorRT engine files, after checking that they can run on this machine.

An engine only runs with the version of TensorRT and on the kind of GPU that it was built for.
Otherwise, or without a driver, TensorRT may crash with a segmentation fault. Therefore the header
of the file and its sidecar file `NAME.engine.json` are checked first, with clear error messages.
"""

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import re
from pathlib import Path

from keras_crosscbam.runtime.description import beside, read_beside
from keras_crosscbam.runtime.tensorrt import cuda

# The first four bytes of an engine. The version is in the four bytes at offset 24.
FLAVOURS = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}
MODULES = {"TensorRT": ("tensorrt",), "TensorRT-RTX": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
_INSTALL: dict[str | None, str] = {
    "TensorRT": "`pip install keras-crosscbam[tensorrt]` installs TensorRT. GPUs before Turing "
    'need an older version: Pascal, such as the GTX 1080 Ti, `"tensorrt==8.6.1.post1"`, Volta '
    '`"tensorrt==10.4.0"`.',
    "TensorRT-RTX": "`pip install keras-crosscbam[tensorrt-rtx]` installs TensorRT-RTX.",
}
_INSTALL[None] = _INSTALL["TensorRT"]


def find_tensorrt(flavour=None):
    """Imports TensorRT, or TensorRT-RTX if only that is installed.

        >>> from keras_crosscbam.runtime.tensorrt.engine_file import find_tensorrt
        >>> find_tensorrt().__version__  # doctest: +SKIP
        '10.16.1.11'

    Args:
        flavour: `"TensorRT"` or `"TensorRT-RTX"`; None for the first one that is installed.

    Raises:
        ImportError: if it is not installed, or its libraries are missing.
    """
    reasons = []
    for name in [name for kind in MODULES if flavour in (None, kind) for name in MODULES[kind]]:
        try:
            if name == "tensorrt_rtx_bindings":
                _load_libraries_of_rtx()
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name}: {error}")
    raise ImportError(
        f"{flavour or 'TensorRT'} cannot be imported ({'; '.join(reasons)}). {_INSTALL[flavour]}"
    )


def _load_libraries_of_rtx():
    """Loads the libraries from ONNX Runtime's TensorRT-RTX package; the bindings have none."""
    package = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if package is None:
        return
    for name in ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"):
        for library in Path(package.origin).parent.glob(name):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def flavour_of(trt):
    """Returns `"TensorRT"` or `"TensorRT-RTX"`."""
    return "TensorRT-RTX" if "rtx" in trt.__name__ else "TensorRT"


@functools.cache
def logger(trt):
    """Returns the logger of the process, which stores errors for later messages.

    There is one logger per process, because TensorRT keeps the first one that it gets.
    """

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = []

        def log(self, severity, message):
            if severity in (self.Severity.INTERNAL_ERROR, self.Severity.ERROR):
                self.errors.append(message)

        def take(self):
            """Returns the errors since the last call, as one line."""
            errors, self.errors = self.errors, []
            return "; ".join(" ".join(error.split()) for error in errors) or "no reason was given"

    return Logger()


def read_engine(path):
    """Reads an engine file and the version that built it, without TensorRT.

    Args:
        path: an `.engine` or `.plan` file.

    Returns:
        The bytes, the flavour, the version as four numbers, and the `Description`, which is None
        for an engine without a sidecar file.

    Raises:
        ValueError: if the file is missing, damaged, or not an engine.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    description = read_beside(path)
    built = built_by(description)
    if built and built["sha256"] != hashlib.sha256(data).hexdigest():
        raise ValueError(
            f"{path}: damaged, or {beside(path).name} belongs to another engine. Build it again."
        )
    if built:
        return data, built["flavour"], numbers(built["version"]), description
    if data[:4] not in FLAVOURS or data[4:8] != bytes(4) or len(data) < 28:
        raise ValueError(
            f"{path}: expected an engine built by TensorRT 8.6 or later. Received: a file of "
            f"{len(data)} bytes that begins with {data[:4]!r}"
        )
    return data, FLAVOURS[data[:4]], tuple(data[24:28]), description


def built_by(description):
    """Returns the entry `engine` of a description, written by `build_engine`, or an empty dict."""
    return description.extra.get("engine", {}) if description else {}


def numbers(version):
    """Parses a version: `(10, 16, 1, 11)` for `"10.16.1.11"`."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:4])


def open_engine(path, trt=None):
    """Opens an engine, if this machine can run it.

    Args:
        path: an `.engine` or `.plan` file.
        trt: the TensorRT module; None for `find_tensorrt`.

    Returns:
        The `ICudaEngine`, the `Description` or None, the CUDA connection, and the TensorRT module.

    Raises:
        ValueError: if the file is not an intact engine, or was built by another version of TensorRT
            or for another GPU.
        ImportError: if TensorRT is missing.
        RuntimeError: if there is no driver or GPU, or TensorRT cannot open the file.
    """
    data, flavour, version, description = read_engine(path)
    trt = trt or find_tensorrt(flavour)
    # The version of TensorRT 8.6 has three numbers, so only the common ones are compared.
    same = all(a == b for a, b in zip(version, numbers(trt.__version__), strict=False))
    if flavour != flavour_of(trt) or not same:
        raise ValueError(
            f"{path}: built by {flavour} {'.'.join(map(str, version))}, and engines do not run in "
            f"other versions. Received: {flavour_of(trt)} {trt.__version__}. Build it again here."
        )
    connection = cuda.connect()
    _check_card(path, description, connection.device)
    log = logger(trt)
    log.take()
    engine = trt.Runtime(log).deserialize_cuda_engine(data)
    if engine is None:
        raise RuntimeError(f"{path}: {flavour} {trt.__version__} cannot open it: {log.take()}")
    return engine, description, connection, trt


def _check_card(path, description, device):
    built = built_by(description)
    wanted = built.get("compute_capability")
    if wanted is not None and tuple(wanted) != device.compute_capability:
        raise ValueError(
            f"{path}: built for compute capability {'.'.join(map(str, wanted))} "
            f"({built.get('gpu') or 'unknown GPU'}), and engines do not run on others. Received: "
            f"{device}. Build it again on this GPU."
        )
