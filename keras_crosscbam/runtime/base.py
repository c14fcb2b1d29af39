"""The one interface that evaluation, segmentation and benchmarks are written against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.classes import class_table, count_labels, unnamed_classes
from keras_crosscbam.datasets.class_mapping import agreed_classes
from keras_crosscbam.runtime.class_indices import as_labels
from keras_crosscbam.runtime.coarse_logits import (
    argmax_of_planes,
    labels_of_coarse,
    labels_of_scores,
    upsample,
)
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.errors import one_line
from keras_crosscbam.runtime.input_size import input_size
from keras_crosscbam.runtime.resize import bilinear, bilinear_planes, nearest

if TYPE_CHECKING:
    import numpy.typing as npt

    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.runtime.normalization import Normalization
    from keras_crosscbam.types import Classes, Size


class Runtime(ABC):
    """Something that turns images into labels: `labels = runtime(images)`.

    A runtime reuses its buffers, so it serves one thread at a time.

    A network of one class gives one score a pixel, that of the object. Its scores are two here, as
    those of a network of two classes: the logits 0 and z, or the probabilities 1 - p and p, of
    background (label 0) and object (label 1). So it takes a pixel for the object where z is above
    0, or p above 0.5.

    Attributes:
        name: for messages and reports.
        size: `(height, width)` that the network is fixed to, or None if it takes any.
        batch: how many images the network is fixed to, or None if it takes any number.
        num_classes: number of classes, which is that of the labels: 2, background and object, of a
            network of one class. None for a foreign file that gives labels, and so does not say.
        channels: number of channels of the images.
        classes: their `ClassTable`; numbered ones where nobody said what they are.
        description: the `Description` of the network.
        dtype: the NumPy type that the network takes pixels in.
        scores_layout: `"nchw"` or `"nhwc"`, that of the scores; in foreign files it need not be
            that of the images.
        normalization: the `Normalization` that `prepare` does for the network, or None.
        reuses_output: whether `run` may write over the output that it returned before.
    """

    reuses_output = True

    def __init__(
        self,
        name: str,
        size: Size | None,
        num_classes: int | None,
        classes: Classes | None = None,
        batch: int | None = None,
        description: Description | None = None,
        dtype: npt.DTypeLike | None = None,
        scores_layout: str | None = None,
        channels: int = 3,
    ) -> None:
        self.description = description or Description()
        classes = classes and class_table(classes)
        labels = num_classes and count_labels(num_classes)
        for table in (classes, self.description.classes):
            if table is not None and labels is not None and len(table) != labels:
                raise ValueError(
                    f"{name} has {labels} classes, but the class table names {len(table)}"
                )
        named = agreed_classes(self.description.classes, classes, name)
        if (labels or 0) > 256:
            raise ValueError(f"Labels are uint8, so {name} cannot have {labels} classes")
        self.name = name
        self.size = size
        self.batch = batch
        self.channels = channels
        self.num_classes = len(named) if named else labels
        self.classes: ClassTable = named or unnamed_classes(num_classes or 256)
        self.dtype = np.dtype(dtype or self.description.pixels)
        self.scores_layout = scores_layout or self.description.layout
        self.normalization: Normalization | None = None

    def normalize_by(self, normalization: Normalization) -> None:
        """Sets the `Normalization` of a network that takes pixels normalized.

        Raises:
            ValueError: for a network that says that it takes pixels of 0..255, and for one that
                takes bytes.
        """
        if self._takes_raw_pixels():
            raise ValueError(
                f"{self.name} takes pixels of 0..255 and normalizes them itself: leave out `mean` "
                "and `std`."
            )
        if self.dtype.kind == "u":
            raise ValueError(f"{self.name} takes {self.dtype} pixels, which cannot be normalized.")
        normalization.check_channels(self.name, self.channels)
        self.normalization = normalization

    @abstractmethod
    def run(self, prepared: np.ndarray) -> np.ndarray:
        """Runs the network alone.

        Args:
            prepared: what `prepare` returned, of the batch size that the network is fixed to.

        Returns:
            The output as the network gives it. The next call may write over it.
        """

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Images as the network takes them: its layout and type, contiguous.

        Args:
            images: `(batch, height, width, channels)`, uint8 or float, in 0..255, of the size that
                the network is fixed to, if it is. Floats are rounded for a network of uint8 pixels.

        Raises:
            ValueError: for images of another shape.
        """
        images = np.asarray(images)
        height, width = self.size or ("height", "width")
        if images.ndim != 4 or images.shape[3] != self.channels or 0 in images.shape:
            self._refuse(images, f"(batch, {height}, {width}, {self.channels})")
        if self.size is not None and images.shape[1:3] != self.size:
            self._refuse(images, f"(batch, {height}, {width}, {self.channels})")
        if self.dtype.kind == "u" and images.dtype.kind == "f":
            images = np.clip(np.rint(images), 0, 255)
        if self.normalization is not None:
            images = self.normalization(images)
        if self.description.layout == "nchw":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, self.dtype)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Runs the network and returns its scores.

        Args:
            images: as in `prepare`, any number of them.

        Returns:
            float32 scores `(batch, height, width, num_classes)` at the size of the images; those
            of a network that gives them coarser are upsampled bilinearly.

        Raises:
            ValueError: if the network gives labels alone.
        """
        self.check_scores()
        return self._in_batches(images, self._scores)

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Runs the network and returns uint8 labels `(batch, height, width)`.

        Args:
            images: as in `prepare`, any number of them.

        Raises:
            ValueError: if what a foreign file gives is neither scores nor labels.
        """
        return self._in_batches(images, self._labels)

    def __call__(self, image: np.ndarray, size: Size | int | None = None) -> np.ndarray:
        """Segments images of any size.

        Args:
            image: uint8 `(height, width, channels)`, RGB for three channels, or several as
                `(batch, height, width, channels)`.
            size: what to resize them to for the network: `(height, width)`, or one number, the
                shorter side, the aspect ratio being kept. An image that is long and narrow is not
                enlarged beyond a longer side of 4 times that number. None leaves the image as it
                is. Not for networks of a fixed size, which is then the one resized to.

        Returns:
            uint8 labels `(height, width)`, or `(batch, height, width)`, of the images' own size.

        Raises:
            ValueError: if a size is given to a network of another, fixed one.
        """
        return self.predict(image, size)

    def predict(
        self, image: np.ndarray, size: Size | int | None = None, output_size: Size | None = None
    ) -> np.ndarray:
        """Like a call, but the labels have the `(height, width)` that `output_size` says.

        The scores are resized bilinearly before the argmax. Labels of a network that gives nothing
        else are resized by nearest neighbor.
        """
        return self._of_images(self.labels_of, image, size, output_size)

    def scores(
        self, image: np.ndarray, size: Size | int | None = None, output_size: Size | None = None
    ) -> np.ndarray:
        """Like `predict`, but returns float32 scores `(height, width, num_classes)`.

        Raises:
            ValueError: if the network gives labels alone.
        """
        self.check_scores()
        return self._of_images(self.scores_of, image, size, output_size)

    def resized(self, image: np.ndarray, size: Size | int | None = None) -> np.ndarray:
        """Images as a batch of the size that the network is to see.

        The first of the steps that `predict` consists of; `prepare`, `infer` and `labels_of` or
        `scores_of` are the others. Threads may do them at once for different images, each step
        in one thread at a time.

        Args:
            image, size: as in a call.

        Returns:
            uint8 `(batch, height, width, 3)`.
        """
        images = image[None] if np.ndim(image) == 3 else np.asarray(image)
        self.check_size(size)
        seen = tuple(self.size) if self.size else input_size(images.shape[1:3], size)
        if seen == images.shape[1:3]:
            return images
        return np.stack([bilinear(array, seen) for array in images])

    def infer(self, prepared: np.ndarray) -> np.ndarray:
        """Like `run`, but the output stays as it is when the network runs again.

        Raises:
            RuntimeError: if the network cannot run, with its name.
        """
        output = self._run(prepared)
        return np.array(output) if self.reuses_output else output

    def labels_of(self, output: np.ndarray, images: np.ndarray, output_size: Size) -> np.ndarray:
        """The uint8 labels `(batch, *output_size)` that an output stands for.

        Args:
            output: what `run` or `infer` returned for the images.
            images: what `resized` returned.
            output_size: `(height, width)`.
        """
        if self.description.output == "labels" or images.shape[1:3] == output_size:
            labels = [nearest(array, output_size) for array in self._labels(output, images)]
        else:
            scores = self._scores(output, images)
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
        """Raises a `ValueError` if the network gives labels alone."""
        if self.description.output == "labels":
            raise ValueError(
                f"{self.name} gives labels, not scores. Export it with output='logits' for scores."
            )

    def _of_images(self, finish, image, size, output_size):
        output_size = tuple(output_size or np.shape(image)[-3:-1])
        resized = self.resized(image, size)
        results = self._in_batches(resized, lambda *batch: finish(*batch, output_size))
        return results if np.ndim(image) == 4 else results[0]

    def _takes_raw_pixels(self):
        """Whether the network says that it takes pixels of 0..255."""
        return self.description.extra.get("normalization") == "inside"

    def _refuse(self, images, expected):
        raise ValueError(
            f"{self.name} takes images of shape {expected}. Received: shape {images.shape}"
        )

    def _in_batches(self, images, finish):
        """`finish(output, images)` of one batch after the other, the last one filled up."""
        images = np.asarray(images)
        step = self.batch or max(len(images), 1)
        parts = []
        for start in range(0, max(len(images), 1), step):
            part = images[start : start + step]
            filled = self.filled(part)
            parts.append(finish(self._run(self.prepare(filled)), filled)[: len(part)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def filled(self, images: np.ndarray) -> np.ndarray:
        """Up to a batch of images, the last one repeated where the number is fixed."""
        missing = (self.batch or 0) - len(images)
        return np.concatenate([images, *[images[-1:]] * missing]) if missing > 0 else images

    def _run(self, prepared):
        try:
            output = self.run(prepared)
            if output.size == 0:
                raise RuntimeError(f"its output is empty, of shape {output.shape}")
            return output
        except ValueError:
            raise
        except Exception as error:  # every library raises classes of its own
            raise RuntimeError(
                f"{self.name} could not run on an input of shape {prepared.shape}: "
                f"{one_line(error)}. If it takes images of any size, try another one."
            ) from error

    def _scores(self, output, images):
        """The scores at the size of the images, in memory that is nobody else's."""
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
        """The output with one channel, the last axis, for each label: one score becomes two."""
        scores = self._channels_last(output)
        if scores.shape[-1] > 1:
            return scores
        probable = self.description.output == "probabilities"
        background = 1 - scores if probable else np.zeros_like(scores)
        return np.concatenate([background, scores], axis=-1)

    def _channels_last(self, output):
        return output.transpose(0, 2, 3, 1) if self.scores_layout == "nchw" else output

    def check_size(self, size: Size | int | None) -> None:
        """Raises a `ValueError` for a `size`, as in a call, that a network of fixed size lacks."""
        if self.size is not None and size not in (None, self.size, list(self.size)):
            raise ValueError(
                f"{self.name} is fixed to {self.size[0]}x{self.size[1]} pixels. "
                f"Received: size={size}"
            )
