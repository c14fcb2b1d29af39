"""Reads graphs of ONNX, OpenVINO and LiteRT into a common list of nodes."""

from dataclasses import dataclass

from keras_crosscbam.private_api import litert_schema


@dataclass(frozen=True)
class Node:
    """An operation of a network.

    Attributes:
        name: name in the file.
        layers: other names that contain the name of the Keras layer, such as those of its weights.
        inputs, outputs: names of tensors.
        size: `(height, width)` of the output, or None if the output is not a feature map.
        is_conv: whether it is a convolution.
        is_int8: whether it is a convolution with INT8 weights.
    """

    name: str
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size: tuple[int, int] | None
    is_conv: bool
    is_int8: bool

    @property
    def is_gate(self):
        """Whether it computes one value per channel, as the gates of an attention module do."""
        return self.size == (1, 1)


def count_int8(nodes):
    """Returns the number of convolutions with INT8 weights, and of all convolutions."""
    convs = [node for node in nodes if node.is_conv]
    return sum(node.is_int8 for node in convs), len(convs)


def onnx_nodes(model):
    """Returns the operations of an `onnx.ModelProto` in order; all of them must have names."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    constants = {array.name for array in graph.initializer}
    scaled = {o for node in graph.node if node.op_type == "DequantizeLinear" for o in node.output}
    return [
        Node(
            name=node.name,
            layers=(*node.output, *constants.intersection(node.input[1:2])),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            size=_size(shapes.get(node.output[0]), channels_first=True),
            is_conv=node.op_type == "Conv",
            is_int8=not scaled.isdisjoint(node.input[1:2]),
        )
        for node in graph.node
    ]


def openvino_nodes(model):
    """Returns the operations of an `openvino.Model` in order, without constants."""
    nodes = []
    for op in model.get_ordered_ops():
        if op.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        name = op.get_friendly_name()
        sources = [value.get_node() for value in op.input_values()]
        weights = [s for s in sources[1:2] if s.get_type_name() == "Constant"]
        shape = [side.get_length() if side.is_static else 0 for side in op.output(0).partial_shape]
        is_conv = op.get_type_name() in ("Convolution", "GroupConvolution")
        nodes.append(
            Node(
                name=name,
                layers=tuple(constant.get_friendly_name() for constant in weights),
                inputs=tuple(source.get_friendly_name() for source in sources),
                outputs=(name,),
                size=_size(shape, channels_first=True),
                is_conv=is_conv,
                # INT8 weights are scaled first, so the input is not a constant.
                is_int8=is_conv and not weights,
            )
        )
    return nodes


def litert_nodes(content):
    """Returns the operations of a `.tflite` file's bytes in order, named by their first output."""
    schema = litert_schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    kinds = schema.BuiltinOperator
    nodes = []
    for op in graph.operators:
        inputs, outputs = ([graph.tensors[i] for i in side] for side in (op.inputs, op.outputs))
        names = tuple(tensor.name.decode() for tensor in outputs)
        code = model.operatorCodes[op.opcodeIndex].builtinCode
        is_conv = code in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D)
        nodes.append(
            Node(
                name=names[0],
                layers=(),
                inputs=tuple(tensor.name.decode() for tensor in inputs),
                outputs=names,
                size=_size(outputs[0].shape, channels_first=False),
                is_conv=is_conv,
                is_int8=is_conv and inputs[1].type == schema.TensorType.INT8,
            )
        )
    return nodes


def _size(shape, channels_first):
    if shape is None or len(shape) != 4:
        return None
    return tuple(int(side) for side in (shape[2:] if channels_first else shape[1:3]))
