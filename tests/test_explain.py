"""What a network looks at: gates beside NumPy, Grad-CAM beside finite differences."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.explanation_sheet import bar_picture
from keras_crosscbam.images import STREET, read_image

IMAGE = read_image(STREET)[100:164, 200:296]


@pytest.fixture(scope="module")
def explanation(network):
    return kc.explain(network, IMAGE, "road")


def conv(x, layer):
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    return x @ kernel[0, 0] + bias


def features_of(network, *names):
    """Inputs of layers by their names, as NumPy arrays."""
    tensors = {name: network.get_layer(name).input for name in names}
    values = keras.Model(network.input, tensors)(IMAGE[None].astype(np.float32), training=False)
    return keras.tree.map_structure(lambda x: np.asarray(x, np.float64), values)


def test_gates_are_those_of_the_paper(network, explanation):
    """Equations 2 to 4 and Figure 6, written out."""

    def channel(x, attention):
        pooled = [x.max(axis=(1, 2)), x.mean(axis=(1, 2))]
        return expit(
            sum(conv(np.maximum(conv(p, attention.reduce), 0), attention.expand) for p in pooled)
        )

    def spatial(x, attention):
        (convolution,) = [w for w in attention._layers if hasattr(w, "kernel")]
        return expit(conv(np.stack([x.max(-1), x.mean(-1)], axis=-1), convolution))[..., 0]

    values = features_of(network, "ccbam3", "ccbam4", "se_aspp")
    for name in ("ccbam3", "ccbam4"):
        layer, (low, high) = network.get_layer(name), values[name]
        of_low = channel(low, layer.low_channel_attention)
        of_high = channel(high, layer.high_channel_attention)
        expected = {
            "low": (of_low, spatial(high * of_low[:, None, None], layer.low_spatial_attention)),
            "high": (of_high, spatial(low * of_high[:, None, None], layer.high_spatial_attention)),
        }
        for side, (channels, positions) in expected.items():
            found = explanation.channel_gates[f"{name} {side}"]
            np.testing.assert_allclose(found, channels[0], atol=1e-4)
            found = explanation.spatial_gates[f"{name} {side}"]
            np.testing.assert_allclose(found, positions[0], atol=1e-4)
    layer, x = network.get_layer("se_aspp"), values["se_aspp"]
    gate = expit(conv(np.maximum(conv(x.mean(axis=(1, 2)), layer.reduce), 0), layer.expand))
    np.testing.assert_allclose(explanation.channel_gates["se_aspp"], gate[0], atol=1e-4)


def test_grad_cam_of_the_last_layer_has_a_closed_form(network):
    """Behind it there are a 1x1 convolution and a resizing: the gradient is the kernel's column."""
    explanation = kc.explain(network, IMAGE, "sky", layer="neck3")
    cut = network.get_layer("neck3").output
    features = np.asarray(keras.Model(network.input, cut)(IMAGE[None].astype(np.float32)))[0]
    kernel = np.asarray(network.get_layer("classifier").kernel)[0, 0, :, 0]
    expected = np.maximum(features @ kernel, 0)
    np.testing.assert_allclose(explanation.grad_cam, expected / expected.max(), atol=1e-4)


def test_labels_and_target(network, explanation):
    np.testing.assert_array_equal(explanation.labels, kc.segment(network, IMAGE))
    assert explanation.target == "Road"
    most = kc.explain(network, IMAGE)
    counts = np.bincount(most.labels.ravel(), minlength=11)
    assert most.target == network.classes.names[counts.argmax()]
    with pytest.raises(ValueError, match="No class is named 'tram'"):
        kc.explain(network, IMAGE, "tram")


@pytest.mark.slow
def test_every_backend_says_the_same():
    """In processes of their own, the same weights and image."""
    results = {}
    with contextlib.ExitStack() as stack:
        programs = {b: stack.enter_context(explain_on(b)) for b in ("tensorflow", "jax", "torch")}
        for backend, program in programs.items():
            output, errors = program.communicate()
            assert program.returncode == 0, errors
            results[backend] = json.loads(output)
    reference = results.pop("tensorflow")
    assert 0 < np.mean(reference["grad_cam"]) < 1
    for result in results.values():
        assert result.keys() == reference.keys()
        for name, values in result.items():
            np.testing.assert_allclose(values, reference[name], atol=2e-3, err_msg=name)


def explain_on(backend):
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("backend_explain.py")],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_model_stays_as_it_is(tmp_path):
    model = kc.CrossCBAM("stdc1", num_classes=3, input_shape=(None, None, 3), alpha=0.25)
    before = kc.segment(model, IMAGE)
    for _ in range(2):
        kc.explain(model, IMAGE)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(kc.segment(model, IMAGE), before)
    np.testing.assert_array_equal(kc.segment(tmp_path / "m.keras", IMAGE), before)


def test_other_networks():
    small = {"input_shape": (None, None, 3), "alpha": 0.25}
    for arguments, blocks in (
        ({"fusion": "sum"}, {"se_aspp"}),
        ({"use_se_aspp": False, "classes": ["car"]}, {"ccbam3", "ccbam4"}),
        ({"aux_head": True, "include_preprocessing": False}, {"ccbam3", "ccbam4", "se_aspp"}),
    ):
        model = kc.CrossCBAM("stdc1", **{"num_classes": None, **small, **arguments})
        explanation = kc.explain(model, IMAGE)
        assert {name.split()[0] for name in explanation.channel_gates} == blocks
        assert explanation.sheet().width > 1000
    bare = kc.CrossCBAM("stdc1", num_classes=3, fusion=None, use_se_aspp=False, **small)
    with pytest.raises(ValueError, match="has neither CCBAM nor SE-ASPP"):
        kc.explain(bare, IMAGE)
    with pytest.raises(ValueError, match="An explanation needs the layers of a Keras model"):
        kc.explain("m.onnx", IMAGE)
    with pytest.raises(ValueError, match=r"has no layer 'stage9'. It has: image"):
        kc.explain(model, IMAGE, layer="stage9")


def test_bars():
    picture = np.asarray(bar_picture(np.array([0.0, 0.5, 1.0]), (100, 300)))
    filled = (picture != 40).any(axis=-1)
    filled[50] = filled[49]  # the line at one half
    shares = filled[:, [50, 150, 250]].mean(axis=0)
    np.testing.assert_allclose(shares, [0, 0.5, 1], atol=0.02)
    # No bar is lost where there are more of them than columns.
    many = np.zeros(1000)
    many[501] = 1
    assert (np.asarray(bar_picture(many, (10, 100)))[0] != 40).any()


def test_command(network, tmp_path, capsys):
    network.save(tmp_path / "m.keras")
    (tmp_path / "images").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_bytes(b"")
    arguments = ["explain", tmp_path / "images", "--model", tmp_path / "m.keras", "--class", "car"]
    status = cli.main([str(a) for a in [*arguments, "--out", tmp_path / "out"]])
    captured = capsys.readouterr()
    assert status == 1
    assert "b.png: not a readable image" in captured.err
    assert "Grad-CAM for Car" in captured.out
    with Image.open(tmp_path / "out" / "a_explained.png") as sheet:
        assert sheet.width > 1000
