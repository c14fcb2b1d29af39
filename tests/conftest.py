"""What all tests share: quiet and fast libraries, and the real data where it is at hand."""

import ctypes
import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Without LLVM's optimizations XLA compiles several times as fast: JAX builds a network in 6 s of
# processor time instead of 25 s. Processes that tests start inherit this.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import keras
import numpy as np
import pytest
from PIL import Image
from small_network import SMALL

# The longest files come first, so that no worker is left with one at the end.
LONGEST = ("test_training", "test_distillation", "test_export", "test_training_networks")
LONGEST += ("test_classification", "test_rewrites", "test_formats", "test_backends")
LONGEST += ("test_weights", "test_weight_conversion", "test_train_build", "test_peers")
LONGEST += ("test_weight_conversion", "test_weights")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish():
    """What is imported stays: from here on the garbage collector does not look at it again."""
    gc.collect()
    gc.freeze()


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


_resident = 0


@pytest.fixture(autouse=True)
def _bounded_memory():
    """Keras keeps what it traced until its session is cleared: 15 GB for the whole suite."""
    yield
    global _resident
    if sys.platform == "linux" and _resident_pages() > _resident + 2**18:  # a gigabyte
        keras.utils.clear_session()  # collects garbage as well
        ctypes.CDLL(None).malloc_trim(0)
        _resident = _resident_pages()


def _resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.fixture(scope="session")
def network():
    """A small-footprint network of random weights for 11 classes and images of any size.

    Its logits are scaled up: those of fresh weights are so close together that rounding decides.
    """
    import keras_crosscbam as kc

    keras.utils.set_random_seed(11)
    return _decided(kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3)))


@pytest.fixture(scope="session")
def small_network():
    """The same with fewer layers and channels, for exports of any network."""
    import keras_crosscbam as kc

    keras.utils.set_random_seed(11)
    return _decided(kc.CrossCBAM(num_classes=11, input_shape=(None, None, 3), **SMALL))


def _decided(model):
    from keras_crosscbam.datasets import CAMVID_CLASSES

    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(11).normal(size=kernel.shape))
    model.classes = CAMVID_CLASSES
    return model


@pytest.fixture(scope="session")
def onnx_file(network, tmp_path_factory):
    """That network in ONNX, fixed to 90x120 pixels."""
    import keras_crosscbam as kc

    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    kc.export.to_onnx(network, path, input_size=(90, 120), optimize_for=None)
    return path


@pytest.fixture(scope="session")
def made_camvid(tmp_path_factory):
    """Six frames to learn from and two to judge by, in SegNet's layout."""
    root, rng = tmp_path_factory.mktemp("camvid"), np.random.default_rng(0)
    for split, frames in (("train", 6), ("val", 2)):
        lines = []
        for i in range(frames):
            # Blocks of 11 classes and void, each with its own gray, and noise.
            ids = rng.integers(0, 12, (5, 6), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            image = 20 * ids[..., None] + rng.integers(0, 20, (*ids.shape, 3), np.uint8)
            for folder, array in ((split, image), (f"{split}annot", ids)):
                (root / folder).mkdir(exist_ok=True)
                Image.fromarray(array).save(root / folder / f"{i}.png")
            lines.append(f"{split}/{i}.png {split}annot/{i}.png\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root
