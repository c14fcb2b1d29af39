"""The frames that a network is shown to learn the ranges of its feature maps."""

import numpy as np

from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.export.verified import as_image

MAX_FRAMES = 64
"""More frames than this made no difference on CamVid; 8 are nearly as good."""


def calibration_images(frames, max_frames=MAX_FRAMES, channels=3):
    """Reads the frames to calibrate on.

        >>> from keras_crosscbam.export.quantization.calibration import calibration_images
        >>> from keras_crosscbam.images import STREET
        >>> [image.shape for image in calibration_images([STREET, STREET])]
        [(563, 751, 3), (563, 751, 3)]

    Args:
        frames: a `SegmentationDataset`, or a list of images `(height, width, channels)`, uint8,
            and of paths of images: pictures of the kind that the network will see, not random ones.
        max_frames: of more than this many, spread evenly, the rest is left out.
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
        raise ValueError("Calibration needs real frames, some dozens of them. Received: none")
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), max_frames)).round().astype(int)
    return [as_image(frames[i], channels) for i in chosen]
