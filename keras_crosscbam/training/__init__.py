"""Losses, metrics and schedules for `compile` and `fit`, and recipes for whole trainings.

`keras_crosscbam.training.fit.train` runs a recipe; it stands apart because it needs TensorFlow,
whose `tf.data` feeds all backends, while the rest runs on any.
"""

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
]
