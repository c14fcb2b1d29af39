"""Downloads models from the Hugging Face Hub, and verifies their SHA-256."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.hub.address import Address, is_plain
from keras_crosscbam.hub.library import NotOnHubError, explained, huggingface_hub

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = "manifest.json"
"""File of a repository that lists its models and the SHA-256 of their files."""

WEIGHTS = ".weights.h5"
"""Extension of weights files. All other models are complete networks."""

logger = logging.getLogger(__name__)


def download_weights(text: str) -> tuple[Path, dict[str, Any]]:
    """Downloads the weights file at an address on the Hub, unless it is in the cache.

        >>> from keras_crosscbam.hub.download import download_weights
        >>> path, entry = download_weights("hf://user/name")  # doctest: +SKIP

    Args:
        text: address of a repository, or of a file in it.

    Returns:
        The path in the cache of huggingface_hub, and the entry of the file that the repository's
        manifest contains, a dict that may be empty.

    Raises:
        ValueError: if there is no such repository, revision or file, if the Hub cannot be reached
            and the file is not in the cache, and if the SHA-256 differs from the manifest's.
        ImportError: if huggingface_hub is not installed.
    """
    return _download(Address.parse(text), "weights file", lambda name: name.endswith(WEIGHTS))


def download_network(text: str) -> Path:
    """Like `download_weights`, for a complete network: a `.keras` file or an exported one.

    Returns:
        The path of the file or folder, next to the files that belong to it.
    """
    return _download(Address.parse(text), "network", lambda name: not name.endswith(WEIGHTS))[0]


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the models that a manifest lists: a dict from name to their description.

    A description is a dict. Its item `"files"` is a dict from the path of each file of the model to
    its SHA-256, and the optional item `"entry"` is an entry of the package's own manifest.

    Raises:
        ValueError: for another file.
    """
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        for name, model in models.items():
            files = model["files"]
            if not all(map(is_plain, (name, *files))) or not _is_entry(model.get("entry", {})):
                raise ValueError(f"unexpected contents of {name!r}")
            if not files or not all(isinstance(digest, str) for digest in files.values()):
                raise ValueError(f"no SHA-256 for {name!r}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}: not the manifest of a repository that `crosscbam push` wrote ({error})"
        ) from error
    return models


def _is_entry(entry):
    """Returns whether the items of an entry that loading uses have the right types."""
    size = entry.get("input_size", [1, 1])
    texts = all(isinstance(entry.get(name, ""), str) for name in ("classes", "sha256"))
    return texts and len(size) == 2 and all(isinstance(side, int) for side in size)


def fetch(address: Address) -> Path:
    """Downloads one file without verifying it; returns its path in the cache."""
    hub = huggingface_hub()
    with explained(address):
        return Path(
            hub.hf_hub_download(
                address.repo,
                address.file,
                revision=address.revision,
                library_name="keras-crosscbam",
            )
        )


def _download(address: Address, kind: str, is_kind: Callable[[str], bool]):
    try:
        manifest = fetch(replace(address, file=MANIFEST))
    except NotOnHubError:
        return _without_manifest(address), {}
    models = read_manifest(manifest)
    name = address.file or _only_one(address, kind, filter(is_kind, models))
    if name not in models:
        raise ValueError(f"{address}: its {MANIFEST} lists only {', '.join(models) or 'no models'}")
    # The folder's name is the commit, so that all files are from the same one.
    commit = manifest.parent.name
    for file, digest in models[name]["files"].items():
        _verify(fetch(Address(address.repo, commit, file)), digest, replace(address, file=file))
    return manifest.parent / name, models[name].get("entry", {})


def _only_one(address, kind, names):
    found = list(names)
    if len(found) != 1:
        some = f"several {kind}s ({', '.join(found)})" if found else f"no {kind}"
        raise ValueError(
            f"{address}: the repository has {some}. Name a file: {replace(address, file='FILE')}"
        )
    return found[0]


def _without_manifest(address):
    if address.file is None:
        raise ValueError(
            f"{address}: the repository has no {MANIFEST}, so a file has to be named: "
            f"{replace(address, file='FILE')}"
        )
    path = fetch(address)
    logger.warning(
        "%s: the repository has no %s, so the SHA-256 of the file was not verified",
        address,
        MANIFEST,
    )
    return path


def _verify(path, expected, address):
    found = file_sha256(path)
    if found != expected.lower():
        raise ValueError(
            f"{address}: the SHA-256 of the file is {found}, but the repository's {MANIFEST} says "
            f"{expected.lower()}. It was changed or damaged, and nothing was loaded. To download "
            f"it again, delete {path.resolve()}."
        )
