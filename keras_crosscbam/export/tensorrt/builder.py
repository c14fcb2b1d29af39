"""What TensorRT's builder is told, in words that version 8.6, 10, 11 and TensorRT-RTX all know.

What only some of them have is asked of the library, not of its version number: explicit batches,
the flags FP16 and INT8 of weak types, timing caches, builds for a card that is not there.
"""

import contextlib
from pathlib import Path

from keras_crosscbam.export.verified import require_convolutions
from keras_crosscbam.runtime.description import METADATA, parse
from keras_crosscbam.runtime.tensorrt.engine_file import flavour_of


def read_graph(path, precision):
    """Loads an ONNX file that fits a precision, as a `ModelProto`."""
    import onnx

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's, ONNX' or the file system's
        raise ValueError(f"{path}: not a readable ONNX file ({error})") from error
    described = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA)
    remedy = 'write it with to_onnx(..., optimize_for="tensorrt")'
    require_convolutions(path, described and parse(path, described), remedy)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    if quantized and "int8" not in precision:
        raise ValueError(
            f"{path}: has QuantizeLinear nodes: build it with precision 'int8' or 'int8+fp16'. "
            f"Received: {precision!r}"
        )
    if "int8" in precision and not quantized:
        raise ValueError(
            f"{path}: precision {precision!r} takes a file with QuantizeLinear nodes, signed and "
            'symmetric: keras_crosscbam.export.quantize(..., runtime="tensorrt") makes one. '
            "Received: a file with none"
        )
    return model


def make_network(trt, builder, model, precision, log, path):
    """Parses a graph into a network.

    Raises:
        ValueError: naming every node that TensorRT cannot take.
    """
    if strongly_typed(trt) and "fp16" in precision:
        model = to_half(model)
    # Explicit batches had to be asked for until TensorRT 10, and are all there is since 11.
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        reasons = "; ".join(_explained(error, model.graph.node) for error in errors)
        raise ValueError(
            f"{path}: {flavour_of(trt)} {trt.__version__} cannot take it: {reasons}. Write it with "
            'to_onnx(..., optimize_for="tensorrt"), and quantize it with runtime="tensorrt".'
        )
    return network


def strongly_typed(trt):
    """Whether precision lives in the graph alone: the flags that gave leave for it are gone."""
    return not hasattr(trt.BuilderFlag, "FP16")


def to_half(model):
    """A graph that computes in float16 and keeps the types of its inputs and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    # It takes types written beside the graph for more than hints, and casts to them.
    del model.graph.value_info[:]
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    # It appends casts at the end, whichever nodes read them.
    converted.topological_sort()
    return converted.model


def _explained(error, nodes):
    """One error of the parser; the name of the node comes from the graph before TensorRT 10."""
    index = error.node()
    node = nodes[index] if 0 <= index < len(nodes) else None
    name = error.node_name() if hasattr(error, "node_name") else node and node.name
    operator = error.node_operator() if hasattr(error, "node_operator") else node and node.op_type
    return f"{operator} {name!r}: {error.desc()}" if name else error.desc()


def check_card(builder, precision, device):
    """Raises `RuntimeError` where a card has no fast arithmetic of that precision."""
    for kind in precision.split("+"):
        if not getattr(builder, f"platform_has_fast_{kind}", True):
            raise RuntimeError(
                f"{device} has no fast {kind.upper()}: the engine would be slower than in FP32. "
                f"Build it with another precision. Received: {precision!r}"
            )


def make_config(trt, builder, precision, workspace_gib, optimization_level):
    """What does not depend on the network."""
    config = builder.create_builder_config()
    for kind in precision.split("+"):
        flag = getattr(trt.BuilderFlag, kind.upper(), None)
        if flag is not None:
            config.set_flag(flag)
    # TensorRT allows itself TF32 in what is called FP32.
    if "tf32" not in precision:
        config.clear_flag(trt.BuilderFlag.TF32)
    if workspace_gib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace_gib * 2**30))
    if optimization_level is not None:
        config.builder_optimization_level = optimization_level
    # Without it the engine does not say in which precision its layers compute.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return config


def aim_at_card(trt, config, compute_capability):
    """Builds for a card that is not there; `ValueError` where the library cannot."""
    known = getattr(trt, "ComputeCapability", None)
    name = "SM{}{}".format(*compute_capability)
    if known is None or not hasattr(known, name):
        raise ValueError(
            f"{flavour_of(trt)} {trt.__version__} builds "
            + ("only for the card it runs on" if known is None else f"for no card of {name}")
            + f". Received: compute_capability={compute_capability}"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(known, name), 0)


def add_profile(builder, config, network, profile):
    """Says for which input shapes a network of a dynamic shape is built."""
    image = network.get_input(0)
    shape = tuple(image.shape)
    if (profile is None) != (-1 not in shape):
        raise ValueError(
            f"The network's input is {shape}. `profile=(min, opt, max)` says which batches to "
            f"build a dynamic one (-1) for, and is None for a fixed one. Received: {profile!r}"
        )
    if profile is None:
        return
    wanted = [(n, *shape[1:]) if isinstance(n, int) else tuple(n) for n in profile]
    growing = all(list(sides) == sorted(sides) for sides in zip(*wanted, strict=False))
    whole = all(len(sides) == len(shape) and min(sides) > 0 for sides in wanted)
    if len(wanted) != 3 or not growing or not whole:
        raise ValueError(
            f"`profile` must be three batch sizes, or three shapes where more than the batch is "
            f"dynamic, from the smallest to the largest. Received: {profile!r} for {shape}"
        )
    optimization = builder.create_optimization_profile()
    optimization.set_shape(image.name, *wanted)
    config.add_optimization_profile(optimization)


@contextlib.contextmanager
def kept_timings(trt, config, path):
    """Uses and keeps measurements of earlier builds. TensorRT-RTX makes none."""
    if path is None or flavour_of(trt) == "TensorRT-RTX":
        yield
        return
    path = Path(path)
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    yield
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(config.get_timing_cache().serialize()))
