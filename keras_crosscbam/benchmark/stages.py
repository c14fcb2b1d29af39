"""Names the part of the network that each node of an exported graph belongs to.

>>> from keras_crosscbam.benchmark.stages import stage_of
>>> stage_of("cross_cbam_stdc1/stage3_block1_conv2/relu/Relu")
'stage3'
>>> stage_of("Conv__160")
"""

import re

STAGES = {
    "stem": r"normalize|stem_conv\d",
    "stage3": r"stage3\w*",
    "stage4": r"stage4\w*",
    "stage5": r"stage5\w*",
    "se_aspp": r"se_aspp|neck",
    "ccbam4": r"ccbam4|lateral4|resize4|sum4|neck4",
    "ccbam3": r"ccbam3|lateral3|resize3|sum3|neck3",
    "head": r"fcn|dropout|classifier|resize|activation",
}
"""Stages of Cross-CBAM, with the names of their layers."""

OTHER = "other"
"""Stage of a node without any named node before or after it."""


def stage_of(name):
    """Returns the stage of a node by its name; None for a name that no layer gave.

    Keras' export names a node `model/layer/.../operation`, PyTorch's `/layer/.../operation`. Names
    that tools make up have no slash. A layer that is not in `STAGES`, of another network, is a
    stage itself.
    """
    model, *layers = name.split("/")
    if len(layers) < 2:
        return None
    layer = layers[0]
    # A second model in one process has a number at the end of all its names.
    if number := re.search(r"_\d+$", model):
        layer = layer.removesuffix(number[0])
    matching = (stage for stage, pattern in STAGES.items() if re.fullmatch(pattern, layer))
    return next(matching, layer)


def assign_stages(named, successors):
    """Returns the stage of each node, also of nodes without a layer's name.

    Exports and runtimes create nodes with names of their own, such as a convolution that contains
    its normalization. Such a node belongs to the stage of the first named node after it, or, at the
    end of the graph, of the last one before it.

    Args:
        named: dict from a node's key to its stage by its name, or None, in the order of execution.
        successors: dict from a key to the keys of the nodes that use its output.

    Returns:
        A dict from key to stage.
    """
    stages = dict(named)
    for key in reversed(list(named)):
        if stages[key] is None:
            after = (stages.get(successor) for successor in successors.get(key, ()))
            stages[key] = next(filter(None, after), None)
    for key in named:
        for successor in successors.get(key, ()):
            if stages.get(successor, OTHER) is None:
                stages[successor] = stages[key]
    return {key: stage or OTHER for key, stage in stages.items()}


def first_stage(names, known):
    """Returns the stage of the first name that has one; None if none has.

    Args:
        names: names of a node and of its output.
        known: dict from names of nodes and tensors to stages.
    """
    return next(filter(None, (known.get(name) or stage_of(name) for name in names)), None)


def onnx_stages(graph, known=None):
    """Returns a dict from the names of nodes and of their first outputs to stages.

    Args:
        graph: an `onnx.GraphProto`.
        known: this dict of the graph that ONNX Runtime made this one of; None for a graph that was
            exported.
    """
    # ONNX Runtime names a convolution in its own layout after the tensor that it writes.
    names = {
        node.output[0]: (node.output[0] if known else "", node.name.removesuffix("_nchwc"))
        for node in graph.node
    }
    named = {key: first_stage(listed, known or {}) for key, listed in names.items()}
    writers = {name: node.output[0] for node in graph.node for name in node.output}
    successors = {key: [] for key in named}
    for node in graph.node:
        for name in node.input:
            if name in writers:
                successors[writers[name]].append(node.output[0])
    stages = assign_stages(named, successors)
    return {node.name: stages[node.output[0]] for node in graph.node if node.name} | stages
