"""Losses, metrics and schedules for `compile` and `fit`, and recipes for whole trainings.

`keras_crosscbam.training.segmentation.train` runs a recipe. It is not imported here because it
needs TensorFlow, whose `tf.data` feeds all backends; the rest runs on any backend.
"""

from keras_crosscbam.training.losses.distillation import SegmentationDistillation
from keras_crosscbam.training.losses.specification import (
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocalLoss,
    SegmentationOHEM,
    WeightedSum,
    make_loss,
)
from keras_crosscbam.training.metrics import SegmentationMeanIoU, iou_per_class
from keras_crosscbam.training.optimizers import SGD, AdamW
from keras_crosscbam.training.recipe import Phase, PretrainingRecipe, Recipe, with_settings
from keras_crosscbam.training.recipes import PRETRAINING_RECIPES, RECIPES
from keras_crosscbam.training.schedules import PolySchedule

__all__ = [
    "PRETRAINING_RECIPES",
    "RECIPES",
    "SGD",
    "AdamW",
    "Phase",
    "PolySchedule",
    "PretrainingRecipe",
    "Recipe",
    "SegmentationCrossEntropy",
    "SegmentationDice",
    "SegmentationDistillation",
    "SegmentationFocalLoss",
    "SegmentationMeanIoU",
    "SegmentationOHEM",
    "WeightedSum",
    "iou_per_class",
    "make_loss",
    "with_settings",
]
