"""What a run learns from, written into its folder, which never goes on with anything else.

The description of a run is a dict of three parts: `recipe`, its fields; `data`, what the data sets
hold, by digests of their contents; `weights`, the digests of the files that it starts from.
"""

import json
import logging
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from keras_crosscbam.models.manifest import sha256
from keras_crosscbam.training.files import replacing

REMEDY = "Choose another folder, or remove this one to start anew."
logger = logging.getLogger(__name__)


def describe(recipe, data):
    """The description of a run.

    Args:
        recipe: an `Optimization`.
        data: what it is applied to, a dict of JSON values.

    Returns:
        A dict of JSON values.
    """
    settings = asdict(recipe)
    files = {
        name: Path(value.partition("#")[0])
        for name, value in settings.items()
        if isinstance(value, str) and value.partition("#")[0].endswith((".h5", ".hdf5", ".keras"))
    }
    weights = {name: f"sha256:{sha256(path)}" for name, path in files.items() if path.is_file()}
    return _as_json({"recipe": settings, "data": data, "weights": weights})


def bind(file, description, recipe, has_learnt, write):
    """Writes the description of a run into its folder; what the folder has learnt must fit it.

    Args:
        file: path of the description.
        description: what `describe` gives.
        recipe: the `Optimization` in it.
        has_learnt: whether the folder holds weights or checkpoints.
        write: whether this process writes.

    Raises:
        ValueError: if the folder holds a run of something else, with what has changed.
    """
    written = _read(file, recipe) if has_learnt else {}
    for part, before in written.items():
        _refuse_changes(file.parent, part, before, description[part])
    if written and (unknown := description["data"].keys() - written["data"].keys()):
        logger.warning(
            "%s is of an earlier version, which did not write down %s: nobody can tell whether "
            "they have changed since",
            file.parent,
            ", ".join(sorted(unknown)),
        )
    # What is there no longer, such as weights to start from, stays written down.
    whole = {part: written.get(part, {}) | now for part, now in description.items()}
    if write and whole != written:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps(whole, indent=2))


def _read(file, recipe):
    """The description in a folder; fields that an earlier version did not have are the default."""
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
            f"{file.parent} holds weights or checkpoints, but no {file.name} that says what they "
            f"were trained on. {REMEDY}"
        ) from error


def _refuse_changes(folder, part, before, now):
    """Raises a `ValueError` for what both know otherwise."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        changes = ", ".join(_change(name, before[name], now[name]) for name in changed)
        raise ValueError(f"{folder} holds a run with other {part} ({changes}). {REMEDY}")


def _change(name, before, now):
    if any(isinstance(value, list | dict) or str(value)[:6] == "sha256" for value in (before, now)):
        return f"{name} changed"
    return f"{name} was {before!r} and is {now!r} now"


def _as_json(values):
    """Through JSON, in which tuples are lists."""
    return json.loads(json.dumps(values))
