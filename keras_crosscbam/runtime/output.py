"""Converts the raw output of a network to scores and labels."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.runtime.class_indices import as_labels
from keras_crosscbam.runtime.coarse_logits import (
    argmax_of_planes,
    labels_of_coarse,
    labels_of_scores,
    upsample,
)
from keras_crosscbam.runtime.resize import bilinear_planes, nearest

if TYPE_CHECKING:
    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.runtime.description import Description
    from keras_crosscbam.types import Size


class NetworkOutput(ABC):
    """Base class of `Runtime` that converts what `run` returns.

    Attributes:
        name, classes, description, scores_layout: as in `Runtime`, which sets them.
    """

    name: str
    classes: ClassTable
    description: Description
    scores_layout: str

    def labels_of(self, output: np.ndarray, images: np.ndarray, output_size: Size) -> np.ndarray:
        """Computes uint8 labels `(batch, *output_size)` from an output.

        Args:
            output: the result of `run` or `infer` for the images.
            images: the result of `resized`.
            output_size: `(height, width)`.
        """
        if self.description.output == "labels" or images.shape[1:3] == output_size:
            labels = [nearest(array, output_size) for array in self._labels(output, images)]
        else:
            scores = self._scores(output, images)
            if np.greater_equal(output_size, scores.shape[1:3]).all():
                return labels_of_coarse(scores, output_size)
            labels = [argmax_of_planes(bilinear_planes(array, output_size)) for array in scores]
        return np.stack(labels)

    def scores_of(self, output: np.ndarray, images: np.ndarray, output_size: Size) -> np.ndarray:
        """Like `labels_of`, but returns float32 scores `(batch, *output_size, num_classes)`."""
        scores = self._scores(output, images)
        if scores.shape[1:3] == output_size:
            return scores
        resized = [np.stack([*bilinear_planes(array, output_size)], axis=-1) for array in scores]
        return np.stack(resized)

    def check_scores(self) -> None:
        """Raises a `ValueError` if the network outputs labels only."""
        if self.description.output == "labels":
            raise ValueError(
                f"{self.name} outputs labels, not scores. Export it with output='logits'."
            )

    def _scores(self, output, images):
        """Returns the scores at the size of the images, as a copy."""
        scores = self._scores_of_labels(output)
        if scores.shape[1:3] != images.shape[1:3]:
            return upsample(scores, images.shape[1:3])
        return np.array(scores, np.float32)

    def _labels(self, output, images):
        if self.description.output == "labels":
            if output.ndim == 4:
                output = self._channels_last(output)[..., 0]
            labels = as_labels(output, len(self.classes), self.name)
            return np.stack([nearest(array, images.shape[1:3]) for array in labels])
        scores = self._scores_of_labels(output)
        if scores.shape[1:3] != images.shape[1:3]:
            return labels_of_coarse(scores, images.shape[1:3])
        return labels_of_scores(scores)

    def _scores_of_labels(self, output):
        """Returns channels-last scores with one channel per label; one score becomes two."""
        scores = self._channels_last(output)
        if scores.shape[-1] > 1:
            return scores
        probable = self.description.output == "probabilities"
        background = 1 - scores if probable else np.zeros_like(scores)
        return np.concatenate([background, scores], axis=-1)

    def _channels_last(self, output):
        return output.transpose(0, 2, 3, 1) if self.scores_layout == "nchw" else output
