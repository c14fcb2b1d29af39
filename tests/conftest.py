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
