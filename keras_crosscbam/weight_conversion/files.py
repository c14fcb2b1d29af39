"""Reads weights files of PyTorch, Paddle and safetensors as NumPy arrays."""

import contextlib
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_crosscbam.weight_conversion import torch_files
from keras_crosscbam.weight_conversion.restricted_pickle import (
    ForbiddenNameError,
    RestrictedUnpickler,
    arrays_in,
)

# Entries of checkpoints that contain the weights; the first one found is used. `ema_net` precedes
# `net`, because super-gradients validates `ema_net`.
_WRAPPERS = ("state_dict", "ema_net", "net", "model", "model_state_dict")
# Paddle's entries for parameter names, and for arrays above a gigabyte, which it splits.
_PADDLE_NAMES, _PADDLE_PARTS = "StructuredToParameterName@@", "UnpackBigParamInfor@@"


@dataclass(frozen=True)
class StateDict:
    """The weights in a file.

    Attributes:
        source: the file, for messages.
        arrays: dict from name to `numpy.ndarray`.
        wrapper: the entry of the file that contains them, such as `"state_dict"`, or None.
        meta: the entry `"meta"` of MMCV and MMEngine, empty for other files.
    """

    source: str
    arrays: dict[str, np.ndarray] = field(repr=False)
    wrapper: str | None = None
    meta: dict = field(default_factory=dict, repr=False)


def read_state_dict(path):
    """Reads a file of PyTorch, Paddle or safetensors, without running any code in it.

        >>> import numpy as np, pickle, tempfile
        >>> from keras_crosscbam.weight_conversion.files import read_state_dict
        >>> path = f"{tempfile.mkdtemp()}/net.pdparams"
        >>> with open(path, "wb") as file:
        ...     pickle.dump({"conv.weight": np.zeros((4, 3, 1, 1))}, file)
        >>> read_state_dict(path).arrays["conv.weight"].shape
        (4, 3, 1, 1)

    The format is detected from the content, not from the name: all three formats of `torch.save`,
    pickles of NumPy arrays as written by `paddle.save`, and safetensors.

    Args:
        path: the file.

    Returns:
        A `StateDict`.

    Raises:
        ValueError: if the file does not exist, is damaged or of another format, contains no
            weights, or names a function or class that could run code.
        ImportError: for a safetensors file, if the package safetensors is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = _reader(path)(path)
    except ForbiddenNameError as error:
        raise ValueError(
            f"{path} was not loaded: it contains {error}, which is not needed in a weights file "
            "and could run code. If the file contains a complete model, save only the weights, for "
            "example with torch.save(model.state_dict(), ...), or as safetensors."
        ) from None
    except ImportError:
        raise
    except Exception as error:  # damaged files raise various exceptions in the readers
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read: {reason}.") from error
    return _unwrapped(str(path), content)


def _reader(path):
    with open(path, "rb") as file:
        head = file.read(512)
    if head.startswith(b"\x89HDF"):
        raise ValueError("it is an HDF5 file, as written by Keras, and needs no conversion")
    if zipfile.is_zipfile(path) and head.startswith(b"PK"):
        return torch_files.read_zip
    if torch_files.MAGIC in head[:32]:
        return torch_files.read_pickles
    if head[257:262] == b"ustar":
        return torch_files.read_tar
    if head.startswith(b"\x80"):
        return _read_pickle
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 2**27:
        return _read_safetensors
    raise ValueError(
        "not a file of torch.save, paddle.save or safetensors, or the file is incomplete"
    )


def _read_pickle(path):
    with open(path, "rb") as file:
        content = arrays_in(RestrictedUnpickler(file).load())
    if isinstance(content, dict):
        if _PADDLE_PARTS in content:
            raise ValueError("Paddle's split arrays of more than a gigabyte are not supported")
        content.pop(_PADDLE_NAMES, None)
        # A tensor of Paddle is a pair of its name and its array.
        content = {key: v[1] if _is_named(v) else v for key, v in content.items()}
    return content


def _is_named(value):
    is_pair = isinstance(value, tuple) and len(value) == 2
    return is_pair and isinstance(value[0], str) and isinstance(value[1], np.ndarray)


def _read_safetensors(path):
    try:
        from safetensors import deserialize
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} needs safetensors: pip install 'keras-crosscbam[convert]'"
        ) from error
    # The NumPy reader of safetensors does not support bfloat16.
    kinds = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": torch_files.BFLOAT16, "BOOL": "?"}
    kinds |= {f"I{8 * size}": f"i{size}" for size in (1, 2, 4, 8)} | {"U8": "u1"}
    return {
        name: torch_files.numbers_in(stored["data"], kinds[stored["dtype"]]).reshape(
            stored["shape"]
        )
        for name, stored in deserialize(path.read_bytes())
    }


def _unwrapped(source, content):
    meta = content.get("meta") if isinstance(content, dict) else None
    wrapper = None
    if isinstance(content, dict):
        wrapper = next((name for name in _WRAPPERS if isinstance(content.get(name), dict)), None)
    state = content if wrapper is None else content[wrapper]
    arrays = {}
    if isinstance(state, dict):
        arrays = {str(k): v for k, v in state.items() if isinstance(v, np.ndarray)}
    if not arrays:
        raise ValueError(
            f"{source} contains no weights: expected a dict from names to arrays, directly or in "
            f"one of {', '.join(_WRAPPERS)}. Received: {_described(content)}"
        )
    return StateDict(source, arrays, wrapper, meta if isinstance(meta, dict) else {})


def _described(content):
    if isinstance(content, dict):
        return f"a dict of {', '.join(map(repr, list(content)[:6])) or 'nothing'}"
    return f"a {type(content).__name__}"


@contextlib.contextmanager
def whole_file(path):
    """Yields a temporary path with the same extension, which is moved to `path` when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished-{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
