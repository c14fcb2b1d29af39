"""The PyTorch and the converted network agree at every stage, on every backend, and in ONNX."""

import os
import subprocess
import sys
from importlib.util import find_spec

import backend_stages
import foreign_weights
import numpy as np
import pytest
import torch

import keras_crosscbam as kc
from keras_crosscbam import runtime

BACKENDS = ("tensorflow", "jax", "torch")
BACKBONES = ("stdc1", "stdc2")
# The middle one is odd, and its stages have odd sides as well.
SIZES = ((64, 96), (97, 129), (128, 192))
STAGES = (*backend_stages.STAGES, "main", "aux")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the PyTorch networks, and what they make of images of each size."""
    folder = tmp_path_factory.mktemp("parity")
    images = {
        f"{height}x{width}": foreign_weights.pictures(2, (height, width), seed=11)
        for height, width in SIZES
    }
    np.savez(folder / "images.npz", **images)
    expected = {}
    for backbone in BACKBONES:
        module = foreign_weights.network(backbone)
        torch.save(module.state_dict(), folder / f"{backbone}.pth")
        for size, pixels in images.items():
            for stage, output in foreign_weights.stages(module, pixels).items():
                expected[f"{backbone}/{size}/{stage}"] = output
    np.savez(folder / "expected.npz", **expected)
    return folder


@pytest.fixture(scope="module", params=BACKENDS)
def on_backend(request, folder):
    backend = request.param
    if not find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
    }
    outputs = folder / f"{backend}.npz"
    command = [sys.executable, backend_stages.__file__, folder, outputs]
    subprocess.run(command, env=environment, check=True)
    return backend, np.load(outputs)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_stage_agrees(on_backend, folder, backbone):
    backend, outputs = on_backend
    expected = np.load(folder / "expected.npz")
    for stage in STAGES:
        row = []
        for height, width in SIZES:
            key = f"{backbone}/{height}x{width}/{stage}"
            assert expected[key].std() > 0.1
            row.append(foreign_weights.difference(outputs[key], expected[key]))
        print(f"{backend} {backbone} {stage}: {' '.join(f'{d:.1e}' for d in row)}")
        assert max(row) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_onnx_agrees(folder, backbone, tmp_path):
    """A graph of free size with the outputs of all stages."""
    import onnxruntime
    import tensorflow as tf
    import tf2onnx

    expected = np.load(folder / "expected.npz")
    model = backend_stages.converted(folder / f"{backbone}.pth", tmp_path, backbone)
    network = backend_stages.with_stages(model)
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32, name="image")]
    serve = tf.function(lambda image: network(image, training=False), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(serve, signature, opset=17)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for stage in STAGES:
        row = []
        for size, images in np.load(folder / "images.npz").items():
            (output,) = session.run([stage], {"image": images})
            row.append(foreign_weights.difference(output, expected[f"{backbone}/{size}/{stage}"]))
        print(f"onnx {backbone} {stage}: {' '.join(f'{d:.1e}' for d in row)}")
        assert max(row) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_exported_file_agrees(folder, backbone, tmp_path):
    expected = np.load(folder / "expected.npz")
    model = backend_stages.converted(folder / f"{backbone}.pth", tmp_path, backbone)
    for size, images in np.load(folder / "images.npz").items():
        path = tmp_path / f"{size}.onnx"
        kc.export.to_onnx(model, path, input_size=images.shape[1:3])
        logits = np.concatenate([runtime.load(path).logits(image[None]) for image in images])
        assert foreign_weights.difference(logits, expected[f"{backbone}/{size}/main"]) < TOLERANCE
