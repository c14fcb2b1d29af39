"""Sets up TensorRT's builder, for the versions 8.6, 10, 11 and for TensorRT-RTX.

Features that only some versions have are looked up in the library, not derived from the version
number: explicit batches, the flags FP16 and INT8 of weakly typed networks, timing caches, and
builds for other GPUs.
"""

import contextlib
from pathlib import Path

from keras_crosscbam.export.verified import require_convolutions
from keras_crosscbam.runtime.description import METADATA, parse
from keras_crosscbam.runtime.tensorrt.engine_file import flavour_of


def read_graph(path, precision):
    """Loads an ONNX file as a `ModelProto`, and checks that it matches the precision."""
    import onnx

    try:
        model = onnx.load(path)
    except Exception as error:  # raised by protobuf, ONNX or the file system
        raise ValueError(f"{path}: not a readable ONNX file ({error})") from error
    described = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA)
    remedy = 'write it with to_onnx(..., optimize_for="tensorrt")'
    require_convolutions(path, described and parse(path, described), remedy)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    if quantized and "int8" not in precision:
        raise ValueError(
            f"{path}: has QuantizeLinear nodes; build it with precision 'int8' or 'int8+fp16'. "
            f"Received: {precision!r}"
        )
    if "int8" in precision and not quantized:
        raise ValueError(
            f"{path}: precision {precision!r} needs a file with QuantizeLinear nodes, signed and "
            'symmetric: write it with keras_crosscbam.export.quantize(..., runtime="tensorrt"). '
            "Received: a file without these nodes"
        )
    return model


def make_network(trt, builder, model, precision, log, path):
    """Parses a graph into a network.

    Raises:
        ValueError: if TensorRT does not support a node; the message lists all such nodes.
    """
    if strongly_typed(trt) and "fp16" in precision:
        model = to_half(model)
    # Explicit batches are optional up to TensorRT 10, and always used since 11.
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = "; ".join(_explained(error, model.graph.node) for error in errors)
        raise ValueError(
            f"{path}: {flavour_of(trt)} {trt.__version__} cannot parse it: {reasons}. Write it "
            'with to_onnx(..., optimize_for="tensorrt"), and quantize it with runtime="tensorrt".'
        )
    return network


def strongly_typed(trt):
    """Returns whether the graph alone sets the precision, in versions without builder flags."""
    return not hasattr(trt.BuilderFlag, "FP16")


def to_half(model):
    """Converts a graph to float16 and keeps the types of its inputs and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    # The converter would insert casts to the types in `value_info`.
    del model.graph.value_info[:]
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    # The converter appends casts at the end, after the nodes that read them.
    converted.topological_sort()
    return converted.model


def _explained(error, nodes):
    """Returns the text of a parser error; before TensorRT 10 the graph has the node's name."""
    index = error.node()
    node = nodes[index] if 0 <= index < len(nodes) else None
    name = error.node_name() if hasattr(error, "node_name") else node and node.name
    operator = error.node_operator() if hasattr(error, "node_operator") else node and node.op_type
    return f"{operator} {name!r}: {error.desc()}" if name else error.desc()


def check_card(builder, precision, device):
    """Raises a `RuntimeError` if the GPU has no fast arithmetic of that precision."""
    for kind in precision.split("+"):
        if not getattr(builder, f"platform_has_fast_{kind}", True):
            raise RuntimeError(
                f"{device} has no fast {kind.upper()}: the engine would be slower than in FP32. "
                f"Build it with another precision. Received: {precision!r}"
            )


def make_config(trt, builder, precision, workspace_gib, optimization_level):
    """Returns the builder configuration, except for the settings that depend on the network."""
    config = builder.create_builder_config()
    for kind in precision.split("+"):
        flag = getattr(trt.BuilderFlag, kind.upper(), None)
        if flag is not None:
            config.set_flag(flag)
    # By default, TensorRT may compute FP32 layers in TF32.
    if "tf32" not in precision:
        config.clear_flag(trt.BuilderFlag.TF32)
    if workspace_gib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace_gib * 2**30))
    if optimization_level is not None:
        config.builder_optimization_level = optimization_level
    # Without this setting, the engine does not report the precision of its layers.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return config


def aim_at_card(trt, config, compute_capability):
    """Sets the compute capability to build for; raises a `ValueError` if unsupported."""
    known = getattr(trt, "ComputeCapability", None)
    name = "SM{}{}".format(*compute_capability)
    if known is None or not hasattr(known, name):
        raise ValueError(
            f"{flavour_of(trt)} {trt.__version__} builds "
            + ("only for the GPU it runs on" if known is None else f"for no GPU of {name}")
            + f". Received: compute_capability={compute_capability}"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(known, name), 0)


def add_profile(builder, config, network, profile):
    """Sets the input shapes that a network with a dynamic shape is built for."""
    image = network.get_input(0)
    shape = tuple(image.shape)
    if (profile is None) != (-1 not in shape):
        raise ValueError(
            f"The network's input is {shape}. `profile` must be (min, opt, max) batch sizes for a "
            f"dynamic shape (-1), and None for a fixed shape. Received: {profile!r}"
        )
    if profile is None:
        return
    wanted = [(n, *shape[1:]) if isinstance(n, int) else tuple(n) for n in profile]
    growing = all(list(sides) == sorted(sides) for sides in zip(*wanted, strict=False))
    whole = all(len(sides) == len(shape) and min(sides) > 0 for sides in wanted)
    if len(wanted) != 3 or not growing or not whole:
        raise ValueError(
            f"`profile` must be three batch sizes, or three shapes if more than the batch is "
            f"dynamic, from the smallest to the largest. Received: {profile!r} for {shape}"
        )
    optimization = builder.create_optimization_profile()
    optimization.set_shape(image.name, *wanted)
    config.add_optimization_profile(optimization)


@contextlib.contextmanager
def kept_timings(trt, config, path):
    """Loads and saves the timing cache of earlier builds. TensorRT-RTX has no timings."""
    if path is None or flavour_of(trt) == "TensorRT-RTX":
        yield
        return
    path = Path(path)
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    yield
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(config.get_timing_cache().serialize()))
