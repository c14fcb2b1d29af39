"""Speed: what is timed, and real benchmarks of tiny networks."""

import csv
import doctest
import hashlib
import importlib
import io
import itertools
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from counting_runtime import Counting, OnDevice
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from keras_crosscbam import benchmark as package
from keras_crosscbam import runtime
from keras_crosscbam.benchmark import PROTOCOLS, SCOPES, Report, benchmark
from keras_crosscbam.benchmark.contender import Contender, Task
from keras_crosscbam.benchmark.statistics import Interval, round_ratios
from keras_crosscbam.benchmark.timing import stopwatch
from keras_crosscbam.benchmark.worker_process import Worker
from keras_crosscbam.images import STREET, read_image

MODULES = [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


# --- contenders


@pytest.fixture
def image(tmp_path, rng):
    path = tmp_path / "image.png"
    Image.fromarray(rng.integers(0, 256, (10, 20, 3), np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_runs_the_network_once_a_call(image, scope):
    run = Counting()
    contender = Contender(run, Task(image, batch=3))
    facts = contender.load()
    assert (facts["size"], facts["batch"], facts["output"]) == ([8, 16], 3, "logits")
    run.runs = 0
    warm_up = contender.warm_up(scope, turn_seconds=0.001)
    assert warm_up["calls"] == run.runs >= 10
    assert 3 <= warm_up["turn_calls"] <= 500
    run.runs = 0
    assert len(contender.turn(scope, 4)) == 4
    assert run.runs == 5  # one that does not count comes first
    assert run.last.shape == ((1 if scope == "file" else 3), 3, 8, 16)


def test_network_alone_is_timed_by_the_device_where_it_can_be():
    run, images = OnDevice(), np.zeros((2, 8, 16, 3), np.uint8)
    assert stopwatch("network", run, images, STREET)(7) == [1 / 256] * 7
    assert run.asked == (7, 2, 0)
    assert max(stopwatch("copies", run, images, STREET)(2)) != 1 / 256


def test_unknown_scope_is_refused():
    with pytest.raises(ValueError, match=r"among \('network', 'copies', 'file'\). Received: 'all'"):
        stopwatch("all", Counting(), np.zeros((1, 8, 16, 3), np.uint8), STREET)


def test_threads_reach_engines_that_take_them(tiny_files, image):
    contender = Contender(f"onnxruntime:{tiny_files['a']}", Task(image, threads=1))
    assert contender.load()["classes"] == 5
    options = contender._runtime.session.get_session_options()
    assert options.intra_op_num_threads == 1


# --- benchmarks of files


def tiny_network(path, size=(32, 48), channels=4, classes=5):
    """Two convolutions with random kernels."""
    rng = np.random.default_rng(channels)
    kernels = {"k": (channels, 3, 3, 3), "c": (classes, channels, 1, 1)}
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype("float32"), name)
        for name, shape in kernels.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "k"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["features", "c"], ["logits"]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, depth, *size])
        for name, depth in (("image", 3), ("logits", classes))
    ]
    graph = helper.make_graph(nodes, "tiny", tensors[:1], tensors[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "damaged.onnx").write_bytes(b"no network")
    return {
        "a": tiny_network(folder / "a.onnx"),
        "b": tiny_network(folder / "b.onnx", channels=16),
        "flat": tiny_network(folder / "flat.onnx", size=(16, 48)),
        "damaged": folder / "damaged.onnx",
    }


@pytest.fixture(scope="module")
def report(tiny_files):
    """ONNX Runtime and OpenVINO, each in its process, against one peer that runs and one not."""
    pytest.importorskip("openvino")
    return benchmark(
        f"openvino:{tiny_files['a']}",
        against=[tiny_files["damaged"], tiny_files["b"]],
        rounds=3,
        threads=1,
        turn_seconds=0.005,
        paper_protocol=True,
        protocol_seconds=0.05,
    )


NAMES = ["openvino:a.onnx", "b.onnx"]


def test_benchmark_measures_all_in_all_scopes(report, tiny_files):
    assert list(report.contenders) == NAMES
    assert report.reference == "b.onnx"  # the first peer that runs
    assert list(report.seconds) == list(SCOPES)
    for scope, contender in itertools.product(SCOPES, NAMES):
        turns = report.seconds[scope][contender]
        calls = report.contenders[contender]["warm_up"][scope]["turn_calls"]
        assert [len(turn) for turn in turns] == [calls] * 3
        assert min(itertools.chain(*turns)) > 0
    assert report.setting["isolated"]
    assert len(report.setting["affinity"]) == report.setting["threads"] == 1
    assert report.setting["image_size"] == list(read_image(STREET).shape[:2])
    assert report.conditions["other_cores"] >= 0


def test_contenders_say_what_they_are(report, tiny_files):
    facts = report.contenders
    assert [facts[name]["runtime"] for name in NAMES] == ["OpenVINORuntime", "OnnxRuntime"]
    digest = hashlib.sha256(tiny_files["a"].read_bytes()).hexdigest()
    assert facts["openvino:a.onnx"]["sha256"] == digest
    assert facts["b.onnx"]["file_bytes"] == tiny_files["b"].stat().st_size
    assert "onnxruntime" in facts["b.onnx"]["versions"]
    assert "openvino" not in facts["b.onnx"]["versions"]
    for name in NAMES:
        assert facts[name]["size"] == [32, 48]
        assert facts[name]["usage"]["memory_peak"] > 0
        assert facts[name]["usage"]["cpu_seconds"] > 0


def test_peer_that_cannot_be_read_is_left_out_and_named(report):
    assert list(report.left_out) == ["damaged.onnx"]
    assert "damaged.onnx: " in report.left_out["damaged.onnx"]
    assert f"left out: damaged.onnx: {report.left_out['damaged.onnx']}" in report.table()


def test_results_follow_from_the_seconds(report):
    results = {(result.scope, result.contender): result for result in report.results()}
    assert len(results) == 6
    for (scope, contender), result in results.items():
        turns, peer = report.seconds[scope][contender], report.seconds[scope]["b.onnx"]
        calls = sorted(itertools.chain(*turns))
        assert result.calls == len(calls)
        assert calls[0] <= result.p50 <= result.p90 <= result.p99 <= calls[-1]
        assert result.fps == pytest.approx(1 / result.p50)
        ratios = sorted(np.median(t) / np.median(p) for t, p in zip(turns, peer, strict=True))
        assert result.ratio.median == pytest.approx(ratios[1])
        assert ratios[0] <= result.ratio.low <= result.ratio.high <= ratios[2]
    assert results["file", "b.onnx"].ratio == Interval(1.0, 1.0, 1.0)
    ranked = [result.fps for result in report.results() if result.scope == "copies"]
    assert ranked == sorted(ranked, reverse=True)


def test_json_brings_the_report_back(report):
    text = report.to_json()
    assert Report.from_json(text) == report
    entries = json.loads(text)
    assert len(entries["results"]) == 6
    assert entries["results"][0]["ratio"]["median"] == report.results()[0].ratio.median
    assert entries["warnings"] == report.warnings()
    with pytest.raises(ValueError, match="JSON of a benchmark's report"):
        Report.from_json("{}")


def test_csv_holds_the_same_figures(report):
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    measured = [row for row in rows if row["scope"] in SCOPES]
    for row, result in zip(measured, report.results(), strict=True):
        assert (row["scope"], row["contender"]) == (result.scope, result.contender)
        assert float(row["p99_ms"]) == pytest.approx(1000 * result.p99)
        assert float(row["ratio_high"]) == pytest.approx(result.ratio.high)
        assert (row["height"], row["width"], row["reference"]) == ("32", "48", "b.onnx")
    loops = [row for row in rows if row["scope"].startswith("paper:")]
    assert len(rows) == len(measured) + len(loops)
    assert [row["scope"] for row in loops[::2]] == [f"paper:{name}" for name in PROTOCOLS]
    assert [float(row["fps"]) for row in loops] == [loop["fps"] for loop in report.published]


def test_table_states_scopes_conditions_and_warnings(report):
    text = report.table()
    for sentence in SCOPES.values():
        assert sentence in text
    assert report.machine["cpu"] in text
    assert "3 rounds, each contender in a separate process, threads: 1; image street.jpg" in text
    assert "time as a multiple of b.onnx (95 %)" in text
    for warning in report.warnings():
        assert f"warning: {warning}" in text
    assert "pp-liteseg" in text
    assert " nan" not in text


def state_of(worker):
    """T for stopped, by proc(5); the signal may still be under way."""
    for _ in range(100):
        letter = Path(f"/proc/{worker._process.pid}/stat").read_text().split(") ")[1][0]
        if letter == "T":
            break
        time.sleep(0.02)
    return letter


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_worker_passes_failures_on_and_survives_them(tiny_files, image):
    worker, task = Worker(tiny_files["damaged"], Task(image)), Task(image)
    try:
        with pytest.raises(ValueError, match=r"damaged\.onnx") as far:
            worker.load()
        with pytest.raises(ValueError, match=r"damaged\.onnx") as near:
            Contender(tiny_files["damaged"], task).load()
        assert str(far.value) == str(near.value)
        worker._model = str(tiny_files["a"])
        assert worker.load()["size"] == [32, 48]
        assert worker.warm_up("network", 0.001)["calls"] >= 10
        assert len(worker.turn("network", 3)) == 3
        assert state_of(worker) == "T"
        worker._process.kill()
        with pytest.raises(RuntimeError, match=r"a.onnx: its process ended by SIGKILL"):
            worker.turn("network", 3)
    finally:
        worker.close()
    worker.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux is asked")
def test_stopped_worker_ends_with_its_parent(tiny_files, image):
    program = (
        "import os, signal, sys\n"
        "from keras_crosscbam.benchmark.contender import Task\n"
        "from keras_crosscbam.benchmark.worker_process import Worker\n"
        "worker = Worker(sys.argv[1], Task(sys.argv[2]))\n"
        "worker.load()\n"
        "print(worker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    command = [sys.executable, "-c", program, tiny_files["a"], image]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    worker = Path(f"/proc/{ended.stdout.strip()}")
    for _ in range(100):
        if not worker.exists():
            break
        time.sleep(0.02)
    # Nobody may be there to collect it; then it stays as a zombie.
    assert not worker.exists() or ") Z" in (worker / "stat").read_text()


def test_objects_compete_in_this_process(tiny_files, small_network, image):
    candidates = [runtime.load(tiny_files["a"]), small_network]
    report = benchmark(
        candidates, rounds=2, size=(32, 48), image=image, scopes="copies", turn_seconds=0.001
    )
    assert report.reference == next(iter(report.contenders))
    assert not report.setting["isolated"]
    first, second = report.contenders.values()
    assert "usage" not in first
    assert (second["size"], second["classes"], second["sha256"]) == ([32, 48], 11, None)
    warnings = " ".join(report.warnings())
    assert "contenders ran in one process" in warnings
    assert "different numbers of classes ([5, 11])" in warnings
    assert Report.from_json(report.to_json()) == report


# --- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": 1}, "`rounds` must be at least 2. Received: 1"),
        ({"batch": 0}, "`batch` must be at least 1. Received: 0"),
        ({"scopes": ["networks"]}, "`scopes` must be among"),
        ({"scopes": []}, "`scopes` must be among"),
        ({"size": 512}, r"`size` must be \(height, width\). Received: 512"),
        ({"candidates": []}, "at least one candidate"),
        ({"image": "missing.png"}, "missing.png: no such file"),
        ({"threads": 999}, "`threads` must be between 1"),
        ({"isolate": True}, "an object cannot be sent to another process. Received: <"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        benchmark(**{"candidates": [Counting()], **arguments})


def test_sizes_must_agree_unless_it_is_asked_otherwise(tiny_files, image):
    models = [tiny_files["a"], tiny_files["flat"]]
    settings = {"isolate": False, "rounds": 2, "image": image, "turn_seconds": 0.001}
    with pytest.raises(ValueError, match=r"a.onnx 1x32x48, flat.onnx 1x16x48. Pass mixed_sizes"):
        benchmark(models, scopes="network", **settings)
    report = benchmark(models, scopes="network", mixed_sizes=True, **settings)
    assert any("different image sizes" in warning for warning in report.warnings())


def test_ratios_are_of_the_time_per_image(image):
    one, four = Counting(batch=1), Counting(batch=4)
    settings = {"rounds": 2, "image": image, "turn_seconds": 0.001, "mixed_sizes": True}
    report = benchmark([four], [one], scopes=["network", "file"], **settings)
    per_call = {
        scope: round_ratios(*(report.seconds[scope][name] for name in ("counting", "counting #2")))
        for scope in report.seconds
    }
    ratios = {r.scope: r.ratio.median for r in report.results() if r.contender == "counting"}
    assert ratios["network"] == pytest.approx(np.median(per_call["network"]) / 4)
    assert ratios["file"] == pytest.approx(np.median(per_call["file"]))


def test_candidate_that_fails_is_no_silent_loss(tiny_files, image):
    for models in ([tiny_files["damaged"]], [Counting(), "missing.onnx"]):
        with pytest.raises(ValueError, match=r"damaged|missing.onnx: no such file"):
            benchmark(models, isolate=False, image=image)
    with pytest.raises(
        ValueError, match=r"peer that can be run. Received: nothing.onnx: nothing.onnx"
    ):
        benchmark(Counting(), against="nothing.onnx", isolate=False, image=image)


def test_peer_that_fails_at_its_first_run_is_left_out(image):
    class Refusing(Counting):
        def run(self, prepared):
            raise RuntimeError("out of memory")

    report = benchmark(Counting(), [Refusing(), Counting()], rounds=2, image=image, scopes="copies")
    assert list(report.left_out) == ["counting #2"]
    assert "out of memory" in report.left_out["counting #2"]
    assert report.reference == "counting #3"
