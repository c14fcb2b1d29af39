"""Arguments of the input pipeline that make no sense are refused in one sentence."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_crosscbam.datasets.augment import (
    ClassMix,
    PhotometricDistortion,
    RandomFlip,
    RandomScaleCrop,
)
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation
from keras_crosscbam.datasets.pipeline import (
    evaluation_batches,
    frame_reader,
    steps_per_epoch,
    training_batches,
)
from keras_crosscbam.training.classification import RandomResizedCrop, TopOneValidation
from keras_crosscbam.training.fingerprint import describe_augmentations
from keras_crosscbam.training.validation import SegmentationValidation


class Frames:
    """Six frames in memory."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return np.full((8, 9, 3), index, np.uint8), np.full((8, 9), index, np.uint8)


def batches(crop_size=(8, 8), batch_size=2, dataset=None, **arguments):
    return training_batches(dataset or Frames(), crop_size, batch_size, **arguments)


REFUSED = {
    "`crop_size` must be (height, width)": [
        *(lambda size=size: batches(size) for size in (64, None, "64", (64,), (8, 8, 3))),
        *(lambda size=size: batches(size) for size in ((0, 8), (8, -8), (8.0, 8), (True, 8))),
        lambda: RandomScaleCrop(64),
        lambda: RandomResizedCrop(64, (0.25, 1.0)),
    ],
    "`scale_range` must be a smaller and a larger number, above 0": [
        *(
            lambda r=r: batches(scale_range=r)
            for r in (2, (2, 1), (0, 1), (1, np.nan), (1, np.inf))
        ),
        lambda: RandomScaleCrop((8, 8), "ab"),
    ],
    "`area_range` must be a smaller and a larger number, above 0 and at most 1": [
        lambda: RandomResizedCrop((8, 8), 0.5),
        lambda: RandomResizedCrop((8, 8), (0.5, 2)),
    ],
    "`batch_size` must be a whole number of at least 1": [
        *(lambda size=size: batches(batch_size=size) for size in (0, -1, 2.0, "2", None)),
        lambda: steps_per_epoch(Frames(), 0),
        lambda: evaluation_batches(Frames(), 0),
    ],
    "`augmentations` must be a list": [
        lambda: batches(augmentations=RandomFlip()),
        lambda: batches(augmentations=keras.layers.RandomFlip()),
        lambda: batches(augmentations=None),
        lambda: describe_augmentations(RandomFlip()),
    ],
    "An augmentation must be a callable": [
        lambda: batches(augmentations=[RandomFlip]),
        lambda: batches(augmentations=["flip"]),
        lambda: batches(augmentations=["flip", "distort"]),
    ],
    "`class_mix` must be a number, at least 0 and at most 1": [
        *(lambda share=share: batches(class_mix=share) for share in (-0.1, 1.1, "x", np.nan, True)),
    ],
    "`share` must be a number, at least 0 and at most 1": [lambda: ClassMix(50)],
    "sampling weights must be 6 numbers": [
        *(
            lambda weights=weights: batches(sampling_weights=np.array(weights))
            for weights in ([1, 1], [1, 1, 1, 1, 1, -1], [0] * 6, [1, 1, 1, 1, 1, np.nan], 3.0)
        ),
    ],
    "`seed` must be a whole number": [lambda: batches(seed=0.5), lambda: batches(seed=None)],
    "`start_step` must be a whole number of at least 0": [lambda: batches(start_step=-1)],
    "`stop_step` must be a whole number of at least 5": [
        lambda: batches(start_step=5, stop_step=4)
    ],
    "`shard` must be": [lambda: batches(shard=(2, 2)), lambda: batches(shard=(-1, 2))],
    "must be a multiple of the number of workers, 4": [lambda: batches(shard=(0, 4))],
    "`frames` must be a whole number of at least 1": [
        lambda: training_batches([], (8, 8), batch_size=2)
    ],
    "`dataset` must be a data set": [lambda: frame_reader("CamVid")],
    "`input_size` must be (height, width)": [lambda: evaluation_batches(Frames(), 1, 64)],
    "`size` must be (height, width)": [lambda: SegmentationValidation(None, Frames(), 64)],
    "`size` must be a whole number": [lambda: TopOneValidation(None, Frames(), (64, 64))],
    "`brightness` must be a number, at least 0": [lambda: PhotometricDistortion(brightness=-1)],
    "`contrast` must be a smaller and a larger number, at least 0": [
        lambda: PhotometricDistortion(contrast=0.5),
        lambda: PhotometricDistortion(contrast=(1.5, 0.5)),
    ],
    "`saturation` must be a smaller and a larger number": [
        lambda: PhotometricDistortion(saturation=(-1, 1))
    ],
    "`hue` must be a number, at least 0 and at most 0.5": [lambda: PhotometricDistortion(hue=18)],
    "`layer` must be a layer": [lambda: KerasAugmentation(RandomFlip())],
}
CASES = [(message, call) for message, calls in REFUSED.items() for call in calls]


@pytest.mark.parametrize(("message", "call"), CASES, ids=[f"{i}" for i in range(len(CASES))])
def test_arguments_that_make_no_sense_are_refused_in_one_sentence(message, call):
    with pytest.raises(ValueError, match="Received: ") as raised:
        call()
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_sides_and_numbers_of_numpy_are_as_good_as_any():
    crop = (np.int64(8), np.int32(8))
    options = {"scale_range": [np.float32(1), 1], "class_mix": np.float64(0.5), "seed": np.int64(3)}
    ((images, labels), *_) = batches(crop, np.int64(3), stop_step=1, **options)
    assert (tuple(images.shape), tuple(labels.shape)) == ((3, 8, 8, 3), (3, 8, 8))


def test_a_range_of_one_value_is_one():
    """No contrast drawn, and no error out of TensorFlow."""
    still = PhotometricDistortion(0.0, (1.0, 1.0), (1.0, 1.0), 0.0)
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float32)
    for seed in range(4):
        out = still({"images": tf.constant(images)}, (seed, 0))["images"]
        np.testing.assert_allclose(out, images, atol=1e-3)


# Without TensorFlow

REFUSES_TENSORFLOW = """
import importlib, json, sys

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTensorFlow())
import keras_crosscbam
from keras_crosscbam import cli

said = {}
for module in sys.argv[3:]:
    try:
        importlib.import_module("keras_crosscbam." + module)
        said[module] = "imported"
    except ImportError as error:
        said[module] = str(error)
print(json.dumps(said))
frames, images = sys.argv[1:3]
for command, data in (("train", frames), ("pretrain", images), ("benchmark-pipeline", frames)):
    print(cli.main([command, "--data", data]), file=sys.stderr)
"""

NEED_TENSORFLOW = (
    "datasets.augment",
    "datasets.keras_augmentation",
    "datasets.pipeline",
    "datasets.sampling",
    "training.segmentation",
    "training.validation",
    "training.tensorboard",
    "training.classification",
    "training.resumable",
)
NEED_NONE = (
    "datasets",
    "training",
    "training.distribution",
    "training.losses",
    "training.metrics",
    "training.phases",
)
MODULES = (*NEED_TENSORFLOW, *NEED_NONE)


def test_without_tensorflow_the_extra_is_named(made_camvid, tmp_path):
    """As on JAX alone: what needs the pipeline says why it does, and what to install."""
    for name in ("cat", "dog"):
        picture = tmp_path / "train" / name / "0.png"
        picture.parent.mkdir(parents=True)
        keras.utils.save_img(picture, np.zeros((4, 4, 3)))
    process = subprocess.run(
        [sys.executable, "-c", REFUSES_TENSORFLOW, made_camvid, tmp_path, *MODULES],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout)
    sentence = (
        "Training needs TensorFlow on the JAX and PyTorch backends too: tf.data reads and augments "
        "the images on all backends. Install it with pip install 'keras-crosscbam[cpu]' (or "
        "[tensorflow], or [cuda]). KERAS_BACKEND need not change."
    )
    assert said == {
        **dict.fromkeys(NEED_TENSORFLOW, sentence),
        **dict.fromkeys(NEED_NONE, "imported"),
    }
    expected = []
    for command in ("train", "pretrain", "benchmark-pipeline"):
        expected += [f"crosscbam {command}: {sentence}", "2"]
    assert process.stderr.splitlines()[-6:] == expected
