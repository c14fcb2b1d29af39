"""Writes small ONNX graphs, for tests of what is read from a graph."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_graph(path, nodes, constants=(), image=(1, 3, 8, 8), output=(1, 4, 8, 8), **more):
    """Writes a graph from `image` to `scores`.

    Args:
        path: the file.
        nodes: tuples of operator, inputs, outputs and attributes; a node is named by `name`, or by
            its first output.
        constants: dict from name to shape of random float32 weights, or to an array.
        image, output: shapes; a text is a free side, and None for an unknown output shape.
        more: `opsets`, domains other than ONNX's own.
    """
    rng = np.random.default_rng(0)
    arrays = {
        name: value if isinstance(value, np.ndarray) else rng.normal(size=value).astype(np.float32)
        for name, value in dict(constants).items()
    }
    graph = helper.make_graph(
        [
            helper.make_node(kind, inputs, outputs, **{"name": outputs[0], **attributes})
            for kind, inputs, outputs, attributes in nodes
        ],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid(domain, 1) for domain in more.get("opsets", ())]
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=8
    )
    onnx.save(model, path)
    return path


def conv(image, weights, output, **attributes):
    """The node of a convolution whose output has the size of its input."""
    return ("Conv", [image, *weights], [output], {"auto_pad": "SAME_UPPER", **attributes})
