"""Reads PyTorch's three file formats with NumPy, without running code in the files.

The formats are the zip archives of version 1.6 and later, the sequence of pickles before it, and
the tar archives of the first versions, as in `torch/serialization.py`. The format is detected from
the content, not from the name: `STDCNet813M_73.91.tar` is not a tar archive.
"""

import io
import math
import struct
import tarfile
import zipfile
from dataclasses import dataclass

import numpy as np

from keras_crosscbam.weight_conversion.restricted_pickle import (
    Function,
    RestrictedUnpickler,
    arrays_in,
)

MAGIC = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The number in the first pickle of the second format."""
BFLOAT16 = "bfloat16"
# Number types of storage and tensor classes. They are strings, which a pickle cannot change.
_KINDS = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": BFLOAT16,
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


@dataclass(frozen=True)
class _Storage:
    """A sequence of numbers in the file."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


_ALLOWED = {
    "torch._utils._rebuild_tensor": Function(_rebuild_tensor),
    "torch._utils._rebuild_tensor_v2": Function(_rebuild_tensor),
    "torch._utils._rebuild_parameter": Function(lambda data, *_: data),
    "torch._utils._rebuild_parameter_with_state": Function(lambda data, *_: data),
    "torch.Size": Function(tuple),
    "torch.device": Function(lambda *_: None),
    **{
        f"{module}.{kind}Storage": code
        for module in ("torch", "torch.cuda", "torch.storage")
        for kind, code in _KINDS.items()
    },
    # Other names that checkpoints may contain; their values are not used.
    **dict.fromkeys(f"torch.{dtype}" for dtype in ("float32", "float16", "bfloat16", "int64")),
    # The first format also contains the types of tensors.
    **{f"{module}.{kind}Tensor": None for module in ("torch", "torch.cuda") for kind in _KINDS},
}


def read_zip(path):
    """Reads a zip archive of `torch.save`, with tensors as `numpy.ndarray`."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("a compressed zip archive, which torch.save does not write")
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive, but not one of torch.save: it has no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in names:
            raise ValueError(
                "a TorchScript program, not weights. Save its `state_dict()` with torch.save"
            )
        order = "<"
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big":
            order = ">"
        content = RestrictedUnpickler(
            io.BytesIO(archive.read(pickles[0])), _ALLOWED, _find_storage
        ).load()
        read = {}

        def content_of(key):
            if key not in read:
                read[key] = archive.read(f"{folder}data/{key}")
            return read[key]

        return arrays_in(_with_arrays(content, content_of, order))


def read_pickles(path):
    """Reads a file of `torch.save` before version 1.6: pickles, followed by the numbers."""
    with open(path, "rb") as file:

        def load(**kwargs):
            return RestrictedUnpickler(file, _ALLOWED, **kwargs).load()

        _, version, system = load(), load(), load()
        if version != 1001:
            raise ValueError(f"expected PyTorch's protocol 1001, found {version!r}")
        storages = {}

        def find(pid):
            storage = _find_storage(pid)
            storages[storage.key] = storage
            return storage

        content, keys = load(find_stored=find), load()
        order = "<" if system.get("little_endian", True) else ">"
        read = {str(key): _read_storage(file, storages[str(key)].kind, order) for key in keys}
        return arrays_in(_with_arrays(content, read.__getitem__, order))


def read_tar(path):
    """Reads a file of the first versions of `torch.save`: a tar archive of three files."""
    with tarfile.open(path, "r:") as archive:
        members = {}
        for name in ("storages", "tensors", "pickle"):
            try:
                members[name] = archive.extractfile(name).read()
            except (KeyError, AttributeError):
                raise ValueError(
                    f"a tar archive, but not one of torch.save: no file {name}"
                ) from None
    storages, read = {}, {}
    file = io.BytesIO(members["storages"])
    for _ in range(RestrictedUnpickler(file, _ALLOWED).load()):
        key, _, kind = RestrictedUnpickler(file, _ALLOWED).load()
        content = _read_storage(file, kind, "<")
        storages[key] = _Storage(kind, str(key), len(content) // _item_size(kind))
        read[str(key)] = content
    if RestrictedUnpickler(file, _ALLOWED).load():
        raise ValueError("storages that are parts of others. Save it again with torch.save")
    tensors = {}
    file = io.BytesIO(members["tensors"])
    for _ in range(RestrictedUnpickler(file, _ALLOWED).load()):
        key, storage, _ = RestrictedUnpickler(file, _ALLOWED).load()
        rank, _ = _unpack(file, "<ii")
        shape, strides = _unpack(file, f"<{rank}q"), _unpack(file, f"<{rank}q")
        tensors[int(key)] = _rebuild_tensor(storages[storage], *_unpack(file, "<q"), shape, strides)
    content = RestrictedUnpickler(
        io.BytesIO(members["pickle"]), _ALLOWED, lambda pid: tensors[int(pid)]
    ).load()
    return arrays_in(_with_arrays(content, read.__getitem__, "<"))


def _find_storage(pid):
    name, kind, key, _, count, *view = pid
    if name != "storage" or kind not in _KINDS.values():
        raise ValueError("a reference to an object that is not a storage of numbers")
    if view and view[0] is not None:
        raise ValueError("storages that are parts of others. Save it again with torch.save")
    return _Storage(kind, str(key), int(count))


def _item_size(kind):
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def _read_storage(file, kind, order):
    (count,) = _unpack(file, f"{order}q")
    size = count * _item_size(kind)
    here = file.tell()
    rest = file.seek(0, io.SEEK_END) - here
    file.seek(here)
    if not 0 <= size <= rest:
        raise ValueError("it is incomplete")
    return file.read(size)


def _unpack(file, layout):
    size = struct.calcsize(layout)
    return struct.unpack(layout, file.read(size))


def _with_arrays(content, content_of, order):
    """Replaces tensors by arrays in dicts, tuples and lists."""
    if isinstance(content, _Tensor):
        return _array(content, content_of(content.storage.key), order)
    if isinstance(content, dict):
        return {key: _with_arrays(value, content_of, order) for key, value in content.items()}
    if isinstance(content, tuple | list):
        return type(content)(_with_arrays(value, content_of, order) for value in content)
    return content


def numbers_in(content, kind, order="<"):
    """Returns the numbers in bytes as a flat array; `"bfloat16"` is converted to float32."""
    if kind == BFLOAT16:
        # A bfloat16 is the upper half of a float32.
        halves = np.frombuffer(content, f"{order}u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    return np.frombuffer(content, np.dtype(kind).newbyteorder(order))


def _array(tensor, content, order):
    numbers = numbers_in(content, tensor.storage.kind, order)
    last = tensor.offset + sum(
        (side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0:
        raise ValueError("a tensor of negative size")
    if math.prod(tensor.shape) == 0:
        return np.zeros(tensor.shape, numbers.dtype)
    if max(last + 1, math.prod(tensor.shape)) > len(numbers):
        raise ValueError("a tensor that is larger than its storage, so the file is incomplete")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    return view.astype(view.dtype.newbyteorder("="))
