"""TensorRT and its engine files, which are opened only where they can run.

An engine runs under the version of TensorRT and on the kind of card that it was built for.
TensorRT's own answer to another one, or to a machine without a driver, may be a segmentation
fault; so all of that is looked at here first, in the head of the file and in its sidecar
`NAME.engine.json`, and answered with a sentence.
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

# The first four bytes of an engine; four bytes of version stand at 24.
FLAVOURS = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}
MODULES = {"TensorRT": ("tensorrt",), "TensorRT-RTX": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
_INSTALL: dict[str | None, str] = {
    "TensorRT": "`pip install keras-crosscbam[tensorrt]` installs TensorRT. Cards before Turing "
    'need an older one: Pascal, such as the GTX 1080 Ti, `"tensorrt==8.6.1.post1"`, Volta '
    '`"tensorrt==10.4.0"`.',
    "TensorRT-RTX": "`pip install keras-crosscbam[tensorrt-rtx]` installs TensorRT-RTX.",
}
_INSTALL[None] = _INSTALL["TensorRT"]


def find_tensorrt(flavour=None):
    """Imports TensorRT, or TensorRT-RTX where only that is installed.

        >>> from keras_crosscbam.runtime.tensorrt.engine_file import find_tensorrt
        >>> find_tensorrt().__version__  # doctest: +SKIP
        '10.16.1.11'

    Args:
        flavour: `"TensorRT"` or `"TensorRT-RTX"`; None for the first there is.

    Raises:
        ImportError: if it is missing, or its libraries are.
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
    """The bindings come without libraries; ONNX Runtime's package for TensorRT-RTX has them."""
    package = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if package is None:
        return
    for name in ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"):
        for library in Path(package.origin).parent.glob(name):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def flavour_of(trt):
    """`"TensorRT"` or `"TensorRT-RTX"`."""
    return "TensorRT-RTX" if "rtx" in trt.__name__ else "TensorRT"


@functools.cache
def logger(trt):
    """The logger of a process: it keeps errors, which explain why something returned nothing.

    There is one for a process, as TensorRT holds on to the first it gets.
    """

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = []

        def log(self, severity, message):
            if severity in (self.Severity.INTERNAL_ERROR, self.Severity.ERROR):
                self.errors.append(message)

        def take(self):
            """The errors since the last time, as one line."""
            errors, self.errors = self.errors, []
            return "; ".join(" ".join(error.split()) for error in errors) or "no reason was given"

    return Logger()


def read_engine(path):
    """Reads an engine and what it was built by, without TensorRT.

    Args:
        path: an `.engine` or `.plan` file.

    Returns:
        The bytes, the flavour, the version as four numbers, and the `Description`,
        None for an engine without a sidecar.

    Raises:
        ValueError: if the file is missing, damaged, or no engine.
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
            f"{path}: damaged, or not the engine that {beside(path).name} was written with. "
            "Build it again."
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
    """The entry `engine` of a description, which `build_engine` wrote; empty without one."""
    return description.extra.get("engine", {}) if description else {}


def numbers(version):
    """`(10, 16, 1, 11)` of `"10.16.1.11"`."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:4])


def open_engine(path, trt=None):
    """Opens an engine, if this machine can run it.

    Args:
        path: an `.engine` or `.plan` file.
        trt: TensorRT, as `find_tensorrt` returns it; None to look for it.

    Returns:
        The `ICudaEngine`, the `Description` or None, the CUDA connection, and TensorRT.

    Raises:
        ValueError: if the file is no whole engine, or was built by another version of TensorRT or
            for another card.
        ImportError: if TensorRT is missing.
        RuntimeError: if there is no driver or GPU, or TensorRT refuses the file.
    """
    data, flavour, version, description = read_engine(path)
    trt = trt or find_tensorrt(flavour)
    # TensorRT 8.6 leaves the fourth number out of its own version.
    same = all(a == b for a, b in zip(version, numbers(trt.__version__), strict=False))
    if flavour != flavour_of(trt) or not same:
        raise ValueError(
            f"{path}: built by {flavour} {'.'.join(map(str, version))}, and engines run in no "
            f"other version. Received: {flavour_of(trt)} {trt.__version__}. Build it again here."
        )
    connection = cuda.connect()
    _check_card(path, description, connection.device)
    log = logger(trt)
    log.take()
    engine = trt.Runtime(log).deserialize_cuda_engine(data)
    if engine is None:
        raise RuntimeError(f"{path}: {flavour} {trt.__version__} refuses it: {log.take()}")
    return engine, description, connection, trt


def _check_card(path, description, device):
    built = built_by(description)
    wanted = built.get("compute_capability")
    if wanted is not None and tuple(wanted) != device.compute_capability:
        raise ValueError(
            f"{path}: built for compute capability {'.'.join(map(str, wanted))} "
            f"({built.get('gpu') or 'no card at hand'}), and engines run on no other. Received: "
            f"{device}. Build it again on this card."
        )
