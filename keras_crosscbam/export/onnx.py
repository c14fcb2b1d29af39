"""Keras to ONNX by tf2onnx, checked against the model in ONNX Runtime before it is kept."""

import json
import os
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_crosscbam.export import parity
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.models.surgery import inference_model, with_input_size
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.onnx import METADATA, OnnxRuntime

OPSETS = (13, 15, 16, 17, 18)
LAYOUTS = ("nchw", "nhwc")


def to_onnx(model, path, input_size=None, batch=1, layout="nchw", opset=17, frames=None):
    """Writes a model as an ONNX file of static shapes, and proves it on real frames.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_onnx(model, "m.onnx", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.2e-05

    The file has one input, `image`, float32 pixels of 0..255 (normalized inside if the model does
    that), and one output, `logits`, at the size of the image. BatchNormalization is folded into
    the convolutions. The metadata entry `keras_crosscbam` holds layout and classes as JSON. The
    export runs on Keras' TensorFlow backend; weights trained on another backend are the same.

    Args:
        model: a `keras.Model` of this package; of one with an auxiliary head, the main output.
        path: the file to write. It appears only once it has passed the comparison.
        input_size: `(height, width)`; None for the model's own size.
        batch: the fixed batch size.
        layout: `"nchw"`, what GPU and CPU runtimes run fastest, or `"nhwc"`, as in Keras.
        opset: 13 or 15 to 18; tf2onnx writes no later ones.
        frames: images, or paths of images, to compare on; None for a street photograph.

    Returns:
        The `Parity` with the Keras model.

    Raises:
        ValueError: for arguments out of range, or on another backend than TensorFlow.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras.
        ImportError: if tf2onnx or ONNX Runtime is missing; `pip install keras-crosscbam[onnx]`.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "ONNX export runs on the TensorFlow backend. Set KERAS_BACKEND=tensorflow and load "
            f"the same weights there. Received: backend {keras.backend.backend()!r}"
        )
    if layout not in LAYOUTS or opset not in OPSETS or batch < 1:
        raise ValueError(
            f"`layout` must be one of {LAYOUTS}, `opset` of {OPSETS}, `batch` positive. "
            f"Received: layout={layout!r}, opset={opset}, batch={batch}"
        )
    path = Path(path)
    model = _fixed(inference_model(model), input_size)
    reference = KerasRuntime(model)
    proto = _convert(model, batch, layout, opset)
    _describe(proto, reference, layout)
    # The .onnx ending stays last: the runtimes go by it.
    unchecked = path.with_name(f".{path.stem}.unchecked-{os.getpid()}.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unchecked.write_bytes(proto.SerializeToString())
        images = _batches(frames or [STREET], reference.size, batch)
        result = parity.check(reference, OnnxRuntime(unchecked), images)
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    return result


def _fixed(model, input_size):
    """The model at a fixed size, which static shapes need."""
    own = model.input_shape[1:3]
    if input_size is None and None in own:
        raise ValueError(
            "The model takes images of any size: say which to export with "
            f"`input_size=(height, width)`. Received: input shape {model.input_shape}"
        )
    if input_size is None or tuple(input_size) == own:
        return model
    return with_input_size(model, input_size)


def _convert(model, batch, layout, opset):
    import tensorflow as tf
    import tf2onnx

    spec = tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")

    # tf2onnx names outputs by the keys of a dict, and only of a dict.
    @tf.function(input_signature=[spec])
    def run(image):
        return {"logits": model(image, training=False)}

    transposed = {}
    if layout == "nchw":
        transposed = {"inputs_as_nchw": ["image"], "outputs_as_nchw": ["logits"]}
    proto, _ = tf2onnx.convert.from_function(run, [spec], opset=opset, **transposed)
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


def _describe(proto, runtime, layout):
    entry = proto.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps(
        {
            "layout": layout,
            "pixels": "float32, RGB, 0..255",
            "classes": runtime.classes.names,
            "colours": runtime.classes.colours,
        }
    )


def _batches(frames, size, batch):
    """Images resized to the network's size; the last batch is filled up with its last frame."""
    images = [frame if isinstance(frame, np.ndarray) else read_image(frame) for frame in frames]
    images = [np.asarray(Image.fromarray(i).resize(size[::-1], Image.BILINEAR)) for i in images]
    images += [images[-1]] * (-len(images) % batch)
    for start in range(0, len(images), batch):
        yield np.stack(images[start : start + batch]).astype(np.float32)
