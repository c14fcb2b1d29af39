"""The example that wraps a network as a task of Keras Hub."""

import importlib
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_crosscbam as kc

pytestmark = pytest.mark.slow


def test_task_and_preset_give_the_scores_of_the_network(tmp_path, monkeypatch, capsys):
    hub = pytest.importorskip("keras_hub", reason="Keras Hub is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    example = importlib.import_module("keras_hub_task")
    task = example.main(["--preset", str(tmp_path / "preset")])
    assert capsys.readouterr().out.startswith("Building")
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
    network = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))
    expected = network.predict(images, verbose=0)
    np.testing.assert_allclose(task.predict(images, verbose=0), expected, atol=1e-5)
    again = hub.models.ImageSegmenter.from_preset(str(tmp_path / "preset"))
    assert type(again) is example.CrossCBAMImageSegmenter
    np.testing.assert_allclose(again.predict(images, verbose=0), expected, atol=1e-5)
    masks = keras.utils.to_categorical(np.zeros((1, 64, 96), int), 11)
    assert np.isfinite(task.train_on_batch(images, masks)).all()
    sys.modules.pop("keras_hub_task")
