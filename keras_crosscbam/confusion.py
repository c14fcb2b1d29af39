"""Confusion matrix and intersection over union of label maps, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.classes import IGNORE

if TYPE_CHECKING:
    import numpy.typing as npt


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts labeled pixels by true (rows) and predicted (columns) class.

        >>> import numpy as np
        >>> from keras_crosscbam.confusion import confusion_matrix
        >>> truth = np.array([[0, 1, 255]], np.uint8)
        >>> confusion_matrix(truth, np.array([[0, 0, 1]], np.uint8), 2).tolist()
        [[1, 0], [1, 0]]

    Args:
        truth: uint8 labels `(height, width)`; pixels with label 255 are ignored.
        prediction: uint8 labels of the same shape, all below `num_classes`.
        num_classes: number of classes.

    Returns:
        Pixel counts of shape `(num_classes, num_classes)`, int64.
    """
    valid = truth != IGNORE
    cells = truth[valid].astype(np.int64) * num_classes + prediction[valid]
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(confusion: npt.ArrayLike) -> np.ndarray:
    """Computes the intersection over union of each class.

        >>> from keras_crosscbam.confusion import iou_per_class
        >>> iou_per_class([[3, 1], [0, 4]]).tolist()
        [0.75, 0.8]

    Args:
        confusion: pixel counts of shape `(classes, classes)`; rows are true classes, columns
            predicted classes.

    Returns:
        float64 of shape `(classes,)` in 0..1; NaN for a class that has no pixel in either.
    """
    confusion = np.asarray(confusion, np.float64)
    intersection = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    with np.errstate(invalid="ignore"):
        return intersection / union
