"""Base class of the runtimes, used by evaluation, segmentation and benchmarks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.classes import class_table, count_labels, unnamed_classes
from keras_crosscbam.datasets.class_mapping import agreed_classes
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.errors import one_line
from keras_crosscbam.runtime.input_size import input_size
from keras_crosscbam.runtime.output import NetworkOutput
from keras_crosscbam.runtime.resize import bilinear

if TYPE_CHECKING:
    import numpy.typing as npt

    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.runtime.normalization import Normalization
    from keras_crosscbam.types import Classes, Size


class Runtime(NetworkOutput):
    """A network that segments images: `labels = runtime(images)`.

    A runtime reuses its buffers, so only one thread may use it at a time.

    A network of one class outputs one score per pixel, that of the object. A runtime returns two
    scores for it, like a network of two classes: the logits 0 and z, or the probabilities 1 - p
    and p, of background (label 0) and object (label 1). A pixel is labeled as object if z is above
    0, or p above 0.5.

    Attributes:
        name: name of the network for messages and reports.
        size: the fixed `(height, width)` of the input, or None for any size.
        batch: the fixed batch size, or None for any.
        num_classes: number of labels; 2 (background and object) for a network of one class. None
            for a file from another tool that outputs labels, because the number is unknown.
        channels: number of channels of the images.
        classes: the `ClassTable`; default names if the classes have no names.
        description: the `Description` of the network.
        dtype: the NumPy dtype of the input.
        scores_layout: layout of the scores, `"nchw"` or `"nhwc"`. In files from other tools it may
            differ from the layout of the images.
        normalization: the `Normalization` that `prepare` applies, or None.
        reuses_output: whether `run` may overwrite the output of the previous call.
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
            raise ValueError(
                f"Labels are uint8, so a network has at most 256 classes. "
                f"Received: {labels} classes of {name}"
            )
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
        """Sets the `Normalization` of a network that takes normalized pixels.

        Raises:
            ValueError: for a network whose description says that it takes pixels of 0..255, and
                for a network with an integer input.
        """
        if self._takes_raw_pixels():
            raise ValueError(
                f"{self.name} takes pixels of 0..255 and normalizes them itself: remove `mean` "
                "and `std`."
            )
        if self.dtype.kind == "u":
            raise ValueError(f"{self.name} takes {self.dtype} pixels, which cannot be normalized.")
        normalization.check_channels(self.name, self.channels)
        self.normalization = normalization

    @abstractmethod
    def run(self, prepared: np.ndarray) -> np.ndarray:
        """Runs the network on prepared images.

        Args:
            prepared: an array returned by `prepare`, of the network's batch size if that is fixed.

        Returns:
            The raw output of the network. The next call may overwrite it.
        """

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Converts images to the network's input: its layout and dtype, contiguous.

        Args:
            images: shape `(batch, height, width, channels)`, uint8 or float, 0..255. They must have
                the network's size if that is fixed. Floats are rounded for a uint8 input.

        Returns:
            The input array for `run`.

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
            float32 scores `(batch, height, width, num_classes)` at the size of the images. Coarser
            scores are upsampled bilinearly.

        Raises:
            ValueError: if the network outputs labels only.
        """
        self.check_scores()
        return self._in_batches(images, self._scores)

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Runs the network and returns uint8 labels `(batch, height, width)`.

        Args:
            images: as in `prepare`, any number of them.

        Raises:
            ValueError: if the output of a file from another tool is neither scores nor labels.
        """
        return self._in_batches(images, self._labels)

    def __call__(self, image: np.ndarray, size: Size | int | None = None) -> np.ndarray:
        """Segments images of any size.

        Args:
            image: an image, uint8 `(height, width, channels)`, RGB for three channels, or a batch
                `(batch, height, width, channels)`.
            size: the size that images are resized to for the network: `(height, width)`, or the
                shorter side as one number, which keeps the aspect ratio. A long and narrow image is
                not enlarged beyond a longer side of 4 times that number. None for the size of the
                image. A network of fixed size always resizes to its own size.

        Returns:
            uint8 labels `(height, width)` or `(batch, height, width)` at the size of the images.

        Raises:
            ValueError: if the network has a fixed size and `size` differs from it.
        """
        return self.predict(image, size)

    def predict(
        self, image: np.ndarray, size: Size | int | None = None, output_size: Size | None = None
    ) -> np.ndarray:
        """Like `__call__`, but returns labels of the `(height, width)` given by `output_size`.

        The scores are resized bilinearly before the argmax. If the network outputs labels only,
        they are resized by nearest neighbor.
        """
        return self._of_images(self.labels_of, image, size, output_size)

    def scores(
        self, image: np.ndarray, size: Size | int | None = None, output_size: Size | None = None
    ) -> np.ndarray:
        """Like `predict`, but returns float32 scores `(height, width, num_classes)`.

        Raises:
            ValueError: if the network outputs labels only.
        """
        self.check_scores()
        return self._of_images(self.scores_of, image, size, output_size)

    def resized(self, image: np.ndarray, size: Size | int | None = None) -> np.ndarray:
        """Returns the images as a batch, resized for the network.

        This is the first step of `predict`; the next steps are `prepare`, `infer`, and `labels_of`
        or `scores_of`. Several threads may run different steps at the same time for different
        images, but each step only in one thread at a time.

        Args:
            image, size: as in `__call__`.

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
        """Like `run`, but the next call does not overwrite the output.

        Raises:
            RuntimeError: if the network cannot run; the message contains its name.
        """
        output = self._run(prepared)
        return np.array(output) if self.reuses_output else output

    def _of_images(self, finish, image, size, output_size):
        output_size = tuple(output_size or np.shape(image)[-3:-1])
        resized = self.resized(image, size)
        results = self._in_batches(resized, lambda *batch: finish(*batch, output_size))
        return results if np.ndim(image) == 4 else results[0]

    def _takes_raw_pixels(self):
        """Returns whether the description says that the network takes pixels of 0..255."""
        return self.description.extra.get("normalization") == "inside"

    def _refuse(self, images, expected):
        raise ValueError(
            f"{self.name} takes images of shape {expected}. Received: shape {images.shape}"
        )

    def _in_batches(self, images, finish):
        """Returns `finish(output, images)` of all batches; the last batch is padded."""
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
        except Exception as error:  # each library raises its own exception classes
            raise RuntimeError(
                f"{self.name} could not run on an input of shape {prepared.shape}: "
                f"{one_line(error)}. If it takes images of any size, try another size."
            ) from error

    def check_size(self, size: Size | int | None) -> None:
        """Raises a `ValueError` if the network has a fixed size and `size` differs from it."""
        if self.size is not None and size not in (None, self.size, list(self.size)):
            raise ValueError(
                f"{self.name} is fixed to {self.size[0]}x{self.size[1]} pixels. "
                f"Received: size={size}"
            )
