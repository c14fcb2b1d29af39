"""Data sets for semantic segmentation: loading, conversion, and batches for training.

The functions that create batches import TensorFlow for `tf.data` when they are first used.
"""

from typing import TYPE_CHECKING

from keras_crosscbam._lazy import lazy_names
from keras_crosscbam.classes import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    CLASS_TABLES,
    IGNORE,
    ClassTable,
)
from keras_crosscbam.datasets.camvid import load_camvid
from keras_crosscbam.datasets.cityscapes import load_cityscapes
from keras_crosscbam.datasets.conversion import convert
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.encodings import ColorEncoding, IndexEncoding
from keras_crosscbam.datasets.folder import load_folder
from keras_crosscbam.datasets.loading import load_dataset, load_held_out, split_images

if TYPE_CHECKING:
    from keras_crosscbam.datasets.pipeline import (
        evaluation_batches,
        steps_per_epoch,
        training_batches,
    )

__all__ = [
    "CAMVID_CLASSES",
    "CITYSCAPES_CLASSES",
    "CLASS_TABLES",
    "IGNORE",
    "ClassTable",
    "ColorEncoding",
    "IndexEncoding",
    "SegmentationDataset",
    "convert",
    "evaluation_batches",
    "load_camvid",
    "load_cityscapes",
    "load_dataset",
    "load_folder",
    "load_held_out",
    "split_images",
    "steps_per_epoch",
    "training_batches",
]

_BATCHES = ("evaluation_batches", "steps_per_epoch", "training_batches")
__getattr__, __dir__ = lazy_names(__name__, _BATCHES, dict.fromkeys(_BATCHES, "pipeline"))
