"""A reader of pickles that calls nothing but a few given functions, so that no file runs code."""

import pickle
from collections import OrderedDict

import numpy as np


class ForbiddenNameError(ValueError):
    """A pickle names a function or class that is not among those allowed."""


class Function:
    """A function that a pickle may call, and that it cannot change.

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
        raise ForbiddenNameError("a pickle tries to change a function")


class _Dtype:
    """What a pickle says of NumPy's dtype: numbers alone."""

    def __init__(self, code, *_):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biuf":
            raise ValueError(f"expected arrays of numbers, found {self.dtype}")

    def __setstate__(self, state):
        order = state[1]
        order = order.decode() if isinstance(order, bytes) else order
        self.dtype = self.dtype.newbyteorder(order if order in "<>" else "=")


class _Array:
    """What a pickle says of a NumPy array; `value` is the array."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(content, dtype.dtype)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


class _Ignored:
    """An object of a class that only keeps records, such as the curves of a training."""

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
# What any pickle of numbers may name: containers, and NumPy's arrays, which are read here.
_PLAIN = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": Function(_encode),
    # MMEngine's checkpoints hold the curves of the training.
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

    Whatever a pickle names that is not allowed raises a `ForbiddenNameError` before it is looked
    up. NumPy's arrays come as objects with the array as `value` (`arrays_in`).

    Args:
        file: a binary file; it is left where the pickle ends.
        allowed: further names, such as `"torch.FloatStorage"`, to what stands for them.
        find_stored: function that gives what a persistent id stands for; None for no such ids.
    """

    def __init__(self, file, allowed=None, find_stored=None):
        # Latin-1 reads the strings of Python 2, ASCII here, and the bytes of its arrays.
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
    """The content of a pickle with `numpy.ndarray` for what stands for it, in dicts and tuples."""
    if isinstance(content, _Array):
        if content.value is None:
            raise ValueError("an array without numbers")
        return content.value
    if isinstance(content, dict):
        return {key: arrays_in(value) for key, value in content.items()}
    if isinstance(content, tuple | list):
        return type(content)(map(arrays_in, content))
    return content
