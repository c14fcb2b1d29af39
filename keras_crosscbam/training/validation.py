"""Validation during training, with the same results as `keras_crosscbam.evaluate`."""

import keras
import numpy as np
from keras import ops

from keras_crosscbam.confusion import confusion_matrix
from keras_crosscbam.datasets.argument_checks import check_size
from keras_crosscbam.datasets.pipeline import evaluation_batches
from keras_crosscbam.evaluation import summarize
from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.models.inputs import with_preprocessing
from keras_crosscbam.models.surgery import inference_model
from keras_crosscbam.training.losses.valid_pixels import logits_of_labels
from keras_crosscbam.training.tensorboard import evenly_spaced


class SegmentationValidation:
    """Evaluates a model on the complete frames of a data set, with its current weights.

    Args:
        model: a model of `CrossCBAM`, with or without its auxiliary head.
        dataset: a `SegmentationDataset`.
        size: `(height, width)` that frames are resized to; the logits are resized back. None to
            keep the size of the frames.

    Attributes:
        samples: dict from the index of some frames to their last predictions, uint8
            `(height, width)`.
    """

    def __init__(self, model, dataset, size=None):
        if size is not None:
            check_size("size", size)
        self.dataset = dataset
        self.model = _labeler(with_preprocessing(inference_model(model)), size)
        self.batches = evaluation_batches(dataset)
        self.samples = dict.fromkeys(evenly_spaced(len(dataset)))

    def __call__(self):
        """Computes the validation scores.

        Returns:
            A dict with `val_mean_iou`, `val_pixel_accuracy` and `val_iou_NAME` for each class, in
            0..1, and `val_classes_in_mean`, the number of classes in the mean.
        """
        classes = self.dataset.classes
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        for index, (images, labels) in enumerate(self.batches.as_numpy_iterator()):
            predicted = self.model.predict_on_batch(images)
            if index in self.samples:
                self.samples[index] = predicted[0].astype(np.uint8)
            confusion += confusion_matrix(labels, predicted, len(classes))
        scores = summarize(confusion, classes, len(self.dataset))
        return {
            "val_mean_iou": scores["mean_iou"],
            "val_classes_in_mean": scores["classes_in_mean"],
            "val_pixel_accuracy": scores["pixel_accuracy"],
            **{f"val_iou_{name}": iou for name, iou in scores["iou"].items()},
        }


def _labeler(model, size):
    """Returns a model from images of any size to predicted labels."""
    image = keras.Input((None, None, model.input_shape[-1]), name="image")
    resized = image
    if size:
        resized = keras.layers.Resizing(*size, data_format="channels_last", dtype="float32")(image)
    logits = ResizeLike(dtype="float32")([model(resized), image])
    return keras.Model(image, ops.argmax(logits_of_labels(logits), axis=-1))
