"""Export of Keras models to ONNX with tf2onnx, verified in ONNX Runtime."""

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
"""The `input_size` for a file that takes images of any size."""


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
    """Writes a model as an ONNX file, and verifies it on images.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_onnx(model, "m.onnx", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.2e-05

    The file has one input, `image`, with pixels of 0..255, and one output, named by its kind. It
    normalizes the pixels itself, also for a model built with `include_preprocessing=False`, and
    computes in float32, also for a model of half precision. BatchNormalization is folded into the
    convolutions. The metadata entry `keras_crosscbam` contains a `Description` as JSON. The export
    runs on Keras' TensorFlow backend; weights that were trained on another backend can be loaded
    there.

    Args:
        model: a `keras.Model` from images to scores. An auxiliary head is not exported.
        path: the file to write. It is only created if the comparison passes.
        input_size: `(height, width)`; None for the model's own size, `(None, None)` for any size.
        batch: the fixed batch size, or None for any.
        layout: layout of the image and of scores: `"nchw"`, which GPU and CPU runtimes run fastest,
            or `"nhwc"`, the layout of Keras and of cameras.
        input: `"float"` for float32 pixels, or `"uint8"`.
        output: `"logits"` or `"probabilities"`, float32 at the size of the image, for models that
            end in either (one channel, before or after the sigmoid, for one class); `"labels"`,
            uint8 class indices `(batch, height, width)`; or `"coarse_logits"`, the logits before
            the last upsampling, from which the runtimes of this package compute the same labels
            faster.
        optimize_for: `"onnxruntime"`, `"openvino"` or `"tensorrt"`: the graph is rewritten into an
            equivalent graph that is fastest in this runtime (`keras_crosscbam.export.rewrites`).
            None for no rewriting, for tools that need convolutions in the graph.
        opset: 13 or 15 to 18, the last one that tf2onnx writes. Rewriting supports 13 to 17.
        frames: images, or paths of images, to compare on; None for a street photograph.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, for logits of a model that resizes probabilities,
            and on other backends than TensorFlow.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            probabilities differ.
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
    """Rounds the scales of Resize nodes up, so that the output has the intended size.

    ONNX computes the floor of size times scale: 12 rows times float32(23 / 12) are 22.99999, which
    gives 22 rows instead of 23. The next larger float32 never adds a row.
    """
    import onnx

    arrays = {array.name: array for array in proto.graph.initializer}
    names = {node.input[2] for node in proto.graph.node if node.op_type == "Resize"}
    for name in names & arrays.keys():
        scales = onnx.numpy_helper.to_array(arrays[name])
        rounded = np.where(scales % 1 == 0, scales, np.nextafter(scales, np.float32(np.inf)))
        arrays[name].CopyFrom(onnx.numpy_helper.from_array(rounded, name))


def _describe(proto, description, optimize_for):
    """Writes the description into the metadata of the file."""
    extra = {**description.extra, "optimized_for": optimize_for}
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, replace(description, extra=extra).to_json()
