"""The README.md of a repository on the Hugging Face Hub: a model card with its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from keras_crosscbam.model_card import card

MARK = "<!-- Written by `crosscbam push`, which replaces this text unless you delete this line. -->"
"""Line by which `crosscbam push` recognizes a card that it may replace."""

TAGS = ["image-segmentation", "semantic-segmentation", "cross-cbam", "keras-crosscbam"]

# Names of the data sets on the Hub, by the first part of the name of shipped weights.
_DATASETS = {"camvid": "camvid", "imagenet20": "imagenet-1k"}
_FIGURES = {
    "val_mean_iou": ("mean_iou", "mean IoU, validation"),
    "test_mean_iou": ("mean_iou", "mean IoU, test"),
    "val_pixel_accuracy": ("accuracy", "pixel accuracy, validation"),
    "test_pixel_accuracy": ("accuracy", "pixel accuracy, test"),
    "val_top1": ("accuracy", "top-1 accuracy, validation"),
}


def readme(repo: str, models: Mapping[str, dict[str, Any]], license_id: str | None = None) -> str:
    """Returns the README.md of a repository.

        >>> from keras_crosscbam.hub.card import readme
        >>> model = {"files": {"m.onnx": 64 * "0"}, "use": "run = ...", "classes": ["road"]}
        >>> "library_name: keras" in readme("user/name", {"m.onnx": model})
        True

    Args:
        repo: `"user/name"`.
        models: the models of the repository's manifest; see
            `keras_crosscbam.hub.download.read_manifest`. Besides, a description has the items
            `"use"`, Python code that loads the model, and `"classes"`, a list of names or None.
        license_id: identifier of the license on the Hub, such as `"apache-2.0"`; None for `"other"`
            if the terms are in the card, or else `"unknown"`.
    """
    entries = {name: model["entry"] for name, model in models.items() if model.get("entry")}
    front = yaml.safe_dump(
        _metadata(repo, entries, license_id), sort_keys=False, allow_unicode=True
    )
    lines = [
        "---",
        front.rstrip(),
        "---",
        MARK,
        "",
        f"# {repo.partition('/')[2]}",
        "",
        "Cross-CBAM, a network for real-time semantic segmentation, for the package",
        "[keras_crosscbam](https://github.com/keras-crosscbam/keras_crosscbam).",
    ]
    for name, model in sorted(models.items()):
        lines += ["", f"## {name}", "", "```python", model["use"], "```", ""]
        if model.get("classes"):
            lines += [f"Classes, in order: {', '.join(model['classes'])}.", ""]
        lines += ["| file | SHA-256 |", "|---|---|"]
        lines += [f"| `{file}` | `{digest}` |" for file, digest in model["files"].items()]
        if name in entries:
            lines += ["", *_described(entries[name])]
    return "\n".join(lines) + "\n"


def _metadata(repo, entries, license_id):
    """Returns the YAML metadata of a card, which the Hub reads."""
    figures = [
        (_dataset(entry), name, kind, title, entry[figure])
        for name, entry in sorted(entries.items())
        for figure, (kind, title) in _FIGURES.items()
        if entry.get(figure) is not None
    ]
    has_terms = any("license" in entry for entry in entries.values())
    metadata = {
        "license": license_id or ("other" if has_terms else "unknown"),
        "library_name": "keras",
        "pipeline_tag": "image-segmentation",
        "tags": TAGS,
    }
    if entries:
        metadata["datasets"] = sorted({_dataset(entry) for entry in entries.values()})
    metadata["metrics"] = sorted({kind for _, _, kind, _, _ in figures}) or ["mean_iou"]
    if figures:
        metadata["model-index"] = [
            {
                "name": repo.partition("/")[2],
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {"name": dataset, "type": dataset},
                        "metrics": [{"type": kind, "name": f"{title} ({name})", "value": value}],
                    }
                    for dataset, name, kind, title, value in figures
                ],
            }
        ]
    return metadata


def _dataset(entry):
    kind = entry.get("name", "").partition("-")[0]
    return _DATASETS.get(kind) or entry["data"]


def _described(entry):
    """Yields the lines about the training of a model, below a heading of the second level."""
    if "name" in entry:
        # An entry of the package's manifest, whose card is a page with headings of its own.
        yield from (
            f"#{line}" if line.startswith("#") else line for line in card(entry).splitlines()
        )
        return
    recipe = entry["recipe"]
    yield "### Training"
    yield ""
    yield (
        f"Recipe `{recipe['name']}`, {entry['train_frames']} frames of {entry['data']}, "
        f"{entry['epochs']} epochs; batch {recipe['batch_size']}, learning rate "
        f"{recipe['learning_rate']}, seed {recipe['seed']}."
    )
    if entry.get("val_mean_iou") is not None:
        yield ""
        yield f"Validation mean IoU: {100 * entry['val_mean_iou']:.2f} %, of the best epoch."
