"""Keras to ONNX by tf2onnx, checked against the model in ONNX Runtime before it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.export.serving import describe, serving_function
from keras_crosscbam.export.verified import at_size, require_tensorflow, write_verified
from keras_crosscbam.runtime.description import LAYOUTS, METADATA
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.onnx import OnnxRuntime

if TYPE_CHECKING:
    import keras

    from keras_crosscbam.export.parity import Parity
    from keras_crosscbam.types import Frames, StrPath

OPSETS = (13, 15, 16, 17, 18)
RUNTIMES = ("onnxruntime", "openvino", "tensorrt")
FREE = (None, None)
"""The `input_size` of a file that takes images of any size."""


def to_onnx(
    model: keras.Model,
    path: StrPath,
    input_size: tuple[int | None, int | None] | None = None,
    batch: int | None = 1,
    layout: str = "nchw",
    input: str = "float",
    output: str = "logits",
    optimize_for: str | None = "onnxruntime",
    opset: int = 17,
    frames: Frames | None = None,
) -> Parity:
    """Writes a model as an ONNX file, and proves it on real frames.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_onnx(model, "m.onnx", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.2e-05

    The file has one input, `image`, pixels of 0..255 (normalized inside, also for a model built
    with `include_preprocessing=False`), and one output, called by its kind. It computes in float32,
    also for a model of half precision. BatchNormalization is folded into the convolutions. The
    metadata entry `keras_crosscbam` holds a `Description` as JSON. The export runs on Keras'
    TensorFlow backend; weights trained on another backend are the same.

    Args:
        model: a `keras.Model` from images to scores; of one with an auxiliary head, the main
            output.
        path: the file to write. It appears only once it has passed the comparison.
        input_size: `(height, width)`; None for the model's own size, `(None, None)` for any size.
        batch: the fixed batch size, or None for any.
        layout: `"nchw"`, what GPU and CPU runtimes run fastest, or `"nhwc"`, as in Keras and as
            cameras deliver; of the image, and of scores.
        input: `"float"` for float32 pixels, or `"uint8"`.
        output: `"logits"` or `"probabilities"`, float32 at the size of the image, whichever of
            them the model gives (of one class, one channel, before or after the sigmoid);
            `"labels"`, uint8 class indices `(batch, height, width)`; or `"coarse_logits"`, those
            before the last upsampling, which the runtimes of this package finish to the same
            labels, faster.
        optimize_for: `"onnxruntime"`, `"openvino"` or `"tensorrt"`: the graph is rewritten into an
            equal one that runs fastest there (`keras_crosscbam.export.rewrites`). None leaves it
            plain, for tools that look for convolutions.
        opset: 13 or 15 to 18; tf2onnx writes no later ones. Rewriting takes 13 to 17.
        frames: images, or paths of images, to compare on; None for a street photograph.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, for logits of a model that resizes probabilities,
            or on another backend than TensorFlow.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            scores stand for other probabilities.
        ImportError: if tf2onnx or ONNX Runtime is missing; `pip install keras-crosscbam[onnx]`.
    """
    require_tensorflow("ONNX")
    if layout not in LAYOUTS or opset not in OPSETS or (batch is not None and batch < 1):
        raise ValueError(
            f"`layout` must be one of {LAYOUTS}, `opset` of {OPSETS}, `batch` positive or None. "
            f"Received: layout={layout!r}, opset={opset}, batch={batch}"
        )
    if optimize_for not in (None, *RUNTIMES) or (optimize_for and opset > 17):
        raise ValueError(
            f"`optimize_for` must be None or one of {RUNTIMES}, and the opset up to 17. "
            f"Received: optimize_for={optimize_for!r}, opset={opset}"
        )
    model = at_size(model, input_size, free=input_size is not None and tuple(input_size) == FREE)
    description = replace(describe(model, input, output), layout=layout)
    reference = KerasRuntime(model)
    proto = _convert(model, batch, description, opset)
    if optimize_for:
        from keras_crosscbam.export.rewrites import rewrite_for

        proto = rewrite_for(optimize_for, proto)
    _describe(proto, description, optimize_for)

    def write(unchecked):
        unchecked.write_bytes(proto.SerializeToString())

    return write_verified(path, write, reference, OnnxRuntime, frames, batch)


def _convert(model, batch, description, opset):
    import tf2onnx

    serve = serving_function(model, batch, description)
    transposed = {}
    if description.layout == "nchw":
        transposed["inputs_as_nchw"] = ["image"]
        if description.output != "labels":
            transposed["outputs_as_nchw"] = [description.output]
    proto, _ = tf2onnx.convert.from_function(
        serve, serve.input_signature, opset=opset, **transposed
    )
    _round_scales_up(proto)
    return proto


def _round_scales_up(proto):
    """Makes every Resize reach its size: 12 rows times float32(23 / 12) make 22.99999, hence 22.

    ONNX takes the floor of size times scale; the next larger float32 is never a row too far.
    """
    import onnx

    arrays = {array.name: array for array in proto.graph.initializer}
    names = {node.input[2] for node in proto.graph.node if node.op_type == "Resize"}
    for name in names & arrays.keys():
        scales = onnx.numpy_helper.to_array(arrays[name])
        rounded = np.where(scales % 1 == 0, scales, np.nextafter(scales, np.float32(np.inf)))
        arrays[name].CopyFrom(onnx.numpy_helper.from_array(rounded, name))


def _describe(proto, description, optimize_for):
    """Writes into the file what it is and where it comes from."""
    extra = {**description.extra, "optimized_for": optimize_for}
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, replace(description, extra=extra).to_json()
