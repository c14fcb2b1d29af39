"""Normalization of pixels for networks that take normalized pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_crosscbam.types import Channels


@dataclass(frozen=True)
class Normalization:
    """Computes `(pixels / 255 - mean) / std` for pixels of 0..255.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.normalization import Normalization
        >>> Normalization(0.5, 0.25)(np.uint8([[[0, 51, 255]]])).round(3)
        array([[[-2. , -1.2,  2. ]]], dtype=float32)

    Attributes:
        mean, std: one number, or one for each channel, such as three for R, G and B, on a scale
            of 0..1, as in PyTorch's `torchvision.transforms.Normalize` after `ToTensor`.
            `mean=0, std=1` scales pixels to 0..1; `mean=0, std=1/255` keeps them at 0..255.

    Raises:
        ValueError: for None, and for other numbers, such as numbers on a scale of 0..255.
    """

    mean: Channels | None
    std: Channels | None

    def __post_init__(self):
        for name, lowest in (("mean", 0.0), ("std", np.finfo(np.float32).tiny)):
            given = getattr(self, name)
            try:
                numbers = np.asarray(given, np.float32)
            except (TypeError, ValueError):
                numbers = np.empty(0)
            good = numbers.ndim < 2 and numbers.size > 0
            if not good or not ((numbers >= lowest) & (numbers <= 1)).all():
                raise ValueError(
                    "`mean` and `std` must be given together; each must be one number or one for "
                    "each channel, such as three for R, G and B, on a scale of 0..1, and `std` "
                    "must not be 0. Divide numbers on a scale of 0..255 by 255. "
                    f"Received: {name}={given!r}"
                )

    def check_channels(self, name, channels):
        """Raises a `ValueError` unless `mean` and `std` have one number or one per channel."""
        for field in ("mean", "std"):
            if np.size(getattr(self, field)) not in (1, channels):
                raise ValueError(
                    f"`mean` and `std` for {name} must each be one number or {channels}, one for "
                    "each channel of its images, on a scale of 0..1. "
                    f"Received: {field}={getattr(self, field)!r}"
                )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalizes images `(..., channels)` of 0..255 and returns float32."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.asarray(images, np.float32) * (1 / (255 * std)) - mean / std
