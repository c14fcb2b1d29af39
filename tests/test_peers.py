"""The peers compute what PyTorch does, and their exported graphs are clean."""

import doctest
import importlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from peers_reference import PeerReference

import keras_crosscbam as kc

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
PEERS = importlib.import_module("peers").PEERS
draw_weights = importlib.import_module("peers.parts").draw_weights
export_peers = importlib.import_module("export_peers")

BLOCKS = {
    "stdc1-seg": (2, 2, 2),
    "stdc2-seg": (4, 5, 3),
    "pp-liteseg-t": (2, 2, 2),
    "pp-liteseg-b": (4, 5, 3),
}


def drawn(name, size, num_classes=5):
    model = PEERS[name]((*size, 3), num_classes=num_classes)
    draw_weights(model)
    return model


@pytest.mark.parametrize(
    "module", ["", ".stdc_seg", ".pp_liteseg", ".ddrnet", ".pidnet", ".sctnet"]
)
def test_examples(module):
    results = doctest.testmod(importlib.import_module(f"peers{module}"))
    assert (results.failed, results.attempted > 0) == (0, True)


# 90x120 becomes 12x15, 6x8 and 3x4: the nearest value is then not always every other one.
@pytest.mark.parametrize(
    ("name", "network", "size"),
    [
        ("stdc1-seg", "stdc_seg", (90, 120)),
        pytest.param("stdc2-seg", "stdc_seg", (64, 96), marks=pytest.mark.slow),
        ("pp-liteseg-t", "pp_liteseg", (128, 256)),
        pytest.param("pp-liteseg-b", "pp_liteseg", (128, 128), marks=pytest.mark.slow),
    ],
)
def test_forward_is_that_of_pytorch(rng, name, network, size):
    model = drawn(name, size)
    images = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
    expected = PeerReference(model).run(network, images, blocks=BLOCKS[name])
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-3)


# The smallest map is 3x9 (SCTNet: 5x17) and has to become 17x66; from it 2x5, 1x3 and 1x2 are
# pooled.
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("ddrnet-23-slim", "ddrnet"),
        ("pidnet-s", "pidnet"),
        ("sctnet-s", "sctnet"),
        pytest.param("sctnet-b", "sctnet", marks=pytest.mark.slow),
    ],
)
def test_forward_of_residual_networks_is_that_of_pytorch(rng, name, network):
    model = drawn(name, (136, 528))
    images = rng.uniform(0, 255, (1, 136, 528, 3)).astype("float32")
    expected = PeerReference(model).run(network, images)
    assert 1 < expected.std() < 1000  # residual sums grow, but not beyond what float32 compares
    np.testing.assert_allclose(model(images, training=False), expected, atol=2e-5 * expected.std())


def test_pyramid_pooling_of_sizes_that_do_not_divide():
    # 720x960 becomes 23x30, which has no 4x4 equal parts.
    assert PEERS["pp-liteseg-t"]((720, 960, 3), num_classes=11).output_shape == (None, 720, 960, 11)


def test_weights_are_the_same_each_time():
    one, other = (drawn("pp-liteseg-t", (128, 128)).get_weights() for _ in range(2))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["stdc1-seg", "pp-liteseg-t", "pidnet-s", "sctnet-s"])
def test_networks_of_any_size_compute_the_same(rng, name, tmp_path):
    # 11x5 is not divisible by 4, so that the parts overlap.
    fixed, free = drawn(name, (352, 160)), PEERS[name]((None, None, 3), num_classes=5)
    fixed.save_weights(tmp_path / "fixed.weights.h5")
    free.load_weights(tmp_path / "fixed.weights.h5")
    images = rng.uniform(0, 255, (1, 352, 160, 3)).astype("float32")
    expected = fixed(images, training=False)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(free(images, training=False), expected, atol=1e-3)


# --- what is exported


@pytest.mark.parametrize(
    ("name", "nearest", "linear"),
    [
        ("stdc1-seg", 2, 1),
        ("pp-liteseg-t", 0, 6),
        pytest.param("ddrnet-23-slim", 0, 7, marks=pytest.mark.slow),
        pytest.param("pidnet-s", 0, 11, marks=pytest.mark.slow),
        pytest.param("sctnet-s", 0, 5, marks=pytest.mark.slow),
    ],
)
def test_exported_graphs_are_clean(tmp_path, capsys, name, nearest, linear):
    options = ["--size", "128x256", "--networks", name, "--classes", "5", "--out", str(tmp_path)]
    export_peers.main(export_peers.parse(options))
    assert "argmax equal on" in capsys.readouterr().out

    description = kc.runtime.load(tmp_path / f"{name}.onnx").description
    assert description.extra["optimized_for"] is None  # as nothing was asked for
    graph = onnx.load(tmp_path / f"{name}.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert not {"Transpose", "BatchNormalization"} & set(operators)
    resizes = [
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in graph.node
        if node.op_type == "Resize"
    ]
    modes = [(r["mode"], r["coordinate_transformation_mode"]) for r in resizes]
    assert modes.count((b"nearest", b"asymmetric")) == nearest
    assert modes.count((b"linear", b"half_pixel")) == linear
    assert len(modes) == nearest + linear
    shapes = [
        [d.dim_value for d in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 3, 128, 256], [1, 5, 128, 256]]


def test_cross_cbam_takes_the_same_way():
    model = export_peers.NETWORKS["cross-cbam-m"](input_shape=(64, 96, 3), num_classes=5)
    draw_weights(model)
    assert model.output_shape == (None, 64, 96, 5)
    assert len(np.unique(model.get_layer("ccbam4").get_weights()[1])) > 1  # no bias is 0


@pytest.mark.parametrize(
    ("given", "optimize_for"),
    [pytest.param(["none"], None, marks=pytest.mark.slow), (["openvino"], "openvino")],
)
def test_graphs_are_rewritten_on_request_alone(tmp_path, capsys, given, optimize_for):
    options = ["--size", "64x96", "--networks", "stdc1-seg", "--classes", "5"]
    options += ["--out", str(tmp_path), *(f"--optimize-for={value}" for value in given)]
    export_peers.main(export_peers.parse(options))
    assert "argmax equal on" in capsys.readouterr().out
    run = kc.runtime.load(tmp_path / "stdc1-seg.onnx")
    assert run.description.extra["optimized_for"] == optimize_for


def test_unknown_rewrites_are_named(capsys):
    with pytest.raises(SystemExit):
        export_peers.parse(["--out", "onnx", "--optimize-for", "everything"])
    assert "invalid choice: 'everything' (choose from " in capsys.readouterr().err


def test_unknown_networks_are_named(capsys):
    with pytest.raises(SystemExit):
        export_peers.parse(["--out", "onnx", "--networks", "cross-cbam-m", "bisenet"])
    assert "invalid choice: 'bisenet' (choose from " in capsys.readouterr().err
