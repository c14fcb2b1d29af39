"""Losses, metrics and schedules for `compile` and `fit`, and recipes for complete trainings.

`train` and `pretrain` run a recipe. On every backend they need TensorFlow for `tf.data`, and import
it when they are first used. Everything else runs without TensorFlow on the other backends.
"""

from typing import TYPE_CHECKING

from keras_crosscbam._lazy import lazy_names
from keras_crosscbam.confusion import iou_per_class
from keras_crosscbam.training.losses.distillation import SegmentationDistillation
from keras_crosscbam.training.losses.specification import (
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocalLoss,
    SegmentationOHEM,
    WeightedSum,
    make_loss,
)
from keras_crosscbam.training.metrics import SegmentationMeanIoU
from keras_crosscbam.training.optimizers import SGD, AdamW
from keras_crosscbam.training.recipe import Phase, PretrainingRecipe, Recipe
from keras_crosscbam.training.recipe_settings import with_settings
from keras_crosscbam.training.recipes import PRETRAINING_RECIPES, RECIPES
from keras_crosscbam.training.schedules import PolySchedule

if TYPE_CHECKING:
    from keras_crosscbam.training.classification import pretrain
    from keras_crosscbam.training.segmentation import train

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
    "pretrain",
    "train",
    "with_settings",
]

__getattr__, __dir__ = lazy_names(
    __name__, ["pretrain", "train"], {"pretrain": "classification", "train": "segmentation"}
)
