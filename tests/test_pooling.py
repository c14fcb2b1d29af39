"""Averages that leave the padding out, as PyTorch and Paddle compute them on request."""

import os
import subprocess
import sys
from importlib.util import find_spec

import backend_pooling
import keras
import numpy as np
import pytest
import torch
from torch.nn import functional as nnf

import keras_crosscbam as kc
from keras_crosscbam import runtime

SIZES = ((1, 1), (2, 1), (3, 4), (5, 2), (6, 9), (7, 7), (8, 12))


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_averages_are_torchs_without_the_padding(backend, tmp_path, rng):
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    inputs = {f"{h}x{w}": rng.normal(size=(2, h, w, 3)).astype("float32") for h, w in SIZES}
    files = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(files[0], **inputs)
    if backend == keras.backend.backend():
        backend_pooling.main(*files)
    else:
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        command = [sys.executable, backend_pooling.__file__, *files]
        subprocess.run(command, env=environment, check=True)
    found = np.load(files[1])
    for name, x in inputs.items():
        x = torch.from_numpy(x.transpose(0, 3, 1, 2))
        expected = nnf.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False)
        np.testing.assert_allclose(found[name], expected.numpy().transpose(0, 2, 3, 1), atol=1e-6)


def test_a_network_that_leaves_the_padding_out_is_exported(tmp_path, rng):
    model = kc.CrossCBAM("stdc1", (65, 97, 3), num_classes=3, alpha=0.25, count_include_pad=False)
    kernel = model.get_layer("classifier").kernel
    kernel.assign(20 * rng.normal(size=kernel.shape))
    path = tmp_path / "m.onnx"
    kc.export.to_onnx(model, path)
    image = rng.uniform(0, 255, (1, 65, 97, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(image))
    np.testing.assert_allclose(runtime.load(path).logits(image), expected, atol=1e-3)
    counting = kc.CrossCBAM("stdc1", (65, 97, 3), num_classes=3, alpha=0.25)
    counting.set_weights(model.get_weights())
    assert np.abs(keras.ops.convert_to_numpy(counting(image)) - expected).max() > 1e-2


def test_the_switch_counts_no_work():
    plain, switched = (
        kc.CrossCBAM("stdc1", (64, 96, 3), num_classes=3, alpha=0.25, count_include_pad=counted)
        for counted in (True, False)
    )
    assert kc.flops.count_macs(plain) == kc.flops.count_macs(switched)
