"""Accuracy of any model on any data set: the one place that figures come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np

from keras_crosscbam import runtime
from keras_crosscbam.batching import outputs
from keras_crosscbam.confusion import confusion_matrix, iou_per_class
from keras_crosscbam.datasets.class_mapping import difference, relabeling
from keras_crosscbam.image_channels import array_to_channels
from keras_crosscbam.parallel import parallel_map
from keras_crosscbam.progress import progress as with_progress

if TYPE_CHECKING:
    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import ModelLike, Size


class Summary(TypedDict):
    """Figures of all frames together; see `evaluate`."""

    mean_iou: float
    classes_in_mean: int
    iou: dict[str, float]
    pixel_accuracy: float
    frames: int
    confusion: np.ndarray


class Evaluation(Summary):
    """What `evaluate` returns."""

    frame_iou: np.ndarray


def evaluate(
    model: ModelLike,
    dataset: SegmentationDataset,
    size: Size | int | None = None,
    progress: bool = False,
    batch: int | None = None,
) -> Evaluation:
    """Judges a model on the whole frames of a data set, at the size of their labels.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.datasets import load_camvid
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
        >>> kc.evaluate(model, load_camvid("CamVid", "val"))["mean_iou"]  # doctest: +SKIP

    A frame is resized to the size of the network, if that is fixed or `size` says so; the logits
    are resized to the labels before the argmax (for Cityscapes that is the usual protocol). Labels
    of a network that gives nothing else are resized by nearest neighbor. For one class the figures
    are those of background and object, and so is the mean.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        dataset: a `SegmentationDataset` whose classes are the model's, in any order. Where either
            side does not name its classes, their numbers are taken to mean the same ones.
        size: `(height, width)`, or the shorter side, to resize frames to; None for their own.
        progress: whether to print a progress bar.
        batch: how many frames to run at once, where they have one size for the network; None for
            the number that the network is fixed to, or else 1. Frames are read by other threads.

    Returns:
        A dict: `"mean_iou"` over the classes that occur in truth or prediction,
        `"classes_in_mean"`, their number, `"iou"` by class name (NaN for one that does not occur),
        `"pixel_accuracy"`, IoU and accuracy in 0..1 and over labeled pixels alone, `"frames"`,
        `"confusion"`, the counts behind it, rows the truth, int64 `(classes, classes)`, and
        `"frame_iou"`, the mean IoU of each frame over the classes in its truth or prediction,
        float64 `(frames,)`, NaN for a frame without labels.

    Raises:
        ValueError: if model and data set differ in the number or the names of their classes, or in
            the channels of the images (gray and RGB become each other), or no pixel is labeled.
    """
    run = runtime.load(model)
    relabeled = _relabeling(run, dataset)
    classes = len(dataset.classes)
    confusion, frame_iou = np.zeros((classes, classes), np.int64), np.full(len(dataset), np.nan)
    truths = {}

    def read(index):
        image, truths[index] = dataset[index]
        return array_to_channels(image, run.channels), truths[index].shape

    def judge(item):
        if item.error is not None:
            raise item.error
        truth = truths.pop(item.source)
        return confusion_matrix(truth, relabeled(item.labels(run)), classes)

    judged = parallel_map(judge, outputs(run, range(len(dataset)), read, size, batch))
    for index in with_progress(range(len(dataset)), "frames", progress):
        counts = next(judged)
        confusion += counts
        if counts.any():
            frame_iou[index] = np.nanmean(iou_per_class(counts))
    if not confusion.any():
        raise ValueError(
            f"The data set {dataset.name!r} has no labeled pixel in its {len(dataset)} frames: "
            "there is nothing to measure"
        )
    return {**summarize(confusion, dataset.classes, len(dataset)), "frame_iou": frame_iou}


def predictor(model, dataset, size=None):
    """The function from an image to what a model says of it, as labels of a data set.

        >>> from keras_crosscbam.evaluation import predictor
        >>> predict = predictor("m.onnx", val)  # doctest: +SKIP
        >>> image, labels = val[0]  # doctest: +SKIP
        >>> wrong = predict(image, labels.shape) != labels  # doctest: +SKIP

    Args:
        model, dataset, size: as in `evaluate`.

    Returns:
        A function of a uint8 image `(h, w, channels)` of the data set and the `(height, width)` of
        the labels, which returns uint8 labels.

    Raises:
        ValueError: as `evaluate`.
    """
    run = runtime.load(model)
    relabeled = _relabeling(run, dataset)

    def predict(image, label_size):
        image = array_to_channels(image, run.channels)
        return relabeled(run.predict(image, size, output_size=label_size))

    return predict


def _relabeling(run, dataset):
    """The function from labels of a `Runtime` to those of a data set.

    Raises:
        ValueError: as `evaluate`.
    """
    classes = dataset.classes
    name = f"the data set {dataset.name!r}"
    if run.num_classes not in (len(classes), None):
        named = run.classes.is_named and classes.is_named
        details = f": {difference(run.classes, classes, run.name, name)}" if named else ""
        raise ValueError(
            f"{run.name} has {run.num_classes} classes, {name} {len(classes)}{details}"
        )
    lookup = relabeling(run.classes, classes, run.name, name)
    channels = getattr(dataset, "channels", 3)
    if channels != run.channels and {channels, run.channels} != {1, 3}:
        raise ValueError(
            f"{run.name} takes images of {run.channels} channels, and those of {name} have "
            f"{channels}"
        )

    def relabeled(labels):
        labels = lookup[labels]
        if labels.max() >= len(classes):
            raise ValueError(
                f"{run.name} gives label {labels.max()}, but {name} has {len(classes)} classes"
            )
        return labels

    return relabeled


def summarize(confusion: np.ndarray, classes: ClassTable, frames: int) -> Summary:
    """The dict that `evaluate` returns, but for what is told by frame, from a confusion matrix."""
    iou = iou_per_class(confusion)
    return {
        "mean_iou": float(np.nanmean(iou)),
        "classes_in_mean": int(np.count_nonzero(~np.isnan(iou))),
        "iou": dict(zip(classes.names, iou.tolist(), strict=True)),
        "pixel_accuracy": float(np.trace(confusion) / max(confusion.sum(), 1)),
        "frames": frames,
        "confusion": confusion,
    }


def best_and_worst(frame_iou, count):
    """Indices of the frames that came out best and worst.

        >>> from keras_crosscbam.evaluation import best_and_worst
        >>> best_and_worst([0.5, float("nan"), 0.1, 0.9], 2)
        ([3, 0], [2])

    Args:
        frame_iou: mean IoU of each frame, as `evaluate` gives it.
        count: how many to name of either kind.

    Returns:
        Two lists of up to `count` indices, the best and the worst one first; no frame is in both.
    """
    ranked = sorted(np.flatnonzero(~np.isnan(frame_iou)), key=lambda i: -frame_iou[i])
    ranked = [int(index) for index in ranked]
    return ranked[:count], ranked[max(count, len(ranked) - count) :][::-1]


def over_classes(result):
    """How many of the classes the mean IoU of a result of `evaluate` is over, as text."""
    return f"over {result['classes_in_mean']} of {len(result['iou'])} classes"


def report(result):
    """The result of `evaluate` as lines of text, in percent; "-" for a class that never occurs."""
    width = max(map(len, result["iou"]))
    figures = {n: "-" if np.isnan(iou) else f"{100 * iou:.2f}" for n, iou in result["iou"].items()}
    lines = [f"{name:<{width}}  {figure:>6}" for name, figure in figures.items()]
    return "\n".join(
        [
            f"IoU per class (%), {result['frames']} frames",
            *lines,
            f"mean IoU        {100 * result['mean_iou']:.2f} % ({over_classes(result)})",
            f"pixel accuracy  {100 * result['pixel_accuracy']:.2f} %",
        ]
    )
