"""Test-time augmentation: one answer from several views of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.probabilities import as_probabilities
from keras_crosscbam.runtime.resize import bilinear, bilinear_planes


class TTARuntime(Runtime):
    """A runtime whose probabilities are the mean over scales of the image and its mirror image.

        >>> import keras_crosscbam as kc
        >>> run = kc.runtime.load("m.onnx")  # doctest: +SKIP
        >>> many = kc.runtime.TTARuntime(run, scales=(0.75, 1.0, 1.25), flip=True)  # doctest: +SKIP
        >>> kc.evaluate(many, data)["mean_iou"]  # doctest: +SKIP

    Results get better by a little and slower by the number of views, here six; published figures
    often come from it. Scales are of the size that the image would have without them.

    Args:
        run: the `Runtime` to ask. Scores that are no probabilities by its description or by their
            values are taken for logits.
        scales: factors on the height and width of the image.
        flip: whether to ask about the mirror image (left to right) too.

    Raises:
        ValueError: for no scale or one that is not positive, for scales of a network of fixed
            size, and for a network that gives labels alone.
    """

    reuses_output = False

    def __init__(self, run: Runtime, scales: Sequence[float] = (1.0,), flip: bool = False) -> None:
        self.inner, self.scales, self.flips = run, tuple(scales), (False, True)[: 1 + flip]
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"`scales` must be positive numbers. Received: {scales}")
        if run.size is not None and set(self.scales) != {1}:
            raise ValueError(
                f"{run.name} is fixed to {run.size[0]}x{run.size[1]} pixels, and cannot be asked "
                f"about other scales. Received: scales={scales}"
            )
        if run.description.output == "labels":
            raise ValueError(f"{run.name} gives labels, of which there is no mean.")
        super().__init__(
            f"{run.name}, averaged over {len(self.scales) * len(self.flips)} views",
            run.size,
            run.num_classes,
            run.classes,
            description=Description(pixels="uint8", output="probabilities"),
            channels=run.channels,
        )

    def run(self, prepared: np.ndarray) -> np.ndarray:
        views = [
            np.stack([*self._probabilities(prepared, scale, flip)])
            for scale in self.scales
            for flip in self.flips
        ]
        return np.mean(views, axis=0)

    def _probabilities(self, images, scale, flip):
        """Of each image, from one view, at the size of the images."""
        size = images.shape[1:3]
        scaled = tuple(max(round(side * scale), 1) for side in size)
        step = -1 if flip else 1
        view = np.stack([bilinear(image, scaled) for image in images])[:, :, ::step]
        for scores in self.inner.logits(view)[:, :, ::step]:
            if self.inner.description.output != "probabilities":
                scores = as_probabilities(scores)
            yield np.stack([*bilinear_planes(scores, size)], axis=-1)
