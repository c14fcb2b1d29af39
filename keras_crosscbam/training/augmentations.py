"""What tells one augmentation from another, as text for the description of a run."""

import functools
import hashlib
import inspect
import json

import keras

from keras_crosscbam.datasets.checks import check_list
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation


def describe_augmentations(augmentations):
    """A text for each augmentation that `training_batches` takes, the same in every process.

        >>> from keras_crosscbam.datasets.augment import RandomFlip
        >>> from keras_crosscbam.training.augmentations import describe_augmentations
        >>> describe_augmentations([RandomFlip()])
        ['RandomFlip()']

    A layer is told by its configuration, but for its name and its seed, which do not matter here;
    an augmentation of this package by its arguments. A function or an object of one's own is told
    by its source code and by the numbers and texts that it holds. What else its code uses is not
    seen.

    Args:
        augmentations: a list of augmentations, or None.

    Returns:
        A list of texts; None for None.

    Raises:
        ValueError: if it is no list.
    """
    if augmentations is None:
        return None
    check_list("augmentations", augmentations)
    return [_describe(each) for each in augmentations]


def _describe(augmentation):
    if isinstance(augmentation, KerasAugmentation):
        augmentation = augmentation.layer
    if isinstance(augmentation, functools.partial):
        arguments = {**dict(enumerate(augmentation.args)), **augmentation.keywords}
        return f"{_describe(augmentation.func)} {_plain(arguments)}"
    kind = type(augmentation)
    if isinstance(augmentation, keras.layers.Layer):
        return f"{kind.__name__} {json.dumps(_plain(augmentation.get_config()), sort_keys=True)}"
    if kind.__module__.startswith("keras_crosscbam."):
        return repr(augmentation)
    if inspect.isroutine(augmentation):
        cells = zip(augmentation.__code__.co_freevars, augmentation.__closure__ or (), strict=True)
        return _with_source(augmentation, {name: cell.cell_contents for name, cell in cells})
    return _with_source(kind, getattr(augmentation, "__dict__", {}))


def _with_source(code, values):
    try:
        source = hashlib.sha256(inspect.getsource(code).encode()).hexdigest()
    except (OSError, TypeError):
        source = "without source"
    return f"{code.__qualname__} {source} {_plain(values)}"


def _plain(value):
    """A value without what differs between processes: names, seeds, and places in memory."""
    if isinstance(value, dict):
        left_out = ("name", "seed", "build_config")
        return {str(key): _plain(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else type(value).__name__
