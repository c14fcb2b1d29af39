"""Type aliases for annotations; imports no large library."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from keras_crosscbam.classes import ClassTable

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    from keras_crosscbam.runtime.base import Runtime

StrPath: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = tuple[int, int]
"""`(height, width)` in pixels."""
ValueRange: TypeAlias = tuple[float, float]
Classes: TypeAlias = ClassTable | Sequence[str]
ClassWeights: TypeAlias = Sequence[float] | Mapping[int, float]
InputShape: TypeAlias = tuple[int | None, int | None, int]
"""`(height, width, channels)`."""
Activation: TypeAlias = str | Callable[[Any], Any] | None
Fusion: TypeAlias = Literal["ccbam", "sum"] | None

ModelLike: TypeAlias = "keras.Model | Runtime | StrPath"
"""The models that `keras_crosscbam.runtime.load` accepts."""
ImageLike: TypeAlias = "StrPath | Image.Image | np.ndarray"
Frames: TypeAlias = "Sequence[StrPath | np.ndarray]"
Channels: TypeAlias = float | Sequence[float]
"""One number, or one for each channel."""

Sample: TypeAlias = "dict[str, tf.Tensor]"
"""A sample of the input pipeline, `{"images", "segmentation_masks"}` or `{"images", "labels"}`."""
Seed: TypeAlias = "tf.Tensor | tuple[int, int]"
