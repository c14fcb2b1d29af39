"""Evaluates models on data sets: IoU per class, mean IoU and pixel accuracy."""

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
    """Results for all frames; see `evaluate`."""

    mean_iou: float
    classes_in_mean: int
    iou: dict[str, float]
    pixel_accuracy: float
    frames: int
    confusion: np.ndarray


class Evaluation(Summary):
    """Result of `evaluate`."""

    frame_iou: np.ndarray


def evaluate(
    model: ModelLike,
    dataset: SegmentationDataset,
    size: Size | int | None = None,
    progress: bool = False,
    batch: int | None = None,
) -> Evaluation:
    """Evaluates a model on the complete frames of a data set, at the size of their labels.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.datasets import load_camvid
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
        >>> kc.evaluate(model, load_camvid("CamVid", "val"))["mean_iou"]  # doctest: +SKIP

    Frames are resized to the fixed size of the network, or to `size`. The logits are resized to the
    size of the labels before the argmax, which is the usual protocol for Cityscapes. If the network
    outputs labels only, they are resized by nearest neighbor. For one class, the results are those
    of background and object, and the mean is over both.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        dataset: a `SegmentationDataset` with the classes of the model, in any order. If the classes
            of either have no names, they are matched by number.
        size: the size that frames are resized to: `(height, width)`, or the shorter side; None for
            the size of the frames.
        progress: whether to print a progress bar.
        batch: batch size for consecutive frames with the same input size; None for the fixed batch
            size of the network, or else 1. Other threads read the frames.

    Returns:
        A dict with the following entries. IoU and accuracy are in 0..1, over labeled pixels.

        - `"mean_iou"`: mean over the classes that occur in truth or prediction.
        - `"classes_in_mean"`: number of these classes.
        - `"iou"`: dict from class name to IoU, NaN for a class that does not occur.
        - `"pixel_accuracy"`: share of correct pixels.
        - `"frames"`: number of frames.
        - `"confusion"`: pixel counts, int64 `(classes, classes)`; rows are true classes.
        - `"frame_iou"`: mean IoU of each frame over the classes in its truth or prediction, float64
          `(frames,)`; NaN for a frame without labels.

    Raises:
        ValueError: if model and data set have different numbers or names of classes, or different
            numbers of channels (except for gray and RGB, which are converted), or if no pixel is
            labeled.
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
            f"The data set {dataset.name!r} has no labeled pixel in its {len(dataset)} frames, so "
            "it cannot be used for evaluation"
        )
    return {**summarize(confusion, dataset.classes, len(dataset)), "frame_iou": frame_iou}


def predictor(model, dataset, size=None):
    """Returns a function from an image to the predicted labels, in the order of a data set.

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
        ValueError: as in `evaluate`.
    """
    run = runtime.load(model)
    relabeled = _relabeling(run, dataset)

    def predict(image, label_size):
        image = array_to_channels(image, run.channels)
        return relabeled(run.predict(image, size, output_size=label_size))

    return predict


def _relabeling(run, dataset):
    """Returns a function that converts labels of a `Runtime` to those of a data set.

    Raises:
        ValueError: as in `evaluate`.
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
            f"{run.name} takes images of {run.channels} channels, but those of {name} have "
            f"{channels}"
        )

    def relabeled(labels):
        labels = lookup[labels]
        if labels.max() >= len(classes):
            raise ValueError(
                f"{run.name} outputs label {labels.max()}, but {name} has {len(classes)} classes"
            )
        return labels

    return relabeled


def summarize(confusion: np.ndarray, classes: ClassTable, frames: int) -> Summary:
    """Computes the result of `evaluate` except `"frame_iou"` from a confusion matrix."""
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
    """Returns the indices of the frames with the highest and the lowest IoU.

        >>> from keras_crosscbam.evaluation import best_and_worst
        >>> best_and_worst([0.5, float("nan"), 0.1, 0.9], 2)
        ([3, 0], [2])

    Args:
        frame_iou: mean IoU of each frame, as returned by `evaluate`.
        count: maximum number of frames of each kind.

    Returns:
        Two lists of up to `count` indices, the best first and the worst first. No frame is in both.
    """
    ranked = sorted(np.flatnonzero(~np.isnan(frame_iou)), key=lambda i: -frame_iou[i])
    ranked = [int(index) for index in ranked]
    return ranked[:count], ranked[max(count, len(ranked) - count) :][::-1]


def over_classes(result):
    """Returns a text with the number of classes in the mean IoU of a result of `evaluate`."""
    return f"over {result['classes_in_mean']} of {len(result['iou'])} classes"


def report(result):
    """Formats the result of `evaluate` in percent, with "-" for a class that does not occur."""
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
