"""Pictures of a training: predictions for TensorBoard, and curves for the report."""

import io

import keras
import numpy as np
from PIL import Image

from keras_crosscbam.tf_data import tf
from keras_crosscbam.visualize import as_rgb, overlay

# Blue and orange of Okabe and Ito, which color-blind people can distinguish, for light and for
# dark pages.
_LIGHT = {"text": "#1f2328", "grid": "#d8dee4", "lines": ("#0072b2", "#d55e00")}
_DARK = {"text": "#e6edf3", "grid": "#3d444d", "lines": ("#56b4e9", "#e69f00")}

# Title, factor, and a dict from the columns of the log to their labels.
_PANELS = (
    ("Loss", 1, {"main_loss": "main head", "aux_loss": "auxiliary head"}),
    ("Mean IoU (%)", 100, {"main_mean_iou": "training crops", "val_mean_iou": "validation"}),
    ("Learning rate", 1, {"learning_rate": None}),
    ("Training speed (images/s)", 1, {"images_per_second": None}),
)


class TensorBoardPictures(keras.callbacks.Callback):
    """Writes image, truth and prediction of some validation frames after each validation.

        >>> from keras_crosscbam.training.validation import SegmentationValidation
        >>> from keras_crosscbam.training.tensorboard import TensorBoardPictures
        >>> validation = SegmentationValidation(model, val_set)  # doctest: +SKIP
        >>> pictures = TensorBoardPictures("runs/tensorboard", validation)  # doctest: +SKIP

    The predictions are those of the validation. If the optimizer averages the weights, they are
    predictions of the averaged weights. The callback must come after `KeepBest`. As in
    `keras.callbacks.TensorBoard`, steps are epochs counted from 0. It needs `tensorboard`.

    Args:
        folder: folder of the event files, which is created if needed.
        validation: an object with the attributes `dataset`, a `SegmentationDataset`, and `samples`,
            a dict from the index of a frame to the labels that were predicted last, uint8
            `(height, width)`.
    """

    def __init__(self, folder, validation):
        super().__init__()
        self.folder = folder
        self.validation = validation
        self._writer = None

    def on_epoch_end(self, epoch, logs=None):
        if "val_mean_iou" not in (logs or {}):
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.folder))
        dataset = self.validation.dataset
        with self._writer.as_default(step=epoch):
            for index, predicted in self.validation.samples.items():
                picture = side_by_side(*dataset[index], predicted, dataset.classes)
                name = f"validation/{index} {dataset.pairs[index][0].name}"
                tf.summary.image(name, np.asarray(picture)[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()


def evenly_spaced(count, chosen=4):
    """Returns the indices of at most `chosen` of `count` frames, as far apart as possible.

    >>> from keras_crosscbam.training.tensorboard import evenly_spaced
    >>> evenly_spaced(101)
    [0, 33, 67, 100]
    """
    return np.linspace(0, count - 1, min(chosen, count)).round().astype(int).tolist()


def side_by_side(image, truth, predicted, classes, side=480, gap=4):
    """Returns an image next to its overlays with the true and with the predicted labels.

    Args:
        image: uint8 `(height, width, channels)`.
        truth, predicted: uint8 `(height, width)`.
        classes: a `ClassTable`.
        side: longest side of each of the three pictures in pixels. Larger ones are reduced.
        gap: number of white pixels between two pictures.

    Returns:
        A `PIL.Image.Image` in RGB.
    """
    parts = [Image.fromarray(as_rgb(image))]
    parts += [overlay(image, labels, classes, legend=False) for labels in (truth, predicted)]
    for part in parts:
        part.thumbnail((side, side))
    width, height = parts[0].size
    row = Image.new("RGB", (3 * width + 2 * gap, height), "white")
    for place, part in enumerate(parts):
        row.paste(part, (place * (width + gap), 0))
    return row


def plot_curves(rows, best=None, dark=False):
    """Draws loss, mean IoU, learning rate and speed of a training over its epochs.

        >>> from pathlib import Path
        >>> from keras_crosscbam.training.callbacks import EpochLog
        >>> from keras_crosscbam.training.tensorboard import plot_curves
        >>> rows = EpochLog(Path("runs/camvid-m/log.csv")).rows  # doctest: +SKIP
        >>> _ = Path("curves.png").write_bytes(plot_curves(rows))  # doctest: +SKIP

    Args:
        rows: the rows of an `EpochLog`. All columns except the epoch are optional.
        best: the row to mark, or None.
        dark: whether the picture is for a dark page. The background is transparent.

    Returns:
        The bytes of a PNG of 1500x900 pixels.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    figure = figure_class()(figsize=(10, 6), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
    colors = _DARK if dark else _LIGHT
    for axes, (title, factor, columns) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        for (column, label), color in zip(columns.items(), colors["lines"], strict=False):
            points = [(row["epoch"], factor * row[column]) for row in rows if column in row]
            marker = "o" if len(points) <= 30 else None
            x, y = np.reshape(points, (-1, 2)).T
            axes.plot(x, y, color=color, marker=marker, markersize=3.5, label=label)
        if best and "val_mean_iou" in columns:
            point = [best["epoch"]], [factor * best["val_mean_iou"]]
            axes.plot(*point, "o", color=colors["text"], fillstyle="none", label="best")
        _format_axes(axes, title, rows, colors)
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return file.getvalue()


def _format_axes(axes, title, rows, colors):
    """Sets the axes to all epochs and to values from 0, and adds a grid and a legend."""
    axes.set_title(title, loc="left", color=colors["text"], fontsize=11)
    last = max((row["epoch"] for row in rows), default=1)
    axes.set_xlim(min(0.5, 1 - 0.02 * last), last + max(0.5, 0.02 * last))
    top = axes.dataLim.ymax
    axes.set_ylim(0, 1.05 * top if 0 < top < np.inf else 1)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.tick_params(colors=colors["text"], length=0)
    axes.grid(color=colors["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, labelcolor=colors["text"])


def figure_class():
    """Returns the class `Figure` of matplotlib. The `ImportError` says how to install it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "The curves of a report need matplotlib: pip install 'keras-crosscbam[train]'"
        ) from error
    return Figure
