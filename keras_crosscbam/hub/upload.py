"""Uploads models to the Hugging Face Hub, with a manifest and a model card."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.hub.address import PREFIX, Address, check_repo
from keras_crosscbam.hub.card import MARK, readme
from keras_crosscbam.hub.download import MANIFEST, WEIGHTS, fetch, read_manifest
from keras_crosscbam.hub.library import NotOnHubError, explained, huggingface_hub
from keras_crosscbam.image_files import files_below
from keras_crosscbam.manifest import list_weights
from keras_crosscbam.runtime.description import beside

if TYPE_CHECKING:
    from keras_crosscbam.types import StrPath

README = "README.md"


def push(
    path: StrPath,
    repo: str,
    private: bool | None = None,
    license_id: str | None = None,
    message: str | None = None,
) -> str:
    """Uploads a model to a repository on the Hugging Face Hub, which is created if necessary.

        >>> import keras_crosscbam as kc
        >>> kc.hub.push("runs/camvid-m/best.weights.h5", "user/name")  # doctest: +SKIP
        >>> model = kc.CrossCBAM_M(weights="hf://user/name")  # doctest: +SKIP

    The model is loaded first, so that no unreadable file is uploaded. One commit contains its
    files, `manifest.json` with their SHA-256, and `README.md`, the model card. Models that are in
    the repository already stay there. A `README.md` that was written by hand is not changed.

    Log in with `hf auth login` of huggingface_hub first.

    Args:
        path: a `.weights.h5` file, or a file or folder that `keras_crosscbam.runtime.load` takes.
        repo: `"user/name"`.
        private: whether to create a private repository; None for the default of the account.
        license_id: identifier of a license on the Hub, such as `"apache-2.0"`, for the card.
        message: message of the commit.

    Returns:
        The URL of the commit.

    Raises:
        ValueError: for a file that cannot be loaded, and if the Hub refuses the upload.
        ImportError: if huggingface_hub is not installed.
    """
    hub = huggingface_hub()
    check_repo(repo)
    path = Path(path)
    files = _files_of(path)
    model = _described(path, f"{PREFIX}{repo}/{path.name}", files)
    address, api = Address(repo), hub.HfApi(library_name="keras-crosscbam")
    with explained(address):
        api.create_repo(repo, private=private, exist_ok=True)
        head = api.model_info(repo).sha
    models = {**_models_at(Address(repo, head, MANIFEST)), path.name: model}
    contents: dict[str, Path | bytes] = {**files}
    contents[MANIFEST] = json.dumps({"models": models}, indent=1).encode()
    if _may_replace(Address(repo, head, README)):
        contents[README] = _readme(address, models, license_id).encode()
    with explained(address):
        commit = api.create_commit(
            repo,
            [hub.CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=message or f"Add {path.name}",
            # Nothing that others upload at the same time is lost.
            parent_commit=head,
        )
    return commit.commit_url


def _files_of(path):
    """Returns a dict from path in the repository to file, for a model and what belongs to it."""
    if path.is_dir():
        files = [file for file in files_below(path) if file.is_file()]
        return {f"{path.name}/{file.relative_to(path).as_posix()}": file for file in files}
    companions = [beside(path)]
    if path.suffix.lower() == ".xml":
        companions.append(path.with_suffix(".bin"))
    return {file.name: file for file in [path, *companions] if file == path or file.is_file()}


def _described(path, address, files):
    """Returns the description of a model in the manifest; raises an error if it is unreadable."""
    if path.name.endswith(WEIGHTS):
        described = _weights(path, address)
    else:
        from keras_crosscbam import runtime

        run = runtime.load(path)
        described = {
            "use": "import keras_crosscbam as kc\n\n"
            f'run = kc.runtime.load("{address}")\n'
            'labels = kc.segment(run, "street.jpg")',
            "classes": list(run.classes.names) if run.classes.is_named else None,
        }
    digests = {name: file_sha256(file) for name, file in files.items()}
    return {"files": digests, **described}


def _weights(path, address):
    from keras_crosscbam.models.weights import find_weights

    weights = find_weights(path, "")
    described = {
        "use": f"import keras_crosscbam as kc\n\nmodel = {_builder(weights, address)}",
        "classes": list(weights.classes.names) if weights.classes else None,
    }
    entry = _shipped_entry(path) or _run_entry(path)
    return {**described, "entry": entry} if entry else described


def _builder(weights, address):
    """Returns the call that builds the network of some weights, as Python code."""
    import keras_crosscbam as kc
    from keras_crosscbam.models.architecture import architecture_of

    shape = f"(None, None, {weights.channels or 3})"
    if "classifier" not in weights.variables:
        name = "STDC2" if any("stage3_block3_" in path for path in weights.variables) else "STDC1"
        return f'kc.{name}(weights="{address}", input_shape={shape})'
    arguments = architecture_of(weights)
    defaults = inspect.signature(kc.CrossCBAM).parameters
    others = "".join(
        f"    {name}={value!r},\n"
        for name, value in arguments.items()
        # The number of classes is that of the weights.
        if name not in ("backbone", "num_classes") and value != defaults[name].default
    )
    return (
        f'kc.CrossCBAM(\n    "{arguments["backbone"]}",\n    weights="{address}",\n{others}'
        f"    input_shape={shape},\n)"
    )


def _shipped_entry(path):
    """Returns the entry of shipped weights with the contents of a file, or None."""
    digest = file_sha256(path)
    entries = (entry for entries in list_weights().values() for entry in entries)
    return next((entry for entry in entries if entry["sha256"] == digest), None)


def _run_entry(path):
    """Returns a description of the training in whose folder the weights are, or None.

    It contains no paths of this computer.
    """
    from keras_crosscbam.training.callbacks import EpochLog
    from keras_crosscbam.training.resumable import BEST, DESCRIPTION, LOG

    if path.name != BEST or not path.with_name(DESCRIPTION).is_file():
        return None
    description = json.loads(path.with_name(DESCRIPTION).read_text(encoding="utf-8"))
    recipe, data = description["recipe"], description["data"]
    rows = EpochLog(path.with_name(LOG)).rows
    scores = [score for row in rows if not math.isnan(score := row.get("val_mean_iou", math.nan))]
    return {
        "data": data["name"],
        "train_frames": data["train_frames"],
        "epochs": len(rows),
        "val_mean_iou": max(scores, default=None),
        "recipe": {name: recipe[name] for name in ("name", "batch_size", "learning_rate", "seed")},
    }


def _models_at(address):
    """Returns the models of a manifest on the Hub, or an empty dict if there is none."""
    try:
        return read_manifest(fetch(address))
    except NotOnHubError:
        return {}


def _readme(address, models, license_id):
    try:
        return readme(address.repo, models, license_id)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{address}: its {MANIFEST} describes models as no version of this package does "
            f"({error!r}). Delete it there and push again."
        ) from error


def _may_replace(address):
    """Returns whether a README.md on the Hub is missing or was written by this package."""
    try:
        return MARK in fetch(address).read_text(encoding="utf-8")
    except NotOnHubError:
        return True
