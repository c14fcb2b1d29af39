"""A folder goes on with what it has learned from, and with nothing else."""

import functools
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from training_program import TINY

from keras_crosscbam.classes import numbered_classes
from keras_crosscbam.datasets import IndexEncoding, SegmentationDataset, classification, load_camvid
from keras_crosscbam.datasets.augment import PhotometricDistortion, RandomFlip
from keras_crosscbam.datasets.classification import load_image_folders
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation
from keras_crosscbam.training import PRETRAINING_RECIPES
from keras_crosscbam.training.classification import pretrain
from keras_crosscbam.training.distribution import Workers
from keras_crosscbam.training.fingerprint import describe_augmentations
from keras_crosscbam.training.resumable import Run, open_run
from keras_crosscbam.training.segmentation import train


class AcceptedError(Exception):
    """The folder was taken for what is to be trained; the rest of the training is left out."""


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch):
    def build(self, make):
        raise AcceptedError

    monkeypatch.setattr(Run, "build", build)


def learn(out):
    """Leaves in a folder what a training leaves after an epoch."""
    digest = hashlib.sha256(b"weights").hexdigest()[:16]
    file = out / "checkpoints" / f"step-000000003-{digest}.weights.h5"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"weights")


def sets_of(root):
    return [load_camvid(root, split) for split in ("train", "val")]


def begin(sets, out, recipe=TINY, **kwargs):
    with pytest.raises(AcceptedError):
        train(*sets, recipe, out, **kwargs)


@pytest.fixture
def data(made_camvid, tmp_path):
    return shutil.copytree(made_camvid, tmp_path / "camvid")


@pytest.fixture
def begun(data, tmp_path):
    """A folder that has learned from that data for an epoch."""
    out = tmp_path / "run"
    begin(sets_of(data), out)
    learn(out)
    return out


def refused(sets, out, part, changes, recipe=TINY, **kwargs):
    before = {
        path: path.read_bytes() for path in out.rglob("*") if path.name != "lock" and path.is_file()
    }
    with pytest.raises(ValueError, match="contains a run with other") as raised:
        train(*sets, recipe, out, **kwargs)
    assert str(raised.value) == (
        f"{out} contains a run with other {part} ({changes}). Choose another folder, or remove "
        "this one to start again."
    )
    assert before == {path: path.read_bytes() for path in before}


def repaint(path, change):
    """Changes one pixel of a picture, or whatever else is asked for."""
    array = np.array(Image.open(path))
    change(array)
    Image.fromarray(array).save(path)


def other_pixel(array):
    array[3, 4] = (array[3, 4] + 1) % 11


# Data


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("train/2.png", "train_images"),
        ("trainannot/5.png", "train_labels"),
        ("val/0.png", "val_images"),
        ("valannot/1.png", "val_labels"),
    ],
)
def test_one_other_pixel_is_noticed_and_said(begun, data, file, changed):
    repaint(data / file, other_pixel)
    refused(sets_of(data), begun, "data", f"{changed} changed")


def test_other_ids_of_the_same_masks_are_noticed(begun, data):
    train_set, val_set = sets_of(data)
    ids = {**train_set.encoding.ids, 0: 255}
    sets = [replace(each, encoding=IndexEncoding(ids)) for each in (train_set, val_set)]
    refused(sets, begun, "data", "train_labels changed, val_labels changed")


def test_another_number_of_frames_is_said(begun, data):
    train_set, val_set = sets_of(data)
    sets = train_set, val_set.subset([0])
    changes = "val_frames was 2 and is 1 now, val_images changed, val_labels changed"
    refused(sets, begun, "data", changes)


def test_masks_of_other_images_are_noticed(begun, data):
    """The same files, paired otherwise."""
    train_set, val_set = sets_of(data)
    images, masks = zip(*train_set.pairs, strict=True)
    swapped = replace(train_set, pairs=tuple(zip(images, masks[::-1], strict=True)))
    refused([swapped, val_set], begun, "data", "train_labels changed")


def test_the_order_of_frames_matters_as_training_goes_by_it(begun, data):
    train_set, val_set = sets_of(data)
    sets = train_set.subset(range(5, -1, -1)), val_set
    refused(sets, begun, "data", "train_images changed, train_labels changed")


def test_the_same_data_elsewhere_and_masks_packed_otherwise_are_the_same(begun, data, tmp_path):
    moved = data.rename(tmp_path / "elsewhere")
    mask = moved / "trainannot/0.png"
    content = mask.read_bytes()
    Image.open(mask).save(mask, compress_level=0)
    assert mask.read_bytes() != content
    begin(sets_of(moved), begun)


def frames(tmp_path, *masks):
    """A data set of these masks, and black images."""
    pairs = []
    for index, mask in enumerate(masks):
        for name, array in (("image", np.zeros((*mask.shape, 3), np.uint8)), ("mask", mask)):
            Image.fromarray(array).save(tmp_path / f"{index}-{name}.png")
        pairs.append((tmp_path / f"{index}-image.png", tmp_path / f"{index}-mask.png"))
    ids = {index: index for index in range(256)}
    return SegmentationDataset("made", tuple(pairs), numbered_classes(5), IndexEncoding(ids))


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 99),
    place=st.integers(0, 24),
)
def test_digests_tell_labels_apart(tmp_path_factory, shape, seed, place):
    folder, rng = tmp_path_factory.mktemp("frames"), np.random.default_rng(seed)
    mask = rng.integers(0, 5, shape, np.uint8)
    other = mask.copy()
    other.ravel()[place % mask.size] ^= 1
    counts, digests = frames(folder, mask, mask).read_all()
    assert counts.tolist() == [np.bincount(mask.ravel(), minlength=5).tolist()] * 2
    assert frames(folder, mask, mask).read_all()[1] == digests
    for masks in ((mask, other), (other, mask), (mask,), (mask, mask, mask)):
        assert frames(folder, *masks).read_all()[1]["labels"] != digests["labels"]
    if mask.shape[0] != mask.shape[1]:
        turned = mask.reshape(mask.shape[::-1])
        assert frames(folder, turned, mask).read_all()[1]["labels"] != digests["labels"]


# Folders


def test_a_folder_that_has_weights_nothing_is_free(data, tmp_path):
    out = tmp_path / "run"
    begin(sets_of(data), out)
    repaint(data / "trainannot/0.png", other_pixel)
    recipe = replace(TINY, seed=6)
    begin(sets_of(data), out, recipe)
    learn(out)
    begin(sets_of(data), out, recipe)
    refused(sets_of(data), out, "recipe", "seed was 6 and is 5 now")


@pytest.mark.parametrize(
    "description", [None, "", '{"recipe": {', "[]", "{}", '{"recipe": 1, "data": 2}']
)
def test_weights_without_a_readable_description_are_not_trusted(begun, data, description):
    (begun / "run.json").unlink()
    if description is not None:
        (begun / "run.json").write_text(description)
    with pytest.raises(ValueError, match=r"run contains weights or checkpoints, but no valid"):
        train(*sets_of(data), TINY, begun)


def test_best_weights_alone_count_as_learned(begun, data):
    shutil.rmtree(begun / "checkpoints")
    (begun / "best.weights.h5").write_bytes(b"weights")
    repaint(data / "trainannot/0.png", other_pixel)
    refused(sets_of(data), begun, "data", "train_labels changed")


def test_a_run_of_an_earlier_version_goes_on_with_a_warning(begun, data, caplog):
    """It knew the numbers of frames alone, and not every field of today's recipes."""
    written = json.loads((begun / "run.json").read_text())
    kept = ("name", "classes", "train_frames", "val_frames")
    recipe = {name: value for name, value in written["recipe"].items() if name != "aux_weight"}
    old = {"recipe": recipe, "data": {name: written["data"][name] for name in kept}}
    (begun / "run.json").write_text(json.dumps(old))
    with caplog.at_level(logging.WARNING):
        begin(sets_of(data), begun)
    assert "was written by an earlier version, which did not record augmentations, " in caplog.text
    caplog.clear()
    begin(sets_of(data), begun)
    assert not caplog.text
    assert json.loads((begun / "run.json").read_text()) == written
    repaint(data / "trainannot/0.png", other_pixel)
    refused(sets_of(data), begun, "data", "train_labels changed")


# Weights to start from


def test_other_weights_of_the_same_name_are_noticed(data, tmp_path):
    file, out = tmp_path / "start.weights.h5", tmp_path / "run"
    recipe = replace(TINY, backbone_weights=str(file))
    begin(sets_of(data), out, recipe)  # there is no such file yet: nothing is learned
    file.write_bytes(b"first")
    begin(sets_of(data), out, recipe)
    learn(out)
    file.unlink()  # a run that goes on does not need it
    begin(sets_of(data), out, recipe)
    file.write_bytes(b"second")
    refused(sets_of(data), out, "weights", "backbone_weights changed", recipe)


# Augmentations


def darken(sample, seed, factor=0.5):
    return {**sample, "images": sample["images"] * factor}


def darkening(factor):
    def darkened(sample, seed):
        return {**sample, "images": sample["images"] * factor}

    return darkened


class Darken:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, sample, seed):
        return darken(sample, seed, self.factor)


AUGMENTATIONS = (
    RandomFlip(),
    PhotometricDistortion(),
    PhotometricDistortion(hue=0.1),
    keras.layers.RandomFlip("horizontal"),
    keras.layers.RandomFlip("vertical"),
    KerasAugmentation(keras.layers.RandomRotation(0.02, fill_mode="constant")),
    keras.layers.RandomRotation(0.03, fill_mode="constant"),
    keras.layers.Pipeline([keras.layers.RandomBrightness(0.1)]),
    keras.layers.Pipeline([keras.layers.RandomBrightness(0.2)]),
    darken,
    lambda sample, seed: sample,
    darkening(0.5),
    darkening(0.25),
    Darken(0.5),
    Darken(0.25),
    functools.partial(darken, factor=0.5),
    functools.partial(darken, factor=0.25),
)


def test_every_augmentation_is_told_from_the_others():
    texts = describe_augmentations(AUGMENTATIONS)
    assert len(set(texts)) == len(AUGMENTATIONS)
    assert describe_augmentations(None) is None
    assert describe_augmentations(()) == []


def test_augmentations_are_the_same_in_another_process():
    """Where layers have other names, seeds and places in memory, and have been used, too."""
    program = (
        "import json, keras, test_fingerprint as t\n"
        "[keras.layers.RandomFlip() for _ in range(3)]\n"
        "print(json.dumps(t.describe_augmentations(t.AUGMENTATIONS)))"
    )
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    other = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    AUGMENTATIONS[3](tf.zeros((1, 4, 4, 3)))
    assert json.loads(other.stdout.splitlines()[-1]) == describe_augmentations(AUGMENTATIONS)


def test_other_augmentations_are_noticed(begun, data, tmp_path):
    refused(sets_of(data), begun, "data", "augmentations changed", augmentations=[RandomFlip()])
    own = tmp_path / "own"
    begin(sets_of(data), own, augmentations=[darkening(0.5)])
    learn(own)
    begin(sets_of(data), own, augmentations=[darkening(0.5)])
    sets = sets_of(data)
    refused(sets, own, "data", "augmentations changed", augmentations=[darkening(0.25)])


# Pretraining


@pytest.fixture
def folders(tmp_path):
    """Two classes of two images in both splits, all of one size in bytes."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(2):
                array = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(array).save(tmp_path / f"images/{split}/{name}/{name}{i}.bmp")
    return tmp_path / "images"


def begin_pretraining(folders, out):
    sets = [load_image_folders(folders, split) for split in ("train", "val")]
    pretrain(*sets, replace(PRETRAINING_RECIPES["imagenet20-stdc1"], batch_size=2), out)


def other_image(folders):
    repaint(folders / "train/cat/cat0.bmp", other_pixel)


def other_class(folders):
    (folders / "train/cat/cat1.bmp").rename(folders / "train/dog/cat1.bmp")


def other_validation_set(folders):
    other = folders / "val/dog/dog1.bmp"
    Image.open(other).resize((9, 9)).save(other)


@pytest.mark.parametrize(
    ("read_whole", "change", "noticed"),
    [
        (2**30, other_image, "train_files changed"),
        (2**30, other_class, "train_files changed"),
        (2**30, other_validation_set, "val_files changed"),
        (0, other_image, None),
        (0, other_class, "train_files changed"),
        (0, other_validation_set, "val_files changed"),
    ],
)
def test_other_images_to_pretrain_on_are_noticed(
    folders, tmp_path, monkeypatch, read_whole, change, noticed
):
    """Of sets too large to be read whole, all but another image of the same name and size."""
    monkeypatch.setattr(classification, "READ_WHOLE", read_whole)
    out = tmp_path / "run"
    with pytest.raises(AcceptedError):
        begin_pretraining(folders, out)
    learn(out)
    described = json.loads((out / "run.json").read_text())["data"]
    assert ("names and sizes" in described["train_files"]) == (not read_whole)
    change(folders)
    with pytest.raises(ValueError if noticed else AcceptedError) as raised:
        begin_pretraining(folders, out)
    assert (noticed or "") in str(raised.value)


# Workers of one training


class OtherWorkers(Workers):
    """Those of a machine that hold other numbers than this one."""

    def __init__(self, held):
        self.held = held

    def agree(self, number, otherwise):
        if not self.held.setdefault(otherwise, number) == number:
            raise RuntimeError(f"The workers {otherwise}.")


def test_workers_with_other_data_are_refused(tmp_path):
    held, digests = {}, {"name": "a", "train_images": "sha256:1"}
    with open_run(tmp_path / "one", TINY, 3, digests, OtherWorkers(held)):
        pass
    # The name of a folder may be another on each machine.
    with open_run(tmp_path / "two", TINY, 3, {**digests, "name": "b"}, OtherWorkers(held)):
        pass
    other = {**digests, "train_images": "sha256:2"}
    with (
        pytest.raises(RuntimeError, match="The workers have different data"),
        open_run(tmp_path / "three", TINY, 3, other, OtherWorkers(held)),
    ):
        pass
