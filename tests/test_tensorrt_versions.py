"""One code path over the versions of TensorRT: what it asks of each, by the names each has."""

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tensorrt_library import LACKS, lacking, stand_in

from keras_crosscbam.export.tensorrt.engine import build_engine
from keras_crosscbam.runtime.description import read_beside
from keras_crosscbam.runtime.tensorrt import cuda
from keras_crosscbam.runtime.tensorrt.engine_file import find_tensorrt

VERSIONS = [version for version in LACKS if "RTX" not in version]
# Stands for the libraries under the bindings: gives no builder, or that of TensorRT-RTX.
LIBRARY = r"""
#include <dlfcn.h>
#include <stdlib.h>
static void *find(const char *path, const char *name) {
    return getenv(path) ? dlsym(dlopen(getenv(path), RTLD_NOW | RTLD_GLOBAL), name) : 0;
}
void *createInferBuilder_INTERNAL(void *logger, int version) {
    void *(*create)(void *, int) = find("RTX", "createInferBuilder_INTERNAL");
    return create ? create(logger, atoi(getenv("RTX_VERSION"))) : 0;
}
void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version) {
    void *(*create)(void *, void *, int) = find("RTX_PARSER", "createNvOnnxParser_INTERNAL");
    return create ? create(network, logger, version) : 0;
}
void *getPluginRegistry(void) {
    void *(*get)(void) = find("RTX", "getPluginRegistry");
    return get ? get() : 0;
}
#define NOTHING(name) void *name(void) { return 0; }
NOTHING(createInferRefitter_INTERNAL) NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL) NOTHING(getBuilderPluginRegistry)
NOTHING(getNvOnnxParserVersion) NOTHING(initLibNvInferPlugins)
NOTHING(_ZN14nvcaffeparser117createCaffeParserEv)
NOTHING(_ZN14nvcaffeparser123shutdownProtobufLibraryEv)
NOTHING(_ZN11nvuffparser15createUffParserEv)
NOTHING(_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi)
"""


@pytest.fixture
def graph(tmp_path):
    """A convolution, as an ONNX file; the library that parses it is a stand-in."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, (11, 3, 1, 1), [0.1] * 33)
    node = helper.make_node("Conv", ["image", "w"], ["logits"], name="pool")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, 64, 96))
        for name, channels in (("image", 3), ("logits", 11))
    ]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def card(monkeypatch):
    class Connection:
        device = cuda.Device("GTX 1080 Ti", (6, 1), 2**33)

        def close(self):
            pass

    monkeypatch.setattr(cuda, "connect", Connection)


def float_types(data):
    return {tensor.data_type for tensor in onnx.load_from_string(data).graph.initializer}


@pytest.mark.parametrize("version", VERSIONS)
def test_half_precision_by_flag_or_in_the_graph(graph, card, version):
    trt = stand_in(version)
    report = build_engine(graph, graph.with_suffix(".engine"), "fp16", trt=trt)
    builder, config = trt.made["Builder"], trt.made["IBuilderConfig"]
    (parsed,) = trt.made["OnnxParser"].all_calls("parse")[0]
    if version.startswith("11"):
        assert builder.all_calls("create_network") == [(0,)]
        assert config.all_calls("set_flag") == []
        assert float_types(parsed) == {TensorProto.FLOAT16}
    else:
        explicit = 1 << trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
        assert builder.all_calls("create_network") == [(explicit,)]
        assert config.all_calls("set_flag") == [(trt.BuilderFlag.FP16,)]
        assert float_types(parsed) == {TensorProto.FLOAT}
    assert config.all_calls("clear_flag") == [(trt.BuilderFlag.TF32,)]
    assert config.all_calls("profiling_verbosity") == [("detailed",)]
    assert (report.precisions, report.read_from) == ({"FP16": 3}, "engine")
    assert "for GTX 1080 Ti (compute capability 6.1)" in str(report)
    entry = read_beside(report.path).extra["engine"]
    assert (entry["gpu"], entry["compute_capability"]) == ("GTX 1080 Ti", [6, 1])
    assert entry["version"] == version


@pytest.mark.parametrize("version", VERSIONS)
def test_precision_that_no_layer_took(graph, card, version):
    """Asked for FP32, the stand-in's engine says that it computes in FP16."""
    report = build_engine(graph, graph.with_suffix(".engine"), "fp32", trt=stand_in(version))
    assert report.missing == ["FP32"]
    assert "No layer computes in FP32." in str(report)


@pytest.mark.parametrize("version", VERSIONS)
def test_settings_of_the_builder(graph, card, version, tmp_path):
    trt, cache = stand_in(version, shape=(-1, 3, 64, 96)), tmp_path / "caches" / "timing"
    settings = {"workspace_gib": 1.5, "builder_optimization_level": 4, "timing_cache": cache}
    for _ in range(2):
        build_engine(graph, tmp_path / "m.engine", "tf32", profile=(1, 2, 4), trt=trt, **settings)
    config = trt.made["IBuilderConfig"]
    assert config.all_calls("set_memory_pool_limit") == [("workspace", 3 * 2**29)]
    assert config.all_calls("builder_optimization_level") == [(4,)]
    assert config.all_calls("clear_flag") == []
    # The second build began with what the first one measured.
    assert cache.read_bytes() == b"measured"
    assert config.all_calls("set_timing_cache") == [(b"measured", False)]
    (profile,) = trt.made["IOptimizationProfile"].all_calls("set_shape")
    assert profile == ("image", (1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96))


@pytest.mark.parametrize("version", VERSIONS)
def test_nodes_are_named_in_every_version(graph, card, version):
    operator = "Conv" if version == "8.6.1" else "Wobble"
    with pytest.raises(ValueError, match=f"cannot parse it: {operator} 'pool': not known"):
        build_engine(graph, "unused.engine", trt=stand_in(version, parses=False))


def test_a_card_without_fast_half_precision(graph, card):
    with pytest.raises(RuntimeError, match=r"GTX 1080 Ti \(.*\) has no fast FP16"):
        build_engine(graph, "unused.engine", "fp16", trt=stand_in("8.6.1", fast=False))


def test_a_card_that_this_version_no_longer_knows(graph, card):
    trt = stand_in("10.16.1.11")

    def builder(log):
        log.log(log.Severity.ERROR, "SM 61 is not\nsupported")
        raise TypeError("factory function returned nullptr")

    trt.Builder = builder
    with pytest.raises(
        RuntimeError, match=r"SM 61 is not supported\. .* may not support the GPU.* Pascal"
    ):
        build_engine(graph, "unused.engine", trt=trt)


@pytest.mark.parametrize("version", VERSIONS)
def test_only_rtx_builds_for_a_card_elsewhere(graph, card, version):
    with pytest.raises(ValueError, match="builds only for the GPU it runs on"):
        build_engine(graph, "unused.engine", compute_capability=(8, 6), trt=stand_in(version))


def test_tensorrt_needs_a_driver(graph):
    try:
        cuda.connect().close()
    except RuntimeError:
        with pytest.raises(RuntimeError, match="no NVIDIA GPU"):
            build_engine(graph, "unused.engine", trt=stand_in("10.16.1.11"))
    else:
        pytest.skip("there is a GPU")


def test_the_names_of_rtx():
    try:
        trt = find_tensorrt("TensorRT-RTX")
    except ImportError as error:
        pytest.skip(str(error))
    assert lacking(trt) == LACKS["TensorRT-RTX 1.7.1.116"]


def bindings():
    """Folders `pip install --no-deps --target FOLDER/VERSION tensorrt-cu13-bindings==...` made."""
    folder = os.environ.get("CROSSCBAM_TENSORRT_BINDINGS")
    return sorted(Path(folder).iterdir()) if folder else []


def run_over_library(tmp_path, folder, code, **environment):
    """Runs Python with real bindings over a library made of `LIBRARY`."""
    major = folder.name.split(".")[0]
    (tmp_path / "library.c").write_text(LIBRARY)
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers"):
        library = f"lib{name}.so.{major}"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "library.c", "-o", library]
        subprocess.run([*command, "-ldl"], cwd=tmp_path, check=True)
    path = os.pathsep.join(map(str, (folder, Path(__file__).parent, Path(__file__).parents[1])))
    environment |= {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": path}
    command = [sys.executable, "-c", f"import tensorrt_bindings as trt\n{code}"]
    run = subprocess.run(
        command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.skipif(not bindings(), reason="CROSSCBAM_TENSORRT_BINDINGS names no folder")
@pytest.mark.parametrize("folder", bindings(), ids=lambda folder: folder.name)
def test_the_names_are_those_of_the_bindings(tmp_path, folder):
    code = "from tensorrt_library import lacking; print(trt.__version__, *sorted(lacking(trt)))"
    (line,) = run_over_library(tmp_path, folder, code)
    version, *names = line.split()
    assert set(names) == LACKS[version]


BUILD = """
from keras_crosscbam.export.tensorrt.builder import add_profile, make_config, make_network
from keras_crosscbam.export.tensorrt.builder import read_graph
from keras_crosscbam.export.tensorrt.precision import network_precisions
log = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(log)
for precision in ("fp32", "fp16"):
    model = read_graph("m.onnx", precision)
    network = make_network(trt, builder, model, precision, log, "m.onnx")
    config = make_config(trt, builder, precision, 1, 2)
    add_profile(builder, config, network, None)
    built = builder.build_serialized_network(network, config)
    print(bytes(built)[1:4].decode(), *network_precisions(network, tf32=False))
"""


@pytest.mark.skipif(not bindings(), reason="CROSSCBAM_TENSORRT_BINDINGS names no folder")
@pytest.mark.parametrize(
    "folder", [f for f in bindings() if f.name.startswith("11")], ids=lambda folder: folder.name
)
def test_bindings_of_version_11_build_over_rtx(tmp_path, folder, graph):
    """Their classes are laid out alike, so NVIDIA's bindings of 11 drive the builder of RTX."""
    package = pytest.importorskip("onnxruntime_ep_nv_tensorrt_rtx")
    libraries = Path(package.__file__).parent
    rtx, parser = (
        max(libraries.glob(f"libtensorrt_{name}rtx.so.*")) for name in ("", "onnxparser_")
    )
    major, minor, patch = map(int, re.findall(r"\d+", rtx.name))
    version = str(major * 10000 + minor * 100 + patch)
    lines = run_over_library(
        tmp_path, folder, BUILD, RTX=str(rtx), RTX_PARSER=str(parser), RTX_VERSION=version
    )
    assert lines[-2:] == ["trt FP32", "trt FP16"]
