"""Model cards of the shipped weights, as Markdown, from the entries of their manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras_crosscbam.variants import VARIANTS

USES = {
    "camvid": """\
Segmenting street scenes into CamVid's eleven classes: as a demonstration, as a baseline, and mainly
as a start for your own classes (`crosscbam train --recipe finetune-m --data DIR`, or `finetune-l`).
Do not use it where a person's safety depends on it.
""",
    "imagenet20": """\
As the encoder that a Cross-CBAM starts its training from (`backbone_weights="imagenet20"`), and to
compare encoders under one schedule. As a classifier it predicts only twenty classes, eleven
of which are dogs.
""",
}
LIMITS = {
    "camvid": """\
- One camera on one car, in and around Cambridge, by day and at dusk. Other cities, weather, camera
  heights and night are not in the training. It fails on the cobblestones of the demo photograph
  (`make demo`).
- Thin and rare classes are the worst; see the table above. Scores are computed at an eighth of the
  height and width of the input, so objects that are thinner than a few pixels are lost.
- All validation frames are from drive `0016E5`, and so are 204 of the 367 training frames. Their
  figure shows how well the network recognizes streets that it was trained on, not how it works
  elsewhere. Of the 233 test frames, 171 are from a drive that is in no training frame. Expect the
  test figure, or less, on your own frames.
- People are a small share of the pixels, and were not balanced by any attribute.
""",
    "imagenet20": """\
- 18,494 images of 128 pixels are a hundredth of ImageNet: the features are much worse than those of
  a full pretraining (`imagenet1k-stdc1`), and better than random ones.
- ImageNet's photographs were collected from the web, and have its biases.
""",
}
PUBLISHED = """\
Most test frames show other roads; the validation frames show streets that are in the training.
Published figures, on the same frames at 360x480: FC-DenseNet103, trained from scratch, 66.9 (Jegou
et al., 2017); SegNet, trained on 3,500 frames of several data sets, 60.1 (Badrinarayanan et al.,
2017).
"""


def card(entry: dict[str, Any]) -> str:
    """Returns the card of a manifest entry as Markdown."""
    name, architecture = entry["name"], entry["architecture"]
    kind, _, _ = name.partition("-")
    recipe = entry["recipe"]
    phases = ", ".join(
        f"{phase['epochs']} epochs at {'x'.join(map(str, phase['crop_size']))}"
        for phase in recipe["phases"]
    )
    size = _by(entry["input_size"])
    lines = [
        f"# `{name}` for `{architecture}`",
        "",
        f"{entry['data']}. Input {size}, {entry['num_classes']} classes. SHA-256 of the file: "
        f"`{entry['sha256']}`.",
        "",
        "## Use",
        "",
        USES[kind],
        "## Data and terms",
        "",
        f"{entry['data']}. Terms: {entry['license']}.",
        "",
        "## Training",
        "",
        f"Recipe `{recipe['name']}`: {phases}, batch {recipe['batch_size']}, "
        f"{recipe.get('optimizer', 'adamw')}, learning rate "
        f"{recipe['learning_rate']}, seed {recipe['seed']}; Keras {entry['keras']}, "
        f"{entry['hardware']}, published from commit {entry['commit']}. {entry['note']}",
        "",
        "## Figures",
        "",
        *figures(entry),
        "",
        "## Limits",
        "",
        LIMITS[kind],
    ]
    return "\n".join(lines).rstrip() + "\n"


def figures(entry: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the measured figures, and of the command that reproduces them."""
    if "val_top1" in entry:
        yield f"Top-1 {100 * entry['val_top1']:.2f} % on {entry['val_images']} validation images."
        command = f"--data DIR --variant {entry['architecture'].upper()}"
    else:
        if "val_iou" in entry:
            yield from validation_figures(entry)
        if "held_out" in entry:
            yield from held_out_figures(entry["held_out"])
        yield from test_figures(entry)
        variant = next(v for v in "SML" if VARIANTS[v].architecture == entry["architecture"])
        command = f"--data CamVid --variant {variant}"
    yield ""
    yield "```bash"
    yield f"crosscbam evaluate {command} --weights {entry['name']}"
    yield "```"


def validation_figures(entry: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the figures on the validation frames."""
    full = entry["val_full_size"]
    yield (
        f"On the {entry['val_frames']} validation frames, single scale, in percent, at the "
        "size of the labels:"
    )
    yield ""
    yield "| | labels of 360x480 | labels of 720x960 |"
    yield "|---|---|---|"
    for title, figure in (
        ("mean IoU", "val_mean_iou"),
        ("pixel accuracy", "val_pixel_accuracy"),
    ):
        yield f"| **{title}** | **{100 * entry[figure]:.2f}** | **{100 * full[figure]:.2f}** |"
    for name, iou in entry["val_iou"].items():
        yield f"| {name} | {100 * iou:.1f} | {100 * full['val_iou'][name]:.1f} |"
    yield ""


def held_out_figures(drives: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yields the lines of the figures of trainings without one drive each, on that drive."""
    yield (
        "The same recipe trained without a drive and evaluated on the frames of that drive, single "
        "scale, in percent:"
    )
    yield ""
    heads = (f"{drive} ({figures['frames']} frames)" for drive, figures in drives.items())
    yield f"| | {' | '.join(heads)} |"
    yield f"|---|{'---|' * len(drives)}"
    rows = {
        "**mean IoU**": [figures["mean_iou"] for figures in drives.values()],
        "**pixel accuracy**": [figures["pixel_accuracy"] for figures in drives.values()],
    }
    for name in dict.fromkeys(name for figures in drives.values() for name in figures["iou"]):
        rows[name] = [figures["iou"].get(name) for figures in drives.values()]
    for title, values in rows.items():
        cells = ("none" if value is None else f"{100 * value:.1f}" for value in values)
        yield f"| {title} | {' | '.join(cells)} |"
    yield ""


def test_figures(entry: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the figures on the test frames, if they have been evaluated."""
    if entry["test_mean_iou"] is None:
        yield "The test frames have not been evaluated yet."
        return
    mean_iou, pixels = (100 * entry[f"test_{name}"] for name in ("mean_iou", "pixel_accuracy"))
    yield (
        f"On the {entry['test_frames']} test frames, at {_by(entry['input_size'])}, measured after "
        f"the weights were chosen: mean IoU **{mean_iou:.2f}**, pixel accuracy {pixels:.2f}."
    )
    yield from PUBLISHED.splitlines()
    if "test_iou" in entry:
        yield ""
        classes = (f"{name} {100 * iou:.1f}" for name, iou in entry["test_iou"].items())
        yield f"By class: {', '.join(classes)}."


def _by(size):
    return "x".join(map(str, size))
