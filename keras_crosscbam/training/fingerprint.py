"""Describes the inputs of a run and checks that a resumed run has the same ones.

The description of a run is a dict of three parts: `recipe` has the fields of the recipe, `data` has
digests of the contents of the data sets, and `weights` has digests of the weights files that the
run uses.
"""

import functools
import hashlib
import inspect
import json
import logging
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import keras

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.datasets.argument_checks import check_list
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation
from keras_crosscbam.training.atomic import replacing

REMEDY = "Choose another folder, or remove this one to start again."
logger = logging.getLogger(__name__)


def describe(recipe, data):
    """Returns the description of a run.

    Args:
        recipe: an `Optimization`.
        data: description of the data sets, a dict of JSON values.

    Returns:
        A dict of JSON values.
    """
    settings = asdict(recipe)
    weights = {}
    for name, value in settings.items():
        files = filter(Path.is_file, _weight_files(value))
        if digests := [f"sha256:{file_sha256(file)}" for file in files]:
            weights[name] = digests[0] if isinstance(value, str) else digests
    return _as_json({"recipe": settings, "data": data, "weights": weights})


def _weight_files(value):
    """Returns the paths of weights files in a recipe's field, which is a text or a list."""
    texts = value if isinstance(value, list | tuple) else [value]
    places = (text.partition("#")[0] for text in texts if isinstance(text, str))
    return [Path(place) for place in places if place.endswith((".h5", ".hdf5", ".keras"))]


def bind(file, description, recipe, has_weights, write):
    """Writes the description of a run into its folder and checks it against an existing one.

    Args:
        file: path of the description.
        description: the dict that `describe` returns.
        recipe: the `Optimization` in the description.
        has_weights: whether the folder contains weights or checkpoints.
        write: whether this process writes the file.

    Raises:
        ValueError: if the folder contains a run with another description. The message names the
            differences.
    """
    written = _read(file, recipe) if has_weights else {}
    for part, before in written.items():
        _refuse_changes(file.parent, part, before, description[part])
    if written and (unknown := description["data"].keys() - written["data"].keys()):
        logger.warning(
            "%s was written by an earlier version, which did not record %s: changes of them cannot "
            "be detected",
            file.parent,
            ", ".join(sorted(unknown)),
        )
    # Entries that do not exist any more, such as weights to start from, are kept.
    whole = {part: written.get(part, {}) | now for part, now in description.items()}
    if write and whole != written:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps(whole, indent=2))


def _read(file, recipe):
    """Reads the description in a folder. Missing fields of the recipe get their defaults."""
    defaults = {f.name: f.default for f in fields(recipe) if f.default is not MISSING}
    try:
        written = json.loads(file.read_text())
        return {
            "recipe": _as_json(defaults) | written["recipe"],
            "data": written["data"],
            "weights": written.get("weights", {}),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file.parent} contains weights or checkpoints, but no valid {file.name} that "
            f"describes their training. {REMEDY}"
        ) from error


def _refuse_changes(folder, part, before, now):
    """Raises a `ValueError` if entries that both descriptions have are different."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        changes = ", ".join(_change(name, before[name], now[name]) for name in changed)
        raise ValueError(f"{folder} contains a run with other {part} ({changes}). {REMEDY}")


def _change(name, before, now):
    if any(isinstance(value, list | dict) or str(value)[:6] == "sha256" for value in (before, now)):
        return f"{name} changed"
    return f"{name} was {before!r} and is {now!r} now"


def _as_json(values):
    """Converts values to JSON and back, which turns tuples into lists."""
    return json.loads(json.dumps(values))


def describe_augmentations(augmentations):
    """Returns a text for each augmentation, which is the same in every process.

        >>> from keras_crosscbam.datasets.augment import RandomFlip
        >>> from keras_crosscbam.training.fingerprint import describe_augmentations
        >>> describe_augmentations([RandomFlip()])
        ['RandomFlip()']

    The text of a layer contains its configuration without name and seed, which do not matter here.
    The text of an augmentation of this package contains its arguments. The text of a user-defined
    function or object contains a digest of its source code, and the numbers and texts in its
    closure or attributes. Other code and values that it uses are not included.

    Args:
        augmentations: a list of augmentations that `training_batches` accepts, or None.

    Returns:
        A list of texts; None for None.

    Raises:
        ValueError: if `augmentations` is not a list.
    """
    if augmentations is None:
        return None
    check_list("augmentations", augmentations)
    return [_describe(each) for each in augmentations]


def describe_function(function):
    """Returns a text for a function, as `describe_augmentations` does for augmentations."""
    return _describe(function)


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
    """Returns a value without names, seeds and memory addresses, which may differ by process."""
    if isinstance(value, dict):
        left_out = ("name", "seed", "build_config")
        return {str(key): _plain(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else type(value).__name__
