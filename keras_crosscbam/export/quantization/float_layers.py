"""Selects the operations of a network that stay in float in INT8 quantization."""

import re


def float_nodes(nodes, exclude=()):
    """Returns the names of the operations that stay in float.

    These are the operations before the first and after the last convolution, that is, the
    normalization of pixels and the upsampling of scores; the gates with one value per channel,
    whose ranges differ most between frames and may even be empty; and the operations in `exclude`.

    Args:
        nodes: the `Node` list of the network.
        exclude: `"first"` and `"last"` for the first and last convolution; any other string is the
            name of a Keras layer, including the layers inside, or of an operation.

    Raises:
        ValueError: for a name that does not occur, and for a network without convolutions.
    """
    convs = [node for node in nodes if node.is_conv and not node.is_gate]
    if not convs:
        raise ValueError("The network has no convolutions, so there is nothing to quantize")
    first, last = convs[0], convs[-1]
    chosen = {node.name for node in nodes if node.is_gate}
    chosen |= _connected(reversed(nodes), first, lambda n: n.inputs, lambda n: n.outputs)
    chosen |= _connected(nodes, last, lambda n: n.outputs, lambda n: n.inputs)
    named = {"first": {first.name}, "last": {last.name}}
    for name in [exclude] if isinstance(exclude, str) else exclude:
        found = named.get(name) or {node.name for node in nodes if _is_of(node, name)}
        if not found:
            raise ValueError(
                "`exclude` takes 'first', 'last' and names of layers or operations. "
                f"Received: {name!r}, which the network does not have"
            )
        chosen |= found
    return chosen


def _connected(nodes, start, ahead, behind):
    """Returns the names of the nodes that can be reached from `start`, excluding `start`."""
    tensors, reached = set(ahead(start)), set()
    for node in nodes:
        if node is not start and tensors & set(behind(node)):
            reached.add(node.name)
            tensors |= set(ahead(node))
    return reached


def _is_of(node, layer):
    """Returns whether a layer is part of a path such as `model_1/stem_conv1_1/conv/kernel`.

    TensorFlow appends numbers to the names of layers that are called more than once.
    """
    own = re.compile(rf"{re.escape(layer)}(_\d+)?")
    paths = (node.name, *node.layers)
    return layer in paths or any(
        own.fullmatch(part) for path in paths for part in re.split("[/;:]", path)
    )
