"""Data sets: what they hold, how it is read, and (in `pipeline`, on TensorFlow) batches of it."""

from keras_crosscbam.datasets.camvid import CAMVID_CLASSES, load_camvid
from keras_crosscbam.datasets.dataset import SegmentationDataset, read_image
from keras_crosscbam.datasets.labels import IGNORE, ClassTable, ColourEncoding, IndexEncoding

__all__ = [
    "CAMVID_CLASSES",
    "IGNORE",
    "ClassTable",
    "ColourEncoding",
    "IndexEncoding",
    "SegmentationDataset",
    "load_camvid",
    "read_image",
]
