"""An ONNX file as a runtime, run by ONNX Runtime."""

import json

import numpy as np

from keras_crosscbam.datasets.labels import ClassTable
from keras_crosscbam.runtime.base import Runtime

METADATA = "keras_crosscbam"
"""The metadata key under which exported files carry a JSON description of themselves."""


class OnnxRuntime(Runtime):
    """Runs a segmentation network from a file, written here or elsewhere.

    The file must have one image input, NCHW or NHWC, of 0..255 pixels, and scores of the same
    layout as its first output.
    """

    def __init__(self, path, classes=None, providers=("CPUExecutionProvider",)):
        import onnxruntime

        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=list(providers))
        except Exception as error:  # ONNX Runtime raises a class of its own for each cause
            raise ValueError(f"{path}: not a readable ONNX file ({error})") from error
        (image, *_), (scores, *_) = self.session.get_inputs(), self.session.get_outputs()
        self._channels_first = image.shape[1] in (1, 3, 4)
        _, *size = self._to_channels_last(image.shape)
        described = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        if classes is None and described:
            classes = _class_table(json.loads(described))
        super().__init__(
            name=str(path),
            size=tuple(size[:2]) if all(isinstance(side, int) for side in size[:2]) else None,
            num_classes=self._to_channels_last(scores.shape)[-1],
            classes=classes,
        )

    def logits(self, images):
        images = np.asarray(images, np.float32)
        if self._channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        (scores, *_) = self.session.run(None, {self.session.get_inputs()[0].name: images})
        return scores.transpose(0, 2, 3, 1) if self._channels_first else scores

    def _to_channels_last(self, shape):
        return [shape[0], shape[2], shape[3], shape[1]] if self._channels_first else list(shape)


def _class_table(described):
    names, colours = described.get("classes"), described.get("colours")
    return names and ClassTable(tuple(names), tuple(map(tuple, colours)))
