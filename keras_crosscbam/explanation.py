"""Explains predictions by attention gates and Grad-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.explanation_sheet import sheet
from keras_crosscbam.images import read_image
from keras_crosscbam.layers import CCBAM, SEASPP
from keras_crosscbam.layers.backend import gradient
from keras_crosscbam.models.surgery import with_input_size
from keras_crosscbam.private_api import nodes_in_order
from keras_crosscbam.runtime.keras_model import KerasRuntime

if TYPE_CHECKING:
    from PIL import Image

    from keras_crosscbam.types import Size, StrPath, ValueRange


@dataclass(frozen=True)
class Explanation:
    """Attention gates and Grad-CAM for an image.

    Attributes:
        image: the resized image, uint8 RGB `(height, width, 3)`.
        labels: predicted uint8 labels `(height, width)`.
        classes: the `ClassTable` of the labels.
        target: name of the class of `grad_cam`.
        grad_cam: float32 `(h, w)`, at the size of the features, 0..1: the positions whose features
            increase the score of the class. All 0 if there are none.
        channel_gates: dict from name, such as `"ccbam4 low"`, to the weights of channels, float32
            `(channels,)`, 0..1. They are computed from the encoder's features (low) for the
            decoder's (high), and the reverse; those of SE-ASPP (`"se_aspp"`) are for its own input.
        spatial_gates: dict from name to the weights of positions, float32 `(h, w)`, 0..1.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: ClassTable
    target: str
    grad_cam: np.ndarray
    channel_gates: dict[str, np.ndarray]
    spatial_gates: dict[str, np.ndarray]

    def sheet(self) -> Image.Image:
        """Returns the explanation as one picture, a `PIL.Image.Image` in RGB."""
        return sheet(self)


def explain(
    model: keras.Model,
    image: StrPath | np.ndarray,
    target: str | None = None,
    size: Size | int | None = None,
    layer: str | None = None,
    value_range: ValueRange | None = None,
) -> Explanation:
    """Computes the attention gates and Grad-CAM of a Cross-CBAM network for an image.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> explanation = kc.explain(model, STREET, size=96)
        >>> explanation.spatial_gates["ccbam3 low"].shape
        (12, 16)
        >>> explanation.sheet().save("street_explained.png")  # doctest: +SKIP

    The gates are those of the paper's Equations 3 and 4. Grad-CAM (R. Selvaraju et al., ICCV 2017,
    for segmentation K. Vinogradova et al., AAAI 2020) weights the channels of a layer's output by
    the mean gradient of the score of a class, summed over the pixels of that class, and keeps the
    positive part of their sum.

    Args:
        model: a `keras.Model` of this package, on any backend.
        image: path of an image, or uint8 RGB `(height, width, 3)`.
        target: name of a class, ignoring case; None for the class with most pixels in the result.
            For a class without pixels in the result, the score is summed over the complete image.
        size: as in `keras_crosscbam.segment`.
        layer: name of the layer for Grad-CAM; None for the first layer of the decoder, `se_aspp` or
            its replacement.
        value_range: as in `keras_crosscbam.segment`.

    Returns:
        An `Explanation`.

    Raises:
        ValueError: for an object that is not a Keras model, and for a model without that class,
            without that layer, or without gates.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "An explanation needs the layers of a Keras model, which exported files do not have. "
            f"Received: {model!r}"
        )
    run = KerasRuntime(model)
    # Keras changes the graph when submodels are created, so they are created from a copy.
    network = with_input_size(run.model, run.model.input_shape[1:3])
    nodes = {node.operation.name: node for node in nodes_in_order(network)}
    gated = [node for node in nodes.values() if isinstance(node.operation, (CCBAM, SEASPP))]
    if not gated:
        raise ValueError(f"{run.name} has neither CCBAM nor SE-ASPP, so it has no gates")
    layer = layer or next(name for name in ("se_aspp", "neck", "fcn") if name in nodes)
    if layer not in nodes:
        raise ValueError(f"{run.name} has no layer {layer!r}. It has: {', '.join(nodes)}")
    array = image if isinstance(image, np.ndarray) else read_image(image, value_range)
    seen = run.resized(array, size)
    labels = run.labels(seen)[0]
    target = run.classes.find([target])[0] if target else _most_frequent(labels, run.classes)
    pixels = ops.convert_to_tensor(run.prepare(seen))
    cut = nodes[layer].output_tensors[0]
    inputs_of = {node.operation.name: node.input_tensors for node in gated}
    values = keras.Model(network.inputs, {"cut": [cut], **inputs_of})(pixels, training=False)
    (features,) = values.pop("cut")
    rest = keras.Model([*network.inputs, cut], network.outputs[0])
    label = run.classes.names.index(target)
    region = labels == label if (labels == label).any() else np.ones_like(labels)

    def score(features):
        scores = rest([pixels, features], training=False)
        if scores.shape[-1] == 1:  # the object's score; its negative is the background's
            scores = ops.concatenate([-scores, scores], axis=-1)
        return ops.sum(scores[0, :, :, label] * ops.convert_to_tensor(region, scores.dtype))

    weights = _array(gradient(score, features))[0].mean(axis=(0, 1))
    channels, spaces = _gates([node.operation for node in gated], values)
    return Explanation(
        image=seen[0],
        labels=labels,
        classes=run.classes,
        target=target,
        grad_cam=_normalized(np.maximum(_array(features)[0] @ weights, 0)),
        channel_gates=channels,
        spatial_gates=spaces,
    )


def _most_frequent(labels, classes):
    return classes.names[np.bincount(labels.ravel()).argmax()]


def _gates(layers, values):
    """Returns the channel gates and the spatial gates, from the inputs of each layer."""
    channels, spaces = {}, {}
    for layer in layers:
        if isinstance(layer, SEASPP):
            channels[layer.name] = _array(layer.gate(values[layer.name][0])).ravel()
            continue
        _, gates = layer.attend(values[layer.name])
        for side in ("low", "high"):
            channels[f"{layer.name} {side}"] = _array(gates[f"{side}_channel"]).ravel()
            spaces[f"{layer.name} {side}"] = _array(gates[f"{side}_spatial"])[0, :, :, 0]
    return channels, spaces


def _array(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor)).astype(np.float32)


def _normalized(array):
    return array / array.max() if array.max() > 0 else array
