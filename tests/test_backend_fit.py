"""Losses and metric in `compile` and `fit` on three backends: callbacks and numbers of channels."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import backend_fit
import keras
import pytest


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def results(request, tmp_path_factory):
    """What the program prints on a backend, in this process where it has that backend."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == keras.backend.backend():
        return json.loads(json.dumps(backend_fit.results(folder)))
    if not find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    process = subprocess.run(
        [sys.executable, backend_fit.__file__, folder],
        env={
            **os.environ,
            "KERAS_BACKEND": request.param,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["mean_iou", "my_iou"])
def test_callbacks_know_that_a_higher_mean_iou_is_better(results, name):
    good, better, bad = results["callbacks"][name]
    assert good[0] < better[0] == pytest.approx(1)
    assert bad[0] < better[0]
    # Nothing is stopped, left out or slowed down while it gets better.
    assert good[1:] == [False, ["1"], pytest.approx(1e-3)]
    assert better[1:] == [False, ["1", "2"], pytest.approx(1e-3)]
    assert bad[1:] == [True, ["1", "2"], pytest.approx(5e-4)]


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_logits_of_another_number_of_channels_are_refused(results, channels):
    said = results["refused"][str(channels)]
    assert said.keys() == {*backend_fit.LOSSES, "metric", "model"}
    for name, text in said.items():
        # The losses put the logit of the background beside a single one.
        shown = 2 if channels == 1 and name in backend_fit.LOSSES else channels
        expected = "3 classes of `class_weights`" if name in backend_fit.LOSSES else "num_classes=3"
        assert expected in text, name
        assert f"{shown})" in text.partition("Received: logits of shape ")[2], name
