"""What a network looks at: the gates of its attention, and Grad-CAM."""

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
    """What a network looked at in an image.

    Attributes:
        image: the image as the network saw it, uint8 RGB `(height, width, 3)`.
        labels: its uint8 labels `(height, width)`.
        classes: their `ClassTable`.
        target: name of the class that `grad_cam` is about.
        grad_cam: float32 `(h, w)`, at the size of the features, 0..1: where the features speak for
            the class. All 0 where they do nowhere.
        channel_gates: by name, such as `"ccbam4 low"`, float32 `(channels,)`, 0..1: the weights of
            channels that are computed on the encoder's features (low) and on the decoder's (high),
            each for the other one, and SE-ASPP's for its own input (`"se_aspp"`).
        spatial_gates: by name, float32 `(h, w)`, 0..1: the weights of positions, likewise.
    """

    image: np.ndarray
    labels: np.ndarray
    classes: ClassTable
    target: str
    grad_cam: np.ndarray
    channel_gates: dict[str, np.ndarray]
    spatial_gates: dict[str, np.ndarray]

    def sheet(self) -> Image.Image:
        """All of it on one picture, a `PIL.Image.Image` in RGB."""
        return sheet(self)


def explain(
    model: keras.Model,
    image: StrPath | np.ndarray,
    target: str | None = None,
    size: Size | int | None = None,
    layer: str | None = None,
    value_range: ValueRange | None = None,
) -> Explanation:
    """Shows what a Cross-CBAM network looks at in an image.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> explanation = kc.explain(model, STREET, size=96)
        >>> explanation.spatial_gates["ccbam3 low"].shape
        (12, 16)
        >>> explanation.sheet().save("street_explained.png")  # doctest: +SKIP

    The gates are those of the paper's Equations 3 and 4. Grad-CAM (R. Selvaraju et al., ICCV 2017,
    for segmentation K. Vinogradova et al., AAAI 2020) weighs the channels of a layer's output by
    the mean gradient of a class' score, summed over the pixels of that class, and shows where their
    sum is positive.

    Args:
        model: a `keras.Model` of this package, on any backend.
        image: path of an image, or uint8 RGB `(height, width, 3)`.
        target: name of a class, in any case; None for the one with most pixels in the result. For a
            class without a pixel in the result the score is summed over the whole image.
        size: as in `keras_crosscbam.segment`.
        layer: name of the layer whose output Grad-CAM weighs; None for the context that the decoder
            begins with, `se_aspp` or what stands in its place.
        value_range: as in `keras_crosscbam.segment`.

    Returns:
        An `Explanation`.

    Raises:
        ValueError: for what is no Keras model, has no such class or layer, or no gates to show.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "An explanation needs the layers of a Keras model, which exported files do not have. "
            f"Received: {model!r}"
        )
    run = KerasRuntime(model)
    # Keras changes the graph that a model is cut from, so it is that of a copy.
    network = with_input_size(run.model, run.model.input_shape[1:3])
    nodes = {node.operation.name: node for node in nodes_in_order(network)}
    gated = [node for node in nodes.values() if isinstance(node.operation, (CCBAM, SEASPP))]
    if not gated:
        raise ValueError(f"{run.name} has neither CCBAM nor SE-ASPP, so there are no gates to show")
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
        if scores.shape[-1] == 1:  # of the object, which speaks against the background
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
    """The gates of channels and of positions, from the inputs of each layer."""
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
