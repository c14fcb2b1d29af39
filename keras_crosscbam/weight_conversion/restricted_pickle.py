"""A pickle reader that only calls allowed functions, so that no code in a file is executed."""

import pickle
from collections import OrderedDict

import numpy as np


class ForbiddenNameError(ValueError):
    """Raised if a pickle names a function or class that is not allowed."""


class Function:
    """A function that a pickle may call but not change.

    >>> from keras_crosscbam.weight_conversion.restricted_pickle import Function
    >>> Function(max)(1, 2)
    2
    """

    __slots__ = ("_call",)

    def __init__(self, call):
        object.__setattr__(self, "_call", call)

    def __call__(self, *args):
        return self._call(*args)

    def __setattr__(self, name, value):
        raise ForbiddenNameError("a change of a function")


class _Dtype:
    """Stands in for NumPy's dtype while unpickling; only allows numbers."""

    def __init__(self, code, *_):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biuf":
            raise ValueError(f"expected arrays of numbers, found {self.dtype}")

    def __setstate__(self, state):
        order = state[1]
        order = order.decode() if isinstance(order, bytes) else order
        self.dtype = self.dtype.newbyteorder(order if order in "<>" else "=")


class _Array:
    """Stands in for a NumPy array while unpickling; `value` is the array."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(content, dtype.dtype)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


class _Ignored:
    """Stands in for objects that are not needed, such as the curves of a training."""

    def __new__(cls, *_):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass


def _scalar(dtype, content):
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(content, dtype.dtype)[0]


def _from_buffer(content, dtype, shape, order):
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return array


def _encode(text, encoding):
    return text.encode("latin1" if encoding not in ("latin1", "ascii", "utf-8") else encoding)


_NUMPY = {
    "ndarray": Function(_Array),
    "dtype": Function(_Dtype),
    "core.multiarray._reconstruct": Function(_Array),
    "core.multiarray.scalar": Function(_scalar),
    "core.numeric._frombuffer": Function(_from_buffer),
}
# Names that are allowed in every pickle: containers, and NumPy's arrays, which are read here.
_PLAIN = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": Function(_encode),
    # MMEngine's checkpoints contain the curves of the training.
    "mmengine.logging.history_buffer.HistoryBuffer": _Ignored,
    **{
        f"{module}.{name}": Function(call)
        for module in ("builtins", "__builtin__")
        for name, call in {"tuple": tuple, "list": list, "dict": dict, "set": set}.items()
    },
    **{f"numpy.{name}": call for name, call in _NUMPY.items()},
    **{f"numpy._{name}": call for name, call in _NUMPY.items() if name.startswith("core.")},
}


class RestrictedUnpickler(pickle.Unpickler):
    """Reads one pickle of containers, numbers and arrays.

        >>> import io, pickle
        >>> from keras_crosscbam.weight_conversion.restricted_pickle import RestrictedUnpickler
        >>> RestrictedUnpickler(io.BytesIO(pickle.dumps({"a": [1, 2.5]}))).load()
        {'a': [1, 2.5]}

    A name that is not allowed raises a `ForbiddenNameError` before it is imported. NumPy's arrays
    are returned as objects with the array as `value` (see `arrays_in`).

    Args:
        file: a binary file. Its position after reading is the end of the pickle.
        allowed: dict from further names, such as `"torch.FloatStorage"`, to their replacements.
        find_stored: function from a persistent id to its object; None to reject persistent ids.
    """

    def __init__(self, file, allowed=None, find_stored=None):
        # Latin-1 decodes strings of Python 2, which are ASCII here, and the bytes of its arrays.
        super().__init__(file, encoding="latin1")
        self._allowed = {**_PLAIN, **(allowed or {})}
        self._find_stored = find_stored

    def find_class(self, module, name):
        try:
            return self._allowed[f"{module}.{name}"]
        except KeyError:
            raise ForbiddenNameError(f"{module}.{name}") from None

    def persistent_load(self, pid):
        if self._find_stored is None:
            raise ValueError("unexpected reference to stored data")
        return self._find_stored(pid)


def arrays_in(content):
    """Replaces array objects by `numpy.ndarray` in the content of a pickle, recursively."""
    if isinstance(content, _Array):
        if content.value is None:
            raise ValueError("an array without numbers")
        return content.value
    if isinstance(content, dict):
        return {key: arrays_in(value) for key, value in content.items()}
    if isinstance(content, tuple | list):
        return type(content)(map(arrays_in, content))
    return content
