"""HTML report of a training, in one self-contained file."""

import base64
import io
import json
import os
import shlex
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.evaluation import best_and_worst, evaluate, over_classes, predictor
from keras_crosscbam.images import ASSETS
from keras_crosscbam.training.atomic import replacing
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.resumable import BEST, DESCRIPTION, LOG
from keras_crosscbam.training.tensorboard import figure_class, plot_curves
from keras_crosscbam.visualize import as_rgb, colorize

REPORT = "report.html"
PAGE = ASSETS / "report.html"
DASH = "\N{EN DASH}"
SHOWN = 3
"""The number of best frames and of worst frames in a report."""


def write_report(run, model, val_set, size=None):
    """Writes `report.html` into the folder of a run. An existing file is replaced atomically.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.training.report import write_report
        >>> model = kc.CrossCBAM_M(weights="runs/camvid-m/best.weights.h5")  # doctest: +SKIP
        >>> val = kc.datasets.load_camvid("CamVid", "val")  # doctest: +SKIP
        >>> write_report("runs/camvid-m", model, val)  # doctest: +SKIP

    The report shows the accuracy, the curves of the training, the classes, the confusion matrix,
    the frames with the best and the worst predictions, and the recipe. The accuracy is computed by
    `keras_crosscbam.evaluate`. The pictures are embedded in the file.

    Args:
        run: folder of a run, with its `run.json` and `log.csv`.
        model: the network with the best weights: a `keras.Model`, a `Runtime`, or the path of a
            `.keras` or `.onnx` file.
        val_set: the `SegmentationDataset` to evaluate on.
        size: as in `keras_crosscbam.evaluate`.

    Returns:
        The path of the report.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there is no run in the folder, or if model and data set have different
            classes.
    """
    # Raises an error before the evaluation if matplotlib is missing.
    figure_class()
    folder = Path(run)
    if not (folder / DESCRIPTION).is_file():
        raise ValueError(f"{folder} does not contain {DESCRIPTION}. Pass the folder of a training.")
    description = json.loads((folder / DESCRIPTION).read_text())
    rows = EpochLog(folder / LOG).rows
    network = runtime.load(model)
    result, predict = evaluate(network, val_set, size), predictor(network, val_set, size)
    recipe, data = description["recipe"], description["data"]
    validated = [row for row in rows if not np.isnan(row.get("val_mean_iou", np.nan))]
    best = max(validated, key=lambda row: row["val_mean_iou"], default=None)
    shown = zip(("Best", "Worst"), best_and_worst(result["frame_iou"], SHOWN), strict=True)
    title = f"{recipe['name']} on {data['name']}"
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        figures=_headline(result, best, rows, data),
        measured=_measured(best, result["frames"]),
        curves=_curves(rows, best),
        classes=_class_table(result, val_set.classes),
        matrix=_matrix(result["confusion"], val_set.classes),
        frames="".join(
            f"<h3>{name}</h3>{_frames(indices, result['frame_iou'], predict, val_set)}"
            for name, indices in shown
            if indices
        ),
        recipe="".join(_row(name, _setting(name, value)) for name, value in recipe.items()),
        command=escape(_command(folder, recipe, size)),
    )
    with replacing(folder / REPORT) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return folder / REPORT


# Figures


def _headline(result, best, rows, data):
    last = rows[-1] if rows else {}
    epochs = f"{last.get('epoch', 0):.0f}"
    tiles = {
        f"mean IoU {over_classes(result)}": _percent(result["mean_iou"]),
        "pixel accuracy": _percent(result["pixel_accuracy"]),
        "best epoch": f"{best['epoch']:.0f} of {epochs}" if best else DASH,
        "steps": f"{last.get('step', 0):,.0f}",
        "training frames": f"{data['train_frames']:,}",
        "validation frames": f"{result['frames']:,}",
    }
    return "".join(f"<div><b>{value}</b>{name}</div>" for name, value in tiles.items())


def _measured(best, frames):
    text = f"Measured with the best weights on the {frames} complete validation frames."
    if best is None:
        return text
    score = f"{100 * best['val_mean_iou']:.2f} %"
    return f"{text} The validation during training gave {score} in epoch {best['epoch']:.0f}."


def _percent(value):
    """Returns HTML that shows a value in 0..1 in percent and contains the exact value as data."""
    value = float(value)
    return DASH if np.isnan(value) else f'<data value="{value!r}">{100 * value:.2f} %</data>'


def _class_table(result, classes):
    pixels = result["confusion"].sum(axis=1)
    shares = pixels / max(pixels.sum(), 1)
    rows = []
    for name, color, share in zip(classes.names, classes.colors, shares, strict=True):
        iou = result["iou"][name]
        bar = "" if np.isnan(iou) else f'<div style="width:{100 * iou:.2f}%"></div>'
        rows.append(
            f'<tr><th scope="row">{_swatch(color)}{escape(name)}</th>'
            f'<td class="bar"><div>{bar}</div></td><td>{_percent(iou)}</td>'
            f"<td>{_percent(share if share else np.nan)}</td></tr>"
        )
    return "".join(rows)


def _swatch(color):
    return '<i style="background:rgb({},{},{})"></i>'.format(*color)


def _matrix(confusion, classes):
    """Returns the HTML of the confusion matrix, with one row for each true class."""
    names = [escape(name) for name in classes.names]
    heads = "".join(_head("col", name) for name in names)
    rows = [f"<tr><td></td>{heads}</tr>"]
    for name, counts in zip(names, confusion, strict=True):
        cells = "".join(
            _cell(f"{name} predicted as {other}", count, counts.sum())
            for other, count in zip(names, counts, strict=True)
        )
        rows.append(f"<tr>{_head('row', name)}{cells}</tr>")
    # With these sizes 32 classes fit on the page, and cells of few classes are not too small.
    cell = "2.3rem" if len(names) <= 20 else "1.6rem"
    return f'<table class="matrix" style="--cell:{cell}">{"".join(rows)}</table>'


def _head(scope, name):
    return f'<th scope="{scope}" title="{name}"><span>{name}</span></th>'


def _cell(meaning, count, total):
    if not total:
        return f"<td>{DASH}</td>"
    share = count / total
    # A smaller share would be rounded to 0.
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    strong = ' class="strong"' if share > 0.8 else ""
    return (
        f'<td{strong} style="--share:{share:.3f}" title="{meaning}: {count:,} pixels, '
        f'{100 * share:.2f} %">{text}</td>'
    )


# Pictures


def _frames(indices, scores, predict, val_set):
    """Returns the HTML of each frame next to its true and its predicted labels."""
    root = os.path.commonpath([image.parent for image, _ in val_set.pairs])
    figures = []
    for index in indices:
        image, labels = val_set[index]
        predicted = predict(image, labels.shape)
        pictures = {
            "image": (Image.fromarray(as_rgb(image)), "JPEG"),
            "truth": (_painted(labels, val_set.classes), "PNG"),
            "prediction": (_painted(predicted, val_set.classes), "PNG"),
        }
        name = escape(val_set.pairs[index][0].relative_to(root).as_posix())
        columns = "".join(
            f'<img src="{_inline(*picture)}" alt="{name}, {part}">'
            for part, picture in pictures.items()
        )
        figures.append(
            f"<figure><figcaption>{name} · mean IoU {_percent(scores[index])}</figcaption>"
            f"<div>{columns}</div></figure>"
        )
    return "".join(figures)


def _painted(labels, classes):
    return Image.fromarray(colorize(labels, classes))


def _inline(picture, kind, side=640):
    """Returns a picture as a data URI. Labels are resized without new colors and stored as PNG."""
    picture.thumbnail((side, side), Image.LANCZOS if kind == "JPEG" else Image.NEAREST)
    file = io.BytesIO()
    picture.save(file, kind, quality=85)
    return _data_uri(file.getvalue(), kind)


def _data_uri(content, kind):
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}"


def _curves(rows, best):
    """Returns the HTML of the curves, with a picture for light and one for dark pages."""
    light, dark = (_data_uri(plot_curves(rows, best, dark), "PNG") for dark in (False, True))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Loss, mean IoU, learning rate and speed by epoch"></picture>'
    )


# Recipe


def _row(name, value):
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'


def _setting(name, value):
    """Returns a value of `run.json` as text."""
    if name == "phases":
        crops = [(phase["epochs"], *phase["crop_size"]) for phase in value]
        return ", ".join(f"{epochs} epochs at {rows}x{columns}" for epochs, rows, columns in crops)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value is None else str(value)


def _command(folder, recipe, size):
    """Returns the command that measures the accuracy again."""
    words = ["crosscbam", "evaluate", "--data", "DATA", "--variant", recipe["variant"]]
    words += ["--weights", str(folder / BEST)]
    if size is not None:
        words += ["--size", str(size) if isinstance(size, int) else "{}x{}".format(*size)]
    return shlex.join(words)
