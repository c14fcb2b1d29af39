"""Losses, metrics, schedules and recipes for `compile` and `fit`, and `train` around them."""

from keras_crosscbam.training.fit import train
from keras_crosscbam.training.losses import SegmentationCrossEntropy
from keras_crosscbam.training.metrics import SegmentationMeanIoU, iou_per_class
from keras_crosscbam.training.recipes import RECIPES, Phase, Recipe
from keras_crosscbam.training.schedules import PolySchedule

__all__ = [
    "RECIPES",
    "Phase",
    "PolySchedule",
    "Recipe",
    "SegmentationCrossEntropy",
    "SegmentationMeanIoU",
    "iou_per_class",
    "train",
]
