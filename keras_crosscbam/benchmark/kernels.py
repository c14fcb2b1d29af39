"""Costs of an ONNX graph: multiply-accumulates and memory traffic of each kernel.

A kernel is what a GPU runs at once: one node of the graph, or several that TensorRT fuses.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from keras_crosscbam.benchmark.stages import onnx_stages

VIEWS = {"Concat", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear"}
VIEWS |= {"Reshape", "Squeeze", "Unsqueeze"}
"""Nodes without a kernel: views, and concatenations, whose inputs are written into the output."""

POINTWISE = {"Abs", "Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "Erf", "Exp"}
POINTWISE |= {"Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "Min", "Mul", "Neg", "Pow"}
POINTWISE |= {"PRelu", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh", "Where"}
"""Nodes that join the kernel of a pointwise node before them, if nothing else reads its output."""

CONVOLUTIONS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Nodes with multiply-accumulates."""

INTO_CONVOLUTION = {"Add", "BatchNormalization", "Clip", "LeakyRelu", "Relu"}
"""Pointwise nodes that become part of a convolution before them: bias or sum, and activation."""

SCALES = {"Div", "Mul", "Sub"}
"""Pointwise nodes that become part of a convolution before them if one input is a constant."""

PADDED = {"AveragePool", "Conv", "MaxPool"}
"""Nodes that a padding before them becomes part of."""

UNKNOWN = {"Attention", "ConvInteger", "DeformConv", "Einsum", "GRU", "If", "LSTM", "Loop"}
UNKNOWN |= {"MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN", "Scan"}
"""Nodes whose multiply-accumulates are not counted here."""


@dataclass(frozen=True)
class Kernel:
    """The cost of a kernel for one call.

    Attributes:
        nodes: names of its nodes.
        operators: their ONNX operators.
        stage: part of the network, see `keras_crosscbam.benchmark.stages`.
        macs: number of multiply-accumulates.
        values: number of floating-point values, weights included, that it reads and writes.
        other_bytes: bytes of integers, such as pixels and labels, that it reads and writes.
    """

    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    stage: str
    macs: int
    values: int
    other_bytes: int

    def bytes(self, per_value):
        """Returns the bytes that it reads and writes, at a number of bytes for each value."""
        return self.values * per_value + self.other_bytes


def kernels_of(model):
    """Returns the kernels of a graph, a list of `Kernel`.

    Args:
        model: an `onnx.ModelProto` from `read_graph`.

    Raises:
        ValueError: for an operator whose cost is unknown, and for a tensor without a fixed shape.
    """
    graph = model.graph
    tensors = tensors_of(graph)
    outputs = [entry.name for entry in graph.output]
    readers = Counter([*outputs, *(name for node in graph.node for name in node.input)])
    constants = {array.name for array in graph.initializer}
    stages = onnx_stages(graph)
    writers = {}
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or constants.issuperset(filter(None, node.input)):
            # Computed once, when the network is built.
            constants.update(node.output)
        elif node.op_type not in VIEWS:
            alone = [writers[name] for name in node.input if name in writers and readers[name] == 1]
            kernel = [inner for nodes in _fused(node, alone, constants) for inner in nodes] + [node]
            for inner in kernel:
                writers.update(dict.fromkeys(inner.output, kernel))
    distinct = {id(nodes): nodes for nodes in writers.values()}
    return [_cost(nodes, tensors, constants, readers, stages) for nodes in distinct.values()]


def _fused(node, before, constants):
    """Returns those kernels, of the kernels whose results only this node reads, that it joins."""
    scales = node.op_type in SCALES and not constants.isdisjoint(node.input)
    if scales or node.op_type in INTO_CONVOLUTION:
        convolutions = [n for n in before if any(inner.op_type in CONVOLUTIONS for inner in n)]
        if convolutions:
            return convolutions[-1:]
    if node.op_type in POINTWISE:
        return [nodes for nodes in before if all(inner.op_type in POINTWISE for inner in nodes)]
    if node.op_type in PADDED:
        return [nodes for nodes in before if [inner.op_type for inner in nodes] == ["Pad"]]
    return []


def _cost(nodes, tensors, constants, readers, stages):
    """Returns the `Kernel` of some nodes."""
    written = [name for node in nodes for name in node.output if name]
    inside = Counter(name for node in nodes for name in node.input)
    read = {name for name in inside if name and name not in written}
    moved = [*read, *(name for name in written if readers[name] > inside[name])]
    values = other_bytes = 0
    for name in moved:
        tensor = tensors.get(name)
        if tensor is None:
            raise ValueError(
                f"The shape of {name!r}, at the node {nodes[-1].name!r}, is not fixed. Export the "
                "network with a fixed size and batch size."
            )
        if tensor.is_float:
            values += math.prod(tensor.shape)
        elif name not in constants:
            other_bytes += math.prod(tensor.shape) * tensor.itemsize
    return Kernel(
        nodes=tuple(node.name for node in nodes),
        operators=tuple(node.op_type for node in nodes),
        stage=stages[nodes[-1].output[0]],
        macs=sum(macs_of(node, tensors) for node in nodes),
        values=values,
        other_bytes=other_bytes,
    )


def macs_of(node, tensors):
    """Returns the multiply-accumulates of a node; 0 if it is not in `CONVOLUTIONS`.

    Raises:
        ValueError: for an operator whose multiply-accumulates are unknown.
    """
    if node.op_type in UNKNOWN or node.domain not in ("", "ai.onnx"):
        raise ValueError(
            f"The cost of the operator {node.op_type!r} is not known "
            f"(node {node.name!r}, domain {node.domain or 'ai.onnx'!r})."
        )
    if node.op_type not in CONVOLUTIONS:
        return 0
    first, second = (tensors[name].shape for name in node.input[:2])
    outputs = math.prod(tensors[node.output[0]].shape)
    if node.op_type == "Conv":
        return outputs * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return outputs * first[0 if transposed else -1]


class Tensor(NamedTuple):
    """Shape and type of a tensor."""

    shape: tuple[int, ...]
    is_float: bool
    itemsize: int


def tensors_of(graph):
    """Returns a dict from the names of the tensors with a fixed shape to their `Tensor`."""
    known = {}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        kind = entry.type.tensor_type
        sides = kind.shape.dim
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            known[entry.name] = _tensor(kind.elem_type, [side.dim_value for side in sides])
    return known | {array.name: _tensor(array.data_type, array.dims) for array in graph.initializer}


def _tensor(kind, shape):
    from onnx import TensorProto, helper

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    return Tensor(tuple(shape), kind in floats, helper.tensor_dtype_to_np_dtype(kind).itemsize)
