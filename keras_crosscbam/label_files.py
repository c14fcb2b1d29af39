"""Predictions as files: one picture of labels per image, as benchmarks' servers want them."""

from pathlib import Path

import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.batching import check_batch, outputs
from keras_crosscbam.datasets.class_mapping import relabeling
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.evaluation import best_and_worst, predictor
from keras_crosscbam.image_channels import read_channels
from keras_crosscbam.images import failure, save_image
from keras_crosscbam.parallel import parallel_map
from keras_crosscbam.progress import progress as with_progress
from keras_crosscbam.runtime.resize import bilinear
from keras_crosscbam.visualize import comparison


class PredictionError(ValueError):
    """Some images could not be predicted on; the labels of the others are written."""


def write_predictions(
    model,
    images,
    out,
    label_ids=None,
    size=None,
    progress=False,
    root=None,
    classes=None,
    value_range=None,
    batch=None,
):
    """Writes `NAME.png` with the predicted labels of each image `NAME.EXT`, at its own size.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.classes import CITYSCAPES_IDS
        >>> from keras_crosscbam.label_files import write_predictions
        >>> model = kc.CrossCBAM_M1(weights="cityscapes.weights.h5")  # doctest: +SKIP
        >>> images = kc.datasets.split_images("cityscapes", "test")  # doctest: +SKIP
        >>> write_predictions(model, images, "results", CITYSCAPES_IDS)  # doctest: +SKIP

    The files are 8-bit PNGs of one channel. They lie side by side in `out`, or with `root` in the
    subfolders of the images. The labels are those that `keras_crosscbam.evaluate` judges.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        images: paths of images, or a `SegmentationDataset`, whose masks are not read.
        out: folder for the files; made if need be.
        label_ids: the number to write for each class, 0..255, for Cityscapes `CITYSCAPES_IDS`; None
            writes the classes' own numbers, 0, 1, ...
        size: as in `keras_crosscbam.segment`.
        progress: whether to print a progress bar.
        root: a folder that all images are in; its subfolders are made in `out` too.
        classes: the `ClassTable` whose order the numbers and `label_ids` follow; None for that of
            the `SegmentationDataset`, or else the model's own.
        value_range: as in `keras_crosscbam.segment`; None for that of a `SegmentationDataset`.
        batch: as in `keras_crosscbam.segment`.

    Returns:
        The paths written, a list in the order of the images.

    Raises:
        ValueError: before anything is written, for two images of one name, ids that do not fit
            the classes, a model whose classes have other names, and a size that is not the model's.
        PredictionError: in the end, for images that could not be predicted on, with their names.
    """
    run = runtime.load(model)
    run.check_size(size)
    check_batch(run, batch)
    if isinstance(images, SegmentationDataset):
        classes = classes or images.classes
        value_range = value_range or images.value_range
        images = [image for image, _ in images.pairs]
    images = [Path(image) for image in images]
    lookup = _lookup(label_ids, run, classes)
    targets = {}
    for image in images:
        place = image.relative_to(root) if root else Path(image.name)
        target = Path(out) / place.with_suffix(".png")
        if target in targets:
            raise ValueError(f"{targets[target]} and {image} would both be written to {target}")
        targets[target] = image
    Path(out).mkdir(parents=True, exist_ok=True)

    def save(target, labels):
        target.parent.mkdir(parents=True, exist_ok=True)
        save_image(Image.fromarray(lookup[labels]), target)

    failures = predict_each(run, targets, save, size, value_range, progress, batch)
    check_failures(failures, len(targets))
    return list(targets)


def predict_each(run, images, use, size=None, value_range=None, progress=False, batch=None):
    """Calls `use(key, labels)` for each image of a dict, in order; goes on after a failure.

    Args:
        run: a `Runtime`.
        images: a dict from a key to the path of an image.
        use: a function of the key and the network's labels, uint8 `(height, width)`. It is called
            in another thread, one call at a time.
        size, value_range, batch: as in `keras_crosscbam.segment`.
        progress: whether to print the progress.

    Returns:
        The error messages, a list.
    """
    failures = []

    def read(key):
        return read_channels(images[key], run.channels, value_range)

    def write(item):
        try:
            if item.error is not None:
                raise item.error
            use(item.source, item.labels(run))
        except Exception as error:  # an error of one image does not affect the others
            failures.append(failure(images[item.source], error))

    written = parallel_map(write, outputs(run, images, read, size, batch, workers=2), ahead=3)
    for _ in with_progress(images, "images", progress):
        next(written)
    return failures


def check_failures(failures, images):
    """Raises a `PredictionError` for the failures of `predict_each` among so many images."""
    if failures:
        raise PredictionError(
            f"{len(failures)} of {images} images could not be predicted on, the others are "
            f"written: {'; '.join(failures)}"
        )


def write_best_and_worst(model, dataset, frame_iou, out, size=None, count=3):
    """Writes pictures of the frames that came out best and worst, beside truth and prediction.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.label_files import write_best_and_worst
        >>> result = kc.evaluate(model, val)  # doctest: +SKIP
        >>> write_best_and_worst(model, val, result["frame_iou"], "pictures")  # doctest: +SKIP

    Args:
        model: as in `write_predictions`.
        dataset: the `SegmentationDataset` that was evaluated.
        frame_iou: mean IoU of each of its frames, as `keras_crosscbam.evaluate` gives it.
        out: folder for `best-1-NAME.png`, `worst-1-NAME.png` and so on; made if need be.
        size: as in `keras_crosscbam.evaluate`.
        count: how many of either kind.

    Returns:
        The paths written, a list.
    """
    predict, written = predictor(model, dataset, size), []
    Path(out).mkdir(parents=True, exist_ok=True)
    for kind, indices in zip(("best", "worst"), best_and_worst(frame_iou, count), strict=True):
        for place, index in enumerate(indices, start=1):
            image, labels = dataset[index]
            predicted = predict(image, labels.shape)
            written.append(Path(out) / f"{kind}-{place}-{dataset.pairs[index][0].stem}.png")
            picture = comparison(bilinear(image, labels.shape), labels, predicted, dataset.classes)
            save_image(picture, written[-1])
    return written


def _lookup(label_ids, run, classes):
    """The number to write for each label of a network, uint8, one a class at least."""
    if label_ids is None:
        return relabeling(run.classes, classes, run.name, "the data set")
    if len(label_ids) != len(run.classes):
        raise ValueError(
            f"`label_ids` must hold one id for each of the {len(run.classes)} classes of "
            f"{run.name}. Received: {len(label_ids)} ids"
        )
    if not all(0 <= label_id <= 255 for label_id in label_ids):
        raise ValueError(f"`label_ids` must hold numbers of 0..255. Received: {label_ids}")
    order = relabeling(run.classes, classes, run.name, "the data set")
    return np.array(label_ids, np.uint8)[order[: len(label_ids)]]
