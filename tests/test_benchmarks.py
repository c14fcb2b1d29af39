"""The benchmark's PyTorch network is the same network, and the benchmark runs and reports."""

import dataclasses
import doctest
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_reference import randomize

import keras_crosscbam

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
contenders = importlib.import_module("contenders")
torch_cross_cbam = importlib.import_module("torch_cross_cbam")
training_speed = importlib.import_module("training_speed")


@pytest.mark.parametrize("module", [contenders, torch_cross_cbam])
def test_examples(module):
    results = doctest.testmod(module)
    assert (results.failed, results.attempted > 0) == (0, True)


# --- the network in PyTorch


@pytest.mark.parametrize(
    ("backbone", "aux_head", "parameters"),
    [
        ("stdc1", False, 11_616_895),
        ("stdc1", True, 12_209_426),
        ("stdc2", False, 15_647_359),
        ("stdc2", True, 16_239_890),
    ],
)
def test_parameter_counts(backbone, aux_head, parameters):
    network = torch_cross_cbam.CrossCBAM(backbone, num_classes=19, aux_head=aux_head)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("backbone", ["stdc1", pytest.param("stdc2", marks=pytest.mark.slow)])
def test_forward_is_that_of_keras(rng, backbone):
    model = keras_crosscbam.CrossCBAM(
        backbone, input_shape=(None, None, 3), num_classes=5, aux_head=True
    )
    randomize(model, rng)
    network = torch_cross_cbam.CrossCBAM(backbone, num_classes=5, aux_head=True)
    torch_cross_cbam.load_keras(network, model)
    images = rng.uniform(0, 255, (2, 65, 97, 3)).astype("float32")
    expected = model(images, training=False)
    # In float64, so that what differs is Keras' rounding alone.
    network = network.double().eval().to(memory_format=torch.channels_last)
    with torch.no_grad():
        logits = network(torch.from_numpy(images).double().permute(0, 3, 1, 2))
    for head in ("main", "aux"):
        one, other = logits[head].permute(0, 2, 3, 1).numpy(), np.asarray(expected[head])
        assert one.shape == other.shape == (2, 65, 97, 5)
        assert other.std() > 0.1
        assert np.abs(one - other).max() < 1e-4


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"num_classes": 4}, "same shapes. Received: classifier.weight"),
        ({"num_classes": 5, "aux_head": True}, "same layers.*such as aux_classifier/bias"),
        ({"backbone": "stdc2", "num_classes": 5}, "same layers.*such as stage3_block3"),
    ],
)
def test_weights_of_another_network_are_refused(other, message):
    model = keras_crosscbam.CrossCBAM(num_classes=5, input_shape=(None, None, 3))
    network = torch_cross_cbam.CrossCBAM(**other)
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=message):
        torch_cross_cbam.load_keras(network, model)
    assert all(map(torch.equal, before, network.parameters()))


# --- the contenders


def test_both_sides_take_the_same_training_steps():
    """Same weights, no dropout: the losses of successive steps agree, so the work is the same."""
    batch = contenders.random_batch((64, 96), batch=2)
    sides = [
        contenders.CONTENDERS[name].prepare("stdc1", *batch, dropout=0.0)
        for name in ("tensorflow-float32", "pytorch-float32-channels_last")
    ]
    (model, keras_run, _), (network, torch_run, _) = sides
    torch_cross_cbam.load_keras(network, model)
    pairs = np.array([(keras_run(1), torch_run(1)) for _ in range(3)])
    assert np.ptp(pairs[:, 0]) > 0.1
    np.testing.assert_allclose(pairs[0, 0], pairs[0, 1], rtol=1e-5)
    np.testing.assert_allclose(pairs[:, 0], pairs[:, 1], rtol=2e-3)


def test_a_batch_has_pixels_labels_and_ignored_ones():
    pixels, labels = contenders.random_batch((32, 48), batch=3)
    assert (pixels.shape, pixels.dtype) == ((3, 32, 48, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((3, 32, 48), np.uint8)
    assert 200 < pixels.max() <= 255
    assert set(np.unique(labels)) == {*range(contenders.CLASSES), contenders.IGNORE}


def test_a_contender_that_fails_is_left_out(monkeypatch):
    class FakeWorker:
        def __init__(self, name, args):
            self.name = name

        def wait_until_ready(self):
            if self.name == "jax-float32":
                raise training_speed.WorkerError("jax-float32 ended with status 1")

        def run(self, steps):
            return 1.0, 2.0

        def close(self):
            self.name = None

    monkeypatch.setattr(training_speed, "Worker", FakeWorker)
    args = training_speed.parse_arguments(["--contenders", "jax-float32,pytorch-float32"])
    workers, failed = training_speed.start(args)
    assert failed == {"jax-float32": "jax-float32 ended with status 1"}
    assert list(workers) == ["pytorch-float32"]


def test_names_are_the_contenders():
    assert {
        "tensorflow-float32",
        "tensorflow-bfloat16-xla",
        "jax-float32",
        "torch-bfloat16",
        "pytorch-float32",
        "pytorch-bfloat16-channels_last",
        "pytorch-float32-channels_last-compiled",
    } < set(contenders.CONTENDERS)
    settings = {dataclasses.astuple(c) for c in contenders.CONTENDERS.values()}
    assert len(settings) == len(contenders.CONTENDERS)


# --- the report

SECONDS = {
    "tensorflow-float32": [2.0, 4.0, 1.0],
    "pytorch-float32": [4.0, 4.0, 4.0],
    "pytorch-bfloat16": [5.0, 2.0, 8.0],
}


def test_the_peer_is_the_fastest_plain_pytorch():
    assert training_speed.choose_peer(SECONDS) == "pytorch-float32"
    assert training_speed.choose_peer({"jax-float32": [2.0], "torch-float32": [1.0]}) == (
        "torch-float32"
    )


def test_ratios_are_paired_by_round():
    summary = training_speed.summarize(SECONDS, images=8, peer="pytorch-bfloat16")
    # Rounds: 5 / 2, 2 / 4 and 8 / 1 times as fast; the ratio of the medians would be 5 / 2 too,
    # but not for the other one: 5 / 4, 2 / 4 and 8 / 4.
    assert summary["tensorflow-float32"] == {
        "images_per_second": {"median": 4.0, "min": 2.0, "max": 8.0},
        "ratio": {"median": 2.5, "lower_quartile": 1.5, "upper_quartile": 5.25},
    }
    assert summary["pytorch-float32"]["ratio"]["lower_quartile"] == 0.875
    assert set(summary["pytorch-bfloat16"]["ratio"].values()) == {1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--contenders", "jax-float16"], "--contenders must be among"),
        (["--contenders", "jax-float32", "--peer", "torch-float32"], "--peer must be one of"),
        (["--rounds", "1"], "--rounds must be at least 2. Received: 1"),
    ],
)
def test_bad_options_are_refused(capsys, options, message):
    with pytest.raises(SystemExit):
        training_speed.parse_arguments(options)
    assert message in capsys.readouterr().err


def run_benchmark(*options):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "training_speed.py", *map(str, options)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "names",
    [
        ["pytorch-float32"],
        pytest.param(["tensorflow-float32", "pytorch-float32"], marks=pytest.mark.slow),
    ],
)
def test_program_reports_what_it_measured(tmp_path, names):
    options = ["--size", "64x64", "--batch", 2, "--rounds", 2, "--steps", 1, "--warmup", 1]
    options += ["--contenders", ",".join(names)]
    ended = run_benchmark(*options, "--json", tmp_path / "speed.json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "speed.json").read_text())
    assert report["setting"]["size"] == "64x64"
    assert report["machine"]["cpu"] in ended.stdout
    assert (report["peer"], report["failed"]) == ("pytorch-float32", {})
    assert list(report["contenders"]) == names
    for name, result in report["contenders"].items():
        assert name in ended.stdout
        assert math.isfinite(result["loss"])
        assert len(result["seconds"]) == 2
        assert all(seconds > 0 for seconds in result["seconds"])
        fastest = max(2 / seconds for seconds in result["seconds"])
        assert result["images_per_second"]["max"] == pytest.approx(fastest)
    assert report["contenders"]["pytorch-float32"]["ratio"]["median"] == 1.0
    assert set(report["contenders"]["pytorch-float32"]["versions"]) == {"torch"}
    if "tensorflow-float32" in names:
        versions = report["contenders"]["tensorflow-float32"]["versions"]
        assert set(versions) == {"keras", "tensorflow"}
