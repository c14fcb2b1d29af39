"""Data sets: what they hold, how it is read, and (in `pipeline`, on TensorFlow) batches of it."""

from keras_crosscbam.classes import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    CLASS_TABLES,
    IGNORE,
    ClassTable,
    ColorEncoding,
    IndexEncoding,
)
from keras_crosscbam.datasets.camvid import load_camvid
from keras_crosscbam.datasets.cityscapes import load_cityscapes
from keras_crosscbam.datasets.conversion import convert
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.folder import load_folder
from keras_crosscbam.datasets.loading import load_dataset, load_held_out, split_images

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
    "load_camvid",
    "load_cityscapes",
    "load_dataset",
    "load_folder",
    "load_held_out",
    "split_images",
]
