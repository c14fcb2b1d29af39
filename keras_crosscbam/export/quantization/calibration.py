"""Reads the frames for the calibration of INT8 networks."""

import numpy as np

from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.export.verified import as_image

MAX_FRAMES = 64
"""Default number of frames. On CamVid, more frames made no difference; 8 are nearly as good."""


def calibration_images(frames, max_frames=MAX_FRAMES, channels=3):
    """Reads the frames for calibration.

        >>> from keras_crosscbam.export.quantization.calibration import calibration_images
        >>> from keras_crosscbam.images import STREET
        >>> [image.shape for image in calibration_images([STREET, STREET])]
        [(563, 751, 3), (563, 751, 3)]

    Args:
        frames: a `SegmentationDataset`, or a list of images, uint8 `(height, width, channels)`, and
            paths of images. They must be similar to the images that the network is used on.
        max_frames: maximum number of frames; they are selected at equal distances.
        channels: number of channels that the network takes.

    Returns:
        A list of uint8 images.

    Raises:
        ValueError: if there is no frame, or one is unreadable.
    """
    if isinstance(frames, SegmentationDataset):
        frames = [image for image, _ in frames.pairs]
    frames = list(frames)
    if not frames:
        raise ValueError("Calibration needs real frames, several dozen. Received: none")
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), max_frames)).round().astype(int)
    return [as_image(frames[i], channels) for i in chosen]
