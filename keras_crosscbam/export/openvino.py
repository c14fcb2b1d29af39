"""Export of Keras models to OpenVINO's IR format, through ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.export.onnx import to_onnx
from keras_crosscbam.export.verified import at_size, write_verified
from keras_crosscbam.runtime.description import METADATA
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.onnx import OnnxRuntime
from keras_crosscbam.runtime.openvino import OpenVINORuntime

if TYPE_CHECKING:
    import keras

    from keras_crosscbam.export.parity import Parity
    from keras_crosscbam.types import Frames, StrPath


def to_openvino(
    model: keras.Model,
    path: StrPath,
    input_size: tuple[int | None, int | None] | None = None,
    batch: int | None = 1,
    layout: str = "nchw",
    input: str = "float",
    output: str = "logits",
    frames: Frames | None = None,
) -> Parity:
    """Writes a model as an OpenVINO `.xml` file with its `.bin`, and verifies it on images.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid")  # doctest: +SKIP
        >>> print(kc.export.to_openvino(model, "m.xml", input_size=(360, 480)))  # doctest: +SKIP
        1 frames: argmax equal on 100.0000 % of the pixels, max |logit difference| 1.3e-05

    The graph is that of `to_onnx`, rewritten for OpenVINO. The description is in the `.xml` file,
    as runtime information.

    Args:
        model: a functional `keras.Model` from images to scores.
        path: the `.xml` file to write. It is only created if the comparison passes.
        input_size, batch, layout, input, output: as in `to_onnx`.
        frames: images, or paths of images, to compare on; None for a street photograph.

    Returns:
        The `Parity` with the Keras model, computed in float32.

    Raises:
        ValueError: for arguments out of range, and on other backends than TensorFlow.
        ParityError: if less than 99.99 % of the pixels have the same label as in Keras, or the
            probabilities differ.
        ImportError: if OpenVINO or tf2onnx is missing;
            `pip install keras-crosscbam[openvino,onnx]`.
    """
    import openvino

    if Path(path).suffix != ".xml":
        raise ValueError(f"`path` must end in .xml. Received: {path}")
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "model.onnx"
        to_onnx(
            model, onnx_file, input_size, batch, layout, input, output, "openvino", frames=frames
        )

        def write(unchecked):
            description = OnnxRuntime(onnx_file).description
            # `convert_model` folds constants, which would triple the size of the file.
            write_xml(openvino.Core().read_model(onnx_file), unchecked, description)

        reference = KerasRuntime(at_size(model, input_size, free=True))
        return write_verified(path, write, reference, OpenVINORuntime, frames, batch)


def write_xml(graph, path, description):
    """Saves an `openvino.Model` with its `Description`."""
    import openvino

    graph.set_rt_info(description.to_json(), METADATA)
    openvino.save_model(graph, path, compress_to_fp16=False)
