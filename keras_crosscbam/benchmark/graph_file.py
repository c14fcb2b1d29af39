"""Reads the graph of an ONNX file with the shapes of all its tensors.

Needs the package `onnx`, and no framework.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from keras_crosscbam.runtime.description import METADATA, parse
from keras_crosscbam.runtime.errors import unreadable


def read_graph(path, size=None):
    """Reads an ONNX file, and infers the shapes of its tensors at batch size 1.

    Args:
        path: the file.
        size: `(height, width)` for a file that takes images of any size.

    Returns:
        The `onnx.ModelProto`, without data that is outside the file.

    Raises:
        ValueError: for a file that is missing or not readable, without `size` for a file of any
            size, and with another size than the fixed one of the file.
        ImportError: if onnx is missing.
    """
    model = load_model(path)
    _fix_size(model, path, size)
    try:
        from onnx import shape_inference

        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # onnx and protobuf have a separate exception class for each cause
        raise unreadable(path, "ONNX file", error) from error


def load_model(path):
    """Returns the `onnx.ModelProto` of a file, without data that is outside the file.

    Raises:
        ValueError, ImportError: as in `read_graph`.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ImportError(
            "Reading the graph of an ONNX file needs the package 'onnx'. Install it with "
            "`pip install keras-crosscbam[onnx]`."
        ) from error
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        model = onnx.load(path, load_external_data=False)
        # The parser reads some files of other kinds as a model without nodes.
        if not model.graph.node:
            raise ValueError("it contains no nodes")
    except Exception as error:  # onnx and protobuf have a separate exception class for each cause
        raise unreadable(path, "ONNX file", error) from error
    return model


class GraphFacts(NamedTuple):
    """What a graph takes, and how it was made.

    Attributes:
        batch: batch size of the image.
        size: `(height, width)` of the image.
        quantized: whether it contains quantized layers.
        optimized_for: the runtime that it was rewritten for; None if unknown or not rewritten.
    """

    batch: int
    size: tuple[int, int]
    quantized: bool
    optimized_for: str | None


def describe_graph(model):
    """Returns the `GraphFacts` of a graph from `read_graph`."""
    sides, (rows, columns) = _image(model), _axes(model)
    described = _description(model)
    return GraphFacts(
        batch=sides[0].dim_value,
        size=(sides[rows].dim_value, sides[columns].dim_value),
        quantized=any(node.op_type == "DequantizeLinear" for node in model.graph.node),
        optimized_for=described.extra.get("optimized_for") if described else None,
    )


def _description(model):
    texts = (entry.value for entry in model.metadata_props if entry.key == METADATA)
    return next((parse("the file", text) for text in texts), None)


def _image(model):
    """Returns the sides of the image input, the entries of its ONNX type."""
    constants = {array.name for array in model.graph.initializer}
    images = [entry for entry in model.graph.input if entry.name not in constants]
    sides = images[0].type.tensor_type.shape.dim if len(images) == 1 else ()
    if len(sides) != 4:
        raise ValueError(
            "Expected a network with one image input of 4 axes. Received: inputs "
            f"{[entry.name for entry in images]}"
        )
    return sides


def _axes(model):
    """Returns the axes of height and width."""
    described = _description(model)
    # Without a description, an axis of 1 to 4 behind the batch is that of the channels.
    nchw = described.layout == "nchw" if described else 0 < _image(model)[1].dim_value <= 4
    return (2, 3) if nchw else (1, 2)


def _fix_size(model, path, size):
    """Sets a free batch size to 1, and free sides to a size."""
    sides, (rows, columns) = _image(model), _axes(model)
    found = (sides[rows].dim_value, sides[columns].dim_value)
    if size is None and 0 in found:
        raise ValueError(f"{path} takes images of any size: pass the size, (height, width).")
    if size is not None and any(a not in (0, b) for a, b in zip(found, size, strict=True)):
        raise ValueError(
            f"{path} takes images of {found[0]}x{found[1]}. Received: {size[0]}x{size[1]}. "
            "Export it again with the other size."
        )
    if 0 in (sides[0].dim_value, *found):
        sides[0].dim_value = sides[0].dim_value or 1
        sides[rows].dim_value, sides[columns].dim_value = size or found
        # Shapes that depend on what was free are inferred again.
        del model.graph.value_info[:]
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
