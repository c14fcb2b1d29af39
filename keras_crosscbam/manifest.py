"""Finds weights files by name, path or URL, and verifies their checksums.

>>> import keras_crosscbam
>>> list(keras_crosscbam.list_weights())
['camvid-scratch', 'imagenet20', 'camvid']
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.hub.address import is_address
from keras_crosscbam.hub.download import download_weights

MANIFEST = "manifest.json"
# In an installed wheel the weights are inside the package, in a checkout next to it.
_FOLDERS = (
    Path(__file__).parents[0] / "weights",
    Path(__file__).parents[1] / "weights",
)


def list_weights() -> dict[str, list[dict[str, Any]]]:
    """Returns the shipped weights: a dict from name to manifest entries, one per architecture.

        >>> import keras_crosscbam
        >>> for name, entries in keras_crosscbam.list_weights().items():
        ...     print(name, [entry["architecture"] for entry in entries])  # doctest: +SKIP
        camvid ['cross_cbam_stdc1']

    An entry describes the training data, the training and the measured accuracy.
    """
    listed: dict[str, list[dict[str, Any]]] = {}
    for entry in _manifest():
        listed.setdefault(entry["name"], []).append(entry)
    return listed


def find_file(weights, architecture):
    """Finds weights by name, path or URL, and verifies their SHA-256 if it is known.

    Args:
        weights: a name of `list_weights()`, the path of a `.weights.h5` file as written by
            `model.save_weights`, a URL of such a file, or its address on the Hugging Face Hub,
            `hf://user/name` or `hf://user/name@revision/file`. All but a name may end in
            `#sha256=<64 digits>`. A file with the name of a shipped one is checked against the
            manifest.
        architecture: selects the entry among those of one name, such as `"cross_cbam_stdc1"`.

    Returns:
        The path of the file, and its manifest entry, a dict that is empty for other files.

    Raises:
        ValueError: if there is no such name or file, or the checksum differs.
    """
    text = str(weights)
    location, _, expected = text.partition("#sha256=")
    entry = {}
    if is_address(location):
        path, entry = download_weights(location)
    elif re.match(r"https?://", location):
        path = _fetch(location, expected)
    elif location.endswith((".h5", ".hdf5")) or Path(location).is_file():
        path = Path(location)
        entry = next((e for e in _manifest() if e["file"] == path.name), {})
    else:
        entry = _named_entry(text, architecture)
        path = _shipped_file(entry)
    _verify(path, expected or entry.get("sha256"))
    return path, entry


def _manifest():
    for folder in _FOLDERS:
        if (folder / MANIFEST).is_file():
            return json.loads((folder / MANIFEST).read_text())["weights"]
    return []


def _named_entry(name, architecture):
    entries = list_weights().get(name, [])
    for entry in entries:
        if entry["architecture"] == architecture:
            return entry
    shipped = [f"{e['name']!r} for {e['architecture']}" for e in _manifest()] or ["none"]
    raise ValueError(
        f"No weights {name!r} for {architecture}: neither shipped weights nor a file. Shipped "
        f"weights: {', '.join(shipped)}. Or pass the path of a .weights.h5 file, a URL, or None."
    )


def _shipped_file(entry):
    for folder in _FOLDERS:
        if (folder / entry["file"]).is_file():
            return folder / entry["file"]
    if "url" in entry:
        return _fetch(entry["url"], entry["sha256"])
    if entry.get("in_wheel", True):
        raise ValueError(
            f"{entry['file']} is missing from {_FOLDERS[0]}. Reinstall keras_crosscbam from its "
            "wheel; an installation from the source archive contains no weights."
        )
    raise ValueError(
        f"The weights {entry['name']!r} are not part of the wheel, to keep it small. Download "
        f"{entry['file']} from the folder weights/ of the project's repository and pass its path "
        "as weights=. Its SHA-256 is checked against the manifest."
    )


def _fetch(url, expected):
    """Downloads a file into Keras' cache, under a name that is unique to the URL."""
    import keras

    place = hashlib.sha256(url.encode()).hexdigest()[:12]
    name = f"{place}-{url.rsplit('/', 1)[-1]}"
    try:
        file = keras.utils.get_file(
            name, origin=url, cache_subdir="keras_crosscbam", file_hash=expected or None
        )
    except Exception as error:  # Keras raises a plain Exception for a failed download
        raise ValueError(f"{url} could not be downloaded: {error}") from error
    return Path(file)


def _verify(path, expected):
    if not path.is_file():
        raise ValueError(f"{path}: no such weights file")
    if expected and (found := file_sha256(path)) != expected.lower():
        raise ValueError(
            f"{path}: its SHA-256 is {found}, expected {expected.lower()}. The file was changed or "
            "damaged, and no weights were loaded. Download it again."
        )
