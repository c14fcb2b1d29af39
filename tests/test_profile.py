"""Profiles of real runs: shares by stage and by operator, in ONNX Runtime and in OpenVINO."""

import json
from dataclasses import replace

import pytest
from onnx_graphs import conv, write_graph
from tiny_network import onnx_file as tiny_file

import keras_crosscbam as kc
from keras_crosscbam.benchmark.stages import OTHER, STAGES
from keras_crosscbam.cli import main

RUNTIMES = ("onnxruntime", "openvino")
PRODUCTS = {"Conv", "FusedConv", "MatMul", "FusedMatMul", "Convolution", "FullyConnected"}
"""Operators with multiply-accumulates, as either runtime names them."""


@pytest.fixture(scope="module")
def profiles(onnx_file):
    """Of Cross-CBAM-M at 90x120."""
    return {name: kc.profile(onnx_file, name, runs=2, threads=1) for name in RUNTIMES}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_shares_sum_to_one(profiles, runtime):
    found = profiles[runtime]
    for entries in (found.stages(), found.operators()):
        assert sum(entry.share for entry in entries) == pytest.approx(1)
        assert sum(entry.milliseconds for entry in entries) == pytest.approx(found.milliseconds)
        assert sum(entry.nodes for entry in entries) == len(found.nodes)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_node_is_attributed_to_a_stage_of_the_network(profiles, runtime):
    found = profiles[runtime]
    assert {entry.name for entry in found.stages()} == set(STAGES)
    products = [node for node in found.nodes if node.operator in PRODUCTS]
    # 57 convolutions; the runtimes replace none, but OpenVINO has another name for depthwise ones.
    assert len(products) == {"onnxruntime": 57, "openvino": 54}[runtime]
    by_stage = {stage: sum(node.stage == stage for node in products) for stage in STAGES}
    assert by_stage["stem"] == 2
    assert by_stage["se_aspp"] == 5
    assert by_stage["head"] == 1


def test_operators_are_the_slowest_first(profiles):
    times = [entry.milliseconds for entry in profiles["onnxruntime"].operators()]
    assert times == sorted(times, reverse=True)


def test_each_run_counts_once(tmp_path):
    """The times are those of one run, not of a sum over runs, and without the warm-up.

    OpenVINO's profiler counts from the first call on, which takes a hundred times longer here.
    """
    path = tiny_file(tmp_path / "tiny.onnx", output="logits")
    for runtime in RUNTIMES:
        found = kc.profile(path, runtime, runs=50, threads=1)
        assert len({node.name for node in found.nodes}) == len(found.nodes)
        assert found.milliseconds < 5 * found.call_milliseconds


def test_file_of_another_tool_has_its_own_stages(tmp_path):
    """Its nodes and tensors have the names that PyTorch's export gives them."""
    a, b = "/backbone/conv1/Conv_output_0", "/backbone/act/Relu_output_0"
    nodes = [
        conv("image", ["w"], a, name="/backbone/conv1/Conv"),
        ("Relu", [a], [b], {"name": "/backbone/act/Relu"}),
        ("MaxPool", [b], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2], "name": "pool"}),
        conv("c", ["v"], "scores", name="/decoder/conv/Conv"),
    ]
    path = write_graph(
        tmp_path / "n.onnx", nodes, {"w": (8, 3, 3, 3), "v": (4, 8, 1, 1)}, output=(1, 4, 4, 4)
    )
    for runtime in RUNTIMES:
        found = kc.profile(path, runtime, runs=1, threads=1)
        assert {entry.name for entry in found.stages()} == {"backbone", "decoder"}


def test_unnamed_nodes_are_the_stage_other(tmp_path):
    found = kc.profile(tiny_file(tmp_path / "tiny.onnx"), runs=1)
    assert [entry.name for entry in found.stages()] == [OTHER]


def test_other_work_on_the_machine_is_a_warning(profiles):
    found = profiles["onnxruntime"]
    assert "warning: other programs used 1.5 cores" in replace(found, other_cores=1.5).table()
    for quiet in (0.1, None):
        assert "warning" not in replace(found, other_cores=quiet).table()


def test_file_of_any_size(tmp_path):
    path = tiny_file(tmp_path / "free.onnx", size=(None, None), batch=None)
    assert kc.profile(path, runs=1, size=(6, 10), batch=2).shape == (2, 3, 6, 10)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_command_prints_both_tables_and_writes_every_node(tmp_path, capsys, runtime):
    path, out = tiny_file(tmp_path / "tiny.onnx"), tmp_path / "profile.json"
    options = ["--runtime", runtime, "--runs", "3", "--threads", "1", "--json", str(out)]
    assert main(["profile", str(path), *options]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{path} 1x3x16x24, {runtime} (")
    statistic = {"onnxruntime": "medians", "openvino": "means"}[runtime]
    assert f"threads: 1, {statistic} of 3 runs" in text
    assert "\nstage " in text
    assert "\noperator " in text
    entries = json.loads(out.read_text())
    assert sum(node["milliseconds"] for node in entries["nodes"]) == entries["milliseconds"]
    assert entries["operators"][0]["name"].startswith("Conv")


def test_refusals(tmp_path, capsys):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    good = str(tiny_file(tmp_path / "tiny.onnx"))
    for arguments, message in (
        ([str(bad)], "bad.onnx: not a readable ONNX file"),
        ([str(bad), "--runtime", "openvino"], "bad.onnx: not a readable file for OpenVINO"),
        ([str(tmp_path / "none.onnx")], "none.onnx: no such file"),
        ([good, "--runs", "0"], "`runs` must be at least 1. Received: 0"),
        ([good, "--size", "8"], "pass --size HEIGHTxWIDTH"),
    ):
        assert main(["profile", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("crosscbam profile: ")
        assert message in line


def test_runtime_without_a_profiler_is_refused(tmp_path):
    path = tiny_file(tmp_path / "tiny.onnx")
    with pytest.raises(
        ValueError, match=r"`runtime` must be one of .*Received: 'onnxruntime-cuda'"
    ):
        kc.profile(f"onnxruntime-cuda:{path}")
