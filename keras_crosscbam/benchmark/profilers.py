"""Times of the nodes of a network, from the profilers of ONNX Runtime and OpenVINO."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from keras_crosscbam.benchmark.graph_file import load_model
from keras_crosscbam.benchmark.stages import OTHER, assign_stages, first_stage, onnx_stages


@dataclass(frozen=True)
class NodeTime:
    """The time of a node of the graph that a runtime runs, after its own optimizations.

    Attributes:
        name: the runtime's name of the node.
        operator: the runtime's type of the node.
        stage: part of the network, see `keras_crosscbam.benchmark.stages`.
        milliseconds: median over the runs in ONNX Runtime, mean in OpenVINO, whose profiler gives
            means only.
    """

    name: str
    operator: str
    stage: str
    milliseconds: float


@dataclass(frozen=True)
class Times:
    """The result of a profiler.

    Attributes:
        library: name and version of the library.
        statistic: `"medians"` or `"means"`, over the runs, of the nodes' times.
        nodes: a list of `NodeTime`, in the order of execution.
        call_milliseconds: median time of a call by the wall clock, while profiling.
    """

    library: str
    statistic: str
    nodes: list[NodeTime]
    call_milliseconds: float


WARM_UP = 2
"""Number of runs before those that count."""


def onnxruntime_times(path, prepared, threads, runs):
    """Profiles an ONNX file in ONNX Runtime; returns its `Times`.

    Args:
        path: the file.
        prepared: the input array.
        threads: number of threads; None for all cores.
        runs: number of runs.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        # The graph that runs, with the names and the order of its nodes.
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0].name
        call = partial(session.run, None, {image: prepared})
        calls = [_milliseconds(call) for _ in range(WARM_UP + runs)]
        events = json.loads(Path(session.end_profiling()).read_text())
        stages = onnx_stages(load_model(optimized).graph, onnx_stages(load_model(path).graph))
    found = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name, facts = event["name"].removesuffix("_kernel_time"), event["args"]
            found[facts["node_index"], name, facts["op_name"]].append(event["dur"] / 1000)
    nodes = [
        NodeTime(name, operator, stages.get(name, OTHER), median(times[WARM_UP:]))
        for (_, name, operator), times in found.items()
    ]
    library = f"ONNX Runtime {onnxruntime.__version__}"
    return Times(library, "medians", nodes, median(calls[WARM_UP:]))


def openvino_times(path, prepared, threads, runs, precision):
    """Profiles a file in OpenVINO; returns its `Times`.

    Args:
        path, prepared, threads, runs: as in `onnxruntime_times`.
        precision: `"f32"` or `"bf16"`.
    """
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    options["PERF_COUNT"] = True
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    request = compiled.create_infer_request()
    image = {0: prepared}

    def call():
        request.infer(image, share_inputs=True, share_outputs=True)

    for _ in range(WARM_UP):
        call()
    before = _openvino_means(request)
    calls = [_milliseconds(call) for _ in range(runs)]
    after = _openvino_means(request)
    known = onnx_stages(load_model(path).graph) if path.suffix == ".onnx" else {}
    stages = _openvino_stages(compiled.get_runtime_model(), known)
    nodes = []
    for (name, operator), mean in after.items():
        counted = (WARM_UP + runs) * mean - WARM_UP * before.get((name, operator), 0.0)
        nodes.append(NodeTime(name, operator, stages.get(name, OTHER), max(counted / runs, 0.0)))
    return Times(f"OpenVINO {openvino.__version__.split('-')[0]}", "means", nodes, median(calls))


def _milliseconds(call):
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _openvino_means(request):
    """Returns a dict from name and type of a node to its mean milliseconds over all calls so far.

    OpenVINO counts whole microseconds of the mean, so a node that takes less is left out.
    """
    return {
        (entry.node_name, entry.node_type): 1000 * entry.real_time.total_seconds()
        for entry in request.profiling_info
        if entry.real_time
    }


def _openvino_stages(model, known):
    """Returns a dict from the names of the nodes of a compiled model to their stages.

    Args:
        model: the runtime model.
        known: the result of `onnx_stages` for the file.
    """
    named, successors = {}, {}
    for node in model.get_ordered_ops():
        facts, name = node.get_rt_info(), node.get_friendly_name()
        # Empty for nodes that OpenVINO adds, such as changes of the layout.
        key = "originalLayersNames"
        original = facts[key].astype(str).split(",") if key in facts else []
        named[name] = first_stage(original, known)
        successors[name] = [
            target.get_node().get_friendly_name()
            for output in node.outputs()
            for target in output.get_target_inputs()
        ]
    return assign_stages(named, successors)
