"""The one interface that evaluation, segmentation and benchmarks are written against."""

from abc import ABC, abstractmethod

import numpy as np
from PIL import Image

from keras_crosscbam.datasets.labels import numbered_classes


class Runtime(ABC):
    """Something that turns images into labels: `labels = runtime(images)`.

    Attributes:
        name: for messages and reports.
        size: `(height, width)` that the network is fixed to, or None if it takes any.
        num_classes: number of classes.
        classes: their `ClassTable`; numbered ones where nobody said what they are.
    """

    def __init__(self, name, size, num_classes, classes=None):
        if classes is not None and len(classes) != num_classes:
            raise ValueError(
                f"{name} has {num_classes} classes, but the class table names {len(classes)}"
            )
        self.name = name
        self.size = size
        self.num_classes = num_classes
        self.classes = classes or numbered_classes(num_classes)

    @abstractmethod
    def logits(self, images):
        """Runs the network.

        Args:
            images: `(batch, height, width, 3)`, uint8 or float, in 0..255, of the size that the
                network is fixed to, if it is.

        Returns:
            float32 scores `(batch, height, width, num_classes)`.
        """

    def __call__(self, image, size=None):
        """Segments one image of any size.

        Args:
            image: uint8 RGB `(height, width, 3)`.
            size: what to resize the image to for the network: `(height, width)`, or one number,
                the shorter side, the aspect ratio being kept. None leaves the image as it is. Not
                for networks of a fixed size, which is then the one resized to.

        Returns:
            uint8 labels `(height, width)`, of the image's own size.

        Raises:
            ValueError: if a size is given to a network of another, fixed one.
        """
        return np.argmax(self.scores(image, size), axis=-1).astype(np.uint8)

    def scores(self, image, size=None, output_size=None):
        """Like a call, but returns the resized logits, float32 `(height, width, num_classes)`.

        `output_size` is the `(height, width)` of the result, None that of the image.
        """
        size = self._network_size(image.shape[:2], size)
        resized = image
        if size != image.shape[:2]:
            resized = np.asarray(Image.fromarray(image).resize(size[::-1], Image.BILINEAR))
        return _resize(self.logits(resized[None])[0], output_size or image.shape[:2])

    def _network_size(self, image_size, size):
        if self.size is not None:
            if size not in (None, self.size, list(self.size)):
                raise ValueError(
                    f"{self.name} is fixed to {self.size[0]}x{self.size[1]} pixels. "
                    f"Received: size={size}"
                )
            return tuple(self.size)
        if size is None:
            return tuple(image_size)
        if isinstance(size, int):
            scale = size / min(image_size)
            return tuple(max(round(side * scale), 1) for side in image_size)
        return tuple(size)


def _resize(scores, size):
    """Bilinear at half-pixel centres, channel by channel."""
    if scores.shape[:2] == tuple(size):
        return scores
    planes = [Image.fromarray(plane) for plane in np.moveaxis(scores, -1, 0)]
    resized = [np.asarray(plane.resize(tuple(size)[::-1], Image.BILINEAR)) for plane in planes]
    return np.stack(resized, axis=-1)
