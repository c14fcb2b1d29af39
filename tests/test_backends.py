"""The same files of weights, three backends, the same outputs."""

import itertools
import os
import subprocess
import sys
from importlib.util import find_spec

import backend_forward
import keras
import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")
OUTPUTS = ("main", "aux", "stage3", "stage4", "stage5", "small", "distilled")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def forward(tmp_path_factory):
    """Runs the program on each installed backend; returns what waits for a backend's arrays.

    That of this process needs no other one.
    """
    folder = tmp_path_factory.mktemp("backends")
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 255, (2, *backend_forward.IMAGE_SHAPE)).astype("float32")
    np.savez(folder / "images.npz", images=images)
    for name, model in backend_forward.build_models().items():
        # Off their initial values, BatchNormalization's statistics and the biases matter too.
        model.set_weights([w + rng.normal(0, 0.01, w.shape) for w in model.get_weights()])
        model.save_weights(folder / f"{name}.weights.h5")

    def start(backend):
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(sys.path),
            # On a GPU each backend has its own habits with TensorFloat-32.
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        command = [sys.executable, backend_forward.__file__, folder, folder / f"{backend}.npz"]
        return subprocess.Popen(command, env=environment)

    own = keras.backend.backend()
    others = [backend for backend in BACKENDS if backend != own and find_spec(backend)]
    running = {backend: start(backend) for backend in others}
    with keras.device("cpu:0"):
        backend_forward.main(folder, folder / f"{own}.npz")

    def wait(backend):
        if backend in running:
            assert running[backend].wait() == 0
        elif backend != own:
            pytest.skip(f"{backend} is not installed")
        return np.load(folder / f"{backend}.npz")

    yield wait
    for process in running.values():
        process.kill()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(BACKENDS, 2)))
def test_backends_agree(forward, one, other, output):
    a, b = forward(one)[output], forward(other)[output]
    difference = np.abs(a - b).max()
    print(f"{output}: {one} and {other} differ by at most {difference:.1e}, values {a.std():.2f}")
    assert a.shape == b.shape
    assert a.std() > 0.1
    assert difference < TOLERANCE


def test_what_is_taught_are_the_teachers_logits(forward):
    outputs = forward("tensorflow")
    np.testing.assert_allclose(outputs["distilled"][..., :5], outputs["main"], atol=TOLERANCE)
    np.testing.assert_allclose(outputs["distilled"][..., 5:], outputs["small"], atol=TOLERANCE)
