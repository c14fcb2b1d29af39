"""A stand-in for TensorRT, for what depends on its version alone: which names there are.

The names were recorded from NVIDIA's own bindings, imported over libraries that do nothing
(`test_the_names_are_those_of_the_bindings` does so again). Whether a graph can be built is tested
with the real TensorRT-RTX, never here.
"""

import json
import types
from types import SimpleNamespace

USED = """
    Builder: build_serialized_network create_builder_config create_network
        create_optimization_profile platform_has_fast_fp16 platform_has_fast_int8
    BuilderFlag: FP16 INT8 TF32
    ComputeCapability: SM86
    EngineInspector: get_layer_information
    IBuilderConfig: add_optimization_profile builder_optimization_level clear_flag
        create_timing_cache get_timing_cache num_compute_capabilities profiling_verbosity
        set_compute_capability set_flag set_memory_pool_limit set_timing_cache
    ICudaEngine: create_engine_inspector create_execution_context get_tensor_dtype
        get_tensor_mode get_tensor_name get_tensor_profile_shape get_tensor_shape
        num_io_tensors num_layers
    IExecutionContext: execute_async_v3 get_tensor_shape set_input_shape set_tensor_address
    ILayer: get_input get_output type
    ILogger: Severity
    INetworkDefinition: get_input get_layer get_output num_layers
    IOptimizationProfile: set_shape
    ITensor: dtype name shape
    ITimingCache: serialize
    LayerInformationFormat: JSON
    MemoryPoolType: WORKSPACE
    NetworkDefinitionCreationFlag: EXPLICIT_BATCH
    OnnxParser: get_error num_errors parse
    ParserError: desc node node_name node_operator
    ProfilingVerbosity: DETAILED
    Runtime: deserialize_cuda_engine
    TensorIOMode: INPUT
"""
"""Every name of TensorRT that the package uses, by class."""

_AIMS = {
    "ComputeCapability.SM86",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}
_WEAK_TYPES = {
    "Builder.platform_has_fast_fp16",
    "Builder.platform_has_fast_int8",
    "BuilderFlag.FP16",
    "BuilderFlag.INT8",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
}
LACKS = {
    "8.6.1": _AIMS | {"ParserError.node_name", "ParserError.node_operator"},
    "10.0.1": _AIMS,
    "10.16.1.11": _AIMS,
    "11.4.0.106": _AIMS | _WEAK_TYPES,
    "TensorRT-RTX 1.7.1.116": _WEAK_TYPES,
}
"""Which of them a version does not have."""


def used_names():
    """`"BuilderFlag.FP16"` and so on."""
    for word in USED.split():
        if word.endswith(":"):
            owner = word
        else:
            yield owner.replace(":", ".") + word


def lacking(trt):
    """Which of the names a real module does not have."""
    owners = {name: getattr(trt, name.split(".")[0], None) for name in used_names()}
    return {name for name, owner in owners.items() if not hasattr(owner, name.split(".")[1])}


class Thing:
    """An object of a class of TensorRT: has the names of the class and keeps what is called."""

    def __init__(self, kind, lacks, **answers):
        names = {name.split(".")[1] for name in used_names() if name.startswith(f"{kind}.")}
        names -= {name.split(".")[1] for name in lacks if name.startswith(f"{kind}.")}
        self.__dict__.update(names=names, answers=answers, calls=[], kind=kind)

    def __getattr__(self, name):
        if name not in self.names:
            raise AttributeError(f"{self.kind} has no {name}")
        answer = self.answers.get(name)
        if name in self.answers and not callable(answer):
            return answer

        def call(*arguments, **named):
            self.calls.append((name, *arguments, *named.values()))
            return answer(*arguments) if answer else None

        return call

    def __setattr__(self, name, value):
        assert name in self.names, f"{self.kind} has no {name}"
        self.calls.append((name, value))

    def all_calls(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


def stand_in(version, shape=(1, 3, 64, 96), fast=True, parses=True):
    """A module with the names of a version of TensorRT.

    What was asked of the builder, its configuration and so on stands in `calls` of `made`, by
    class.
    """
    lacks = LACKS[version]
    trt = types.ModuleType("tensorrt")
    trt.__version__, trt.made = version, {}
    for kind in ("BuilderFlag", "ComputeCapability", "NetworkDefinitionCreationFlag"):
        names = [name.split(".")[1] for name in used_names() if name.startswith(f"{kind}.")]
        values = {name: i for i, name in enumerate(names) if f"{kind}.{name}" not in lacks}
        if values or kind != "ComputeCapability":
            setattr(trt, kind, SimpleNamespace(**values))
    trt.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    trt.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    trt.LayerInformationFormat = SimpleNamespace(JSON="json")
    trt.ILogger = _Logger

    def make(kind, **answers):
        trt.made[kind] = Thing(kind, lacks, **answers)
        return trt.made[kind]

    def tensor(name, shape):
        return SimpleNamespace(name=name, shape=shape, dtype=SimpleNamespace(name="FLOAT"))

    def builder(log):
        cache = make("ITimingCache", serialize=lambda: b"measured")
        config = make("IBuilderConfig", create_timing_cache=lambda saved: saved)
        config.answers["get_timing_cache"] = lambda: cache
        scores = tensor("logits", (shape[0], 11, *shape[2:]))
        ends = {"get_input": lambda i: tensor("image", shape), "get_output": lambda i: scores}
        network = make("INetworkDefinition", **ends)
        return make(
            "Builder",
            create_builder_config=lambda: config,
            create_network=lambda flags: network,
            create_optimization_profile=lambda: make("IOptimizationProfile"),
            build_serialized_network=lambda network, config: b"ftrt" + bytes(60),
            platform_has_fast_fp16=fast,
            platform_has_fast_int8=fast,
        )

    def parser(network, log):
        named = {"node_name": lambda: "pool", "node_operator": lambda: "Wobble"}
        error = Thing("ParserError", lacks, desc=lambda: "not known", node=lambda: 0, **named)
        return make(
            "OnnxParser", parse=lambda data: parses, num_errors=1, get_error=lambda i: error
        )

    def runtime(log):
        layer = json.dumps({"LayerType": "conv", "Inputs": [{"Format/Datatype": "Half"}]})
        inspector = make("EngineInspector", get_layer_information=lambda i, form: layer)
        engine = make("ICudaEngine", num_layers=3, create_engine_inspector=lambda: inspector)
        return make("Runtime", deserialize_cuda_engine=lambda data: engine)

    trt.Builder, trt.OnnxParser, trt.Runtime = builder, parser, runtime
    return trt


class _Logger:
    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1)
