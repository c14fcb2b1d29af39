"""What all tests share: a quiet TensorFlow, and the real data where it is at hand."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_root():
    """The folder named by CROSSCBAM_DATA, with `camvid-480x360/` and `camvid-960x720-val/`."""
    root = os.environ.get("CROSSCBAM_DATA")
    if not root:
        pytest.skip("CROSSCBAM_DATA is not set: tests on real CamVid frames are left out")
    return Path(root)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(7)


@pytest.fixture(scope="session")
def network():
    """A small-footprint network of random weights for 11 classes and images of any size.

    Its logits are scaled up: those of fresh weights are so close together that rounding decides.
    """
    import keras_crosscbam as kc

    keras.utils.set_random_seed(11)
    model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(11).normal(size=kernel.shape))
    model.classes = kc.datasets.CAMVID_CLASSES
    return model


@pytest.fixture(scope="session")
def onnx_file(network, tmp_path_factory):
    """That network in ONNX, fixed to 90x120 pixels."""
    import keras_crosscbam as kc

    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    kc.export.to_onnx(network, path, input_size=(90, 120))
    return path
