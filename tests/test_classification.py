"""Pretraining: from folders of images to encoder weights that a network starts from."""

import json
import re
import shutil
import tarfile
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from trained import arrays_of

from keras_crosscbam import STDC1, CrossCBAM_M, cli
from keras_crosscbam.datasets.augment import CutMix, MixUp, RandomChoice
from keras_crosscbam.datasets.classification import load_image_folders
from keras_crosscbam.datasets.pipeline import frame_reader
from keras_crosscbam.models.surgery import is_backbone
from keras_crosscbam.training import Phase, PretrainingRecipe, classification
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.checkpoints import Checkpoints
from keras_crosscbam.training.classification import (
    _CLASS,
    RandomResizedCrop,
    TopOneValidation,
    _augmented,
    pretrain,
)

ALPHA = 0.125
# Two epochs of two steps. Only the last one is judged.
TINY = PretrainingRecipe(
    name="tiny",
    backbone="stdc1",
    alpha=ALPHA,
    phases=(Phase(2, (32, 32)),),
    batch_size=4,
    optimizer="sgd",
    warmup_steps=1,
    validation_size=32,
    jit_compile=False,
    seed=5,
)
COLORS = {"blue": (20, 40, 200), "red": (200, 40, 20)}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Noise around two colors: four images of each to learn from and two to judge by."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, images in (("train", 4), ("val", 2)):
        for name, color in COLORS.items():
            for i in range(images):
                noise = rng.integers(0, 50, (40, 36 + i, 3))
                save(root / split / name / f"{i}.png", (noise + color).astype(np.uint8))
    return root


def run(root, out, recipe=TINY):
    return pretrain(
        *(load_image_folders(root, s) for s in ("train", "val")), recipe, out, verbose=0
    )


@pytest.fixture(scope="module")
def undisturbed(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run(folders, out) == out / "best.weights.h5"
    return out


# The training


def test_a_run_leaves_its_description_log_and_checkpoints(undisturbed, folders):
    described = json.loads((undisturbed / "run.json").read_text())
    assert described["recipe"]["backbone"] == "stdc1"
    digests = {part: described["data"].pop(part) for part in ("train_files", "val_files")}
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in digests.values())
    assert described["data"] == {
        "name": folders.name,
        "classes": ["blue", "red"],
        "train_images": 8,
        "val_images": 4,
    }
    first, second = EpochLog(undisturbed / "log.csv").rows
    assert (first["step"], second["step"]) == (2, 4)
    assert "val_top1" not in first
    assert second["val_top1"] in (0, 0.25, 0.5, 0.75, 1)
    assert np.isfinite([row["loss"] for row in (first, second)]).all()
    assert Checkpoints(undisturbed / "checkpoints").newest()[0] == 4


def test_the_encoder_goes_into_a_segmentation_network(undisturbed):
    best = undisturbed / "best.weights.h5"
    classifier = STDC1(num_classes=2, alpha=ALPHA, weights=best)
    network = CrossCBAM_M(num_classes=3, alpha=ALPHA, backbone_weights=best)
    compared = 0
    for layer in network.layers:
        if not is_backbone(layer.name) or not layer.weights:
            continue
        for array, expected in zip(
            layer.get_weights(), classifier.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(array, expected)
            compared += 1
    fresh = STDC1(include_top=False, alpha=ALPHA)
    assert compared == len(fresh.weights)
    # They are trained ones: the statistics of BatchNormalization have moved.
    mean = network.get_layer("stem_conv1").weights[-2]
    assert np.abs(mean).max() > 0


def test_the_log_holds_the_accuracy_of_the_kept_weights(undisturbed, folders):
    model = STDC1(
        input_shape=(None, None, 3),
        num_classes=2,
        alpha=ALPHA,
        classifier_activation=None,
        weights=undisturbed / "best.weights.h5",
    )
    validation = TopOneValidation(model, load_image_folders(folders, "val"), 32)
    assert validation()["val_top1"] == EpochLog(undisturbed / "log.csv").rows[-1]["val_top1"]


def test_a_resumed_run_equals_an_undisturbed_one(undisturbed, folders, tmp_path):
    """From what there was after the first epoch, on the batches that come second."""
    out = tmp_path / "resumed"
    (first,) = (undisturbed / "checkpoints").glob("step-000000002-*")
    (out / "checkpoints").mkdir(parents=True)
    shutil.copy(first, out / "checkpoints")
    shutil.copy(undisturbed / "run.json", out)
    EpochLog(out / "log.csv").add(EpochLog(undisturbed / "log.csv").rows[0])
    run(folders, out)
    assert [row["epoch"] for row in EpochLog(out / "log.csv").rows] == [1, 2]
    for files in ("checkpoints/step-000000004-*", "best.weights.h5"):
        actual, expected = (arrays_of(next(folder.glob(files))) for folder in (out, undisturbed))
        assert actual.keys() == expected.keys()
        differences = [np.abs(actual[path] - array).max() for path, array in expected.items()]
        print(f"{files}: max difference {max(differences):.1e}")
        assert max(differences) <= 1e-6


def test_a_folder_of_another_run_is_refused(undisturbed, folders):
    message = r"undisturbed contains a run with other recipe \(seed was 5 and is 6 now\)"
    with pytest.raises(ValueError, match=message):
        run(folders, undisturbed, replace(TINY, seed=6))


# The judge


class Images:
    """A data set in memory."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], np.int64(self.labels[index])


def test_top_one_is_an_independent_count():
    """Over more images than a batch, by a classifier that names the brightest channel."""
    rng = np.random.default_rng(2)
    images = [
        rng.integers(0, 256, (16, 16 + i % 9, 3) if i % 2 else (16 + i % 9, 16, 3), np.uint8)
        for i in range(53)
    ]
    labels = rng.integers(0, 3, 53)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    right = 0
    for array, label in zip(images, labels, strict=True):
        top, left = ((side - 16) // 2 for side in array.shape[:2])
        center = array[top : top + 16, left : left + 16]
        right += center.mean(axis=(0, 1)).argmax() == label
    assert 0 < right < 53
    assert TopOneValidation(model, Images(images, labels), 16)() == {"val_top1": right / 53}


def test_the_judge_looks_at_the_center_at_the_size_asked_for():
    """A tall picture, green with a red square in the middle, at half the size."""
    array = np.zeros((60, 20, 3), np.uint8)
    array[..., 1] = 255
    array[20:40] = (255, 0, 0)
    seen = []
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    validation = TopOneValidation(model, Images([array], [0]), 10)
    for images, _ in validation.batches.as_numpy_iterator():
        seen.append(images)
    assert seen[0].shape == (1, 10, 10, 3)
    np.testing.assert_allclose(seen[0][0, 2:-2], np.full((6, 10, 3), (255, 0, 0)), atol=1e-3)
    assert validation() == {"val_top1": 1.0}


# Crops


def test_crops_are_parts_of_the_image_of_the_area_asked_for():
    rows, columns = np.mgrid[:80, :100].astype(np.float32)
    image = np.stack([rows, columns, rows], axis=-1)
    crop = RandomResizedCrop((32, 32), (0.25, 0.5))
    areas = []
    for seed in range(60):
        part = crop({"images": image}, (seed, 0))["images"].numpy()
        assert (part.shape, part.dtype) == ((32, 32, 3), np.float32)
        assert part[..., 0].min() >= 0
        assert part[..., 0].max() <= 79
        # From the first to the last pixel's center are 31 of 32 parts.
        height, width = (np.ptp(part[..., channel]) * 32 / 31 for channel in (0, 1))
        assert 0.6 < width / height < 1.6
        areas.append(height * width / 8000)
    assert 0.2 < min(areas) < 0.32
    assert 0.43 < max(areas) < 0.55


# Mixing and changing images


def made_samples():
    rng = np.random.default_rng(3)
    images = rng.uniform(0, 255, (2, 20, 30, 3)).astype(np.float32)
    return [{"images": tf.constant(images[i]), "labels": tf.one_hot(i, 3)} for i in range(2)]


def test_mixup_averages_images_and_labels():
    one, other = made_samples()
    shares = []
    for seed in range(60):
        mixed = MixUp(1.0)(one, other, (seed, 0))
        share = float(mixed["labels"][0])
        np.testing.assert_allclose(mixed["labels"], (share, 1 - share, 0), atol=1e-6)
        expected = share * one["images"] + (1 - share) * other["images"]
        np.testing.assert_allclose(mixed["images"], expected, atol=1e-3)
        shares.append(share)
    # Beta(1, 1) is uniform.
    assert min(shares) < 0.1
    assert max(shares) > 0.9
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)
    few = [float(MixUp(0.02)(one, other, (seed, 0))["labels"][0]) for seed in range(60)]
    assert np.isfinite(few).all()
    assert np.mean(np.minimum(few, 1 - np.array(few)) < 0.05) > 0.8


def test_cutmix_pastes_a_rectangle_and_counts_its_area():
    one, other = made_samples()
    shares = []
    for seed in range(60):
        mixed = CutMix(1.0)(one, other, (seed, 0))
        pasted = (mixed["images"].numpy() == other["images"].numpy()).all(axis=-1)
        rows, columns = pasted.any(axis=1), pasted.any(axis=0)
        np.testing.assert_array_equal(pasted, rows[:, None] & columns)
        np.testing.assert_array_equal(mixed["images"][~pasted], one["images"].numpy()[~pasted])
        share = pasted.mean()
        np.testing.assert_allclose(mixed["labels"], (1 - share, share, 0), atol=1e-6)
        shares.append(share)
    assert min(shares) < 0.05
    assert max(shares) > 0.6


def test_two_of_the_changes_are_drawn():
    add = tuple(
        lambda sample, seed, i=i: {**sample, "images": sample["images"] + 10.0**i} for i in range(3)
    )
    sample = {"images": tf.zeros((1, 1, 3), tf.uint8)}
    drawn = {float(RandomChoice(add)(sample, (seed, 0))["images"][0, 0, 0]) for seed in range(60)}
    assert drawn == {2, 20, 200, 11, 101, 110}


def batches_of(root, recipe):
    """The batches that `pretrain` would train on, through the very function that makes them."""
    data = load_image_folders(root, "train")
    read, crop = frame_reader(data, _CLASS), RandomResizedCrop((32, 32), recipe.area_range)
    augmented = tf.function(_augmented(read, crop, recipe, 2, len(data)))
    drawn = [augmented(tf.constant(i, tf.int64), tf.constant(i, tf.int64)) for i in range(8)]
    return [(image.numpy(), labels.numpy()) for image, labels in drawn]


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}, {"rand_augment": 1.0}],
    ids=str,
)
def test_fields_change_the_batches_and_repeat_them(folders, changes):
    recipe = replace(TINY, **changes)
    drawn, again, plain = (batches_of(folders, r) for r in (recipe, recipe, TINY))
    for (image, labels), (same, same_labels), (other, _) in zip(drawn, again, plain, strict=True):
        np.testing.assert_array_equal(image, same)
        np.testing.assert_array_equal(labels, same_labels)
        assert (image.shape, image.dtype) == ((32, 32, 3), np.float32)
        assert 0 <= image.min() <= image.max() <= 255
        assert labels.sum() == pytest.approx(1, abs=1e-6)
        assert np.abs(image - other).max() > 0 or "rand_augment" not in changes
    soft = any(0 < labels[0] < 1 for _, labels in drawn)
    assert soft == ("rand_augment" not in changes)


def test_the_stream_without_them_stays_as_it_was(folders):
    """Recorded before these fields were there: means of the images, and their classes."""
    drawn = batches_of(folders, TINY)
    recorded = [116.496, 144.867, 101.106, 121.772, 96.896, 127.41, 76.712, 84.868]
    np.testing.assert_allclose([image.mean() for image, _ in drawn], recorded, atol=0.02)
    assert [labels.argmax() for _, labels in drawn] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_an_encoder_is_trained_on_two_folders_with_all_of_them(folders, tmp_path, capsys):
    """By the command, and judged by the command on both."""
    second = shutil.copytree(folders, tmp_path / "second")
    for split in ("train", "val"):
        (second / split / "red").rename(second / split / "green")
    out = tmp_path / "run"
    settings = ["phases=1x32x32", "batch_size=4", "steps_per_epoch=1", "validation_size=32"]
    settings += ["dtype_policy=float32", "mixup=0.2", "cutmix=1", "rand_augment=0.5"]
    command = ["pretrain", "--data", folders, second, "--out", out]
    command += [part for setting in settings for part in ("--set", setting)]
    assert cli.main(list(map(str, command))) == 0
    described = json.loads((out / "run.json").read_text())["data"]
    assert described["classes"] == ["blue", "green", "red"]
    assert (described["train_images"], described["val_images"]) == (16, 8)
    top1 = EpochLog(out / "log.csv").rows[-1]["val_top1"]
    command = ["evaluate", "--data", folders, second, "--variant", "STDC1", "--size", "32"]
    capsys.readouterr()
    assert cli.main([*map(str, command), "--weights", str(out / "best.weights.h5")]) == 0
    assert f"top-1 {100 * top1:.2f} % on 8 images" in capsys.readouterr().out


def test_several_folders_are_for_encoders(folders, capsys):
    assert cli.main(["evaluate", "--data", str(folders), str(folders)]) == 2
    assert "--data takes several folders only for encoders" in capsys.readouterr().err


# Folders


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    for split, name, file in (
        ("train", "b", "1.png"),
        ("train", "a", "2.JPEG"),
        ("train", "a", "1.png"),
        ("val", "b", "9.png"),
        ("val", "a", "9.png"),
    ):
        save(tmp_path / split / name / file, np.full((4, 5, 3), ord(name), np.uint8))
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    data = load_image_folders(tmp_path, "train")
    assert data.classes == ("a", "b")
    assert [(path.parent.name, path.name, label) for path, label in data.files] == [
        ("a", "1.png", 0),
        ("a", "2.JPEG", 0),
        ("b", "1.png", 1),
    ]
    image, label = data[2]
    np.testing.assert_array_equal(image, np.full((4, 5, 3), ord("b"), np.uint8))
    assert (image.dtype, label.dtype, int(label), len(data)) == (np.uint8, np.int64, 1, 3)
    assert [label for _, label in load_image_folders(tmp_path, "val").files] == [0, 1]


def test_the_same_class_in_two_folders_is_one(tmp_path):
    """WebP beside PNG; the classes of either are those of both."""
    first, second = tmp_path / "first", tmp_path / "second"
    for split in ("train", "val"):
        for root, names, ending in ((first, "ac", ".png"), (second, "bc", ".webp")):
            for name in names:
                save(root / split / name / f"0{ending}", np.full((6, 5, 3), ord(name), np.uint8))
    for split in ("train", "val"):
        data = load_image_folders([first, second], split)
        assert (data.name, data.classes) == ("first + second", ("a", "b", "c"))
        assert [(path.relative_to(tmp_path).as_posix(), label) for path, label in data.files] == [
            (f"first/{split}/a/0.png", 0),
            (f"second/{split}/b/0.webp", 1),
            (f"first/{split}/c/0.png", 2),
            (f"second/{split}/c/0.webp", 2),
        ]
        for i, name in enumerate("abcc"):
            np.testing.assert_allclose(data[i][0], ord(name), atol=3)
    shutil.rmtree(second / "val" / "c")
    with raises_naming(second / "val" / "c", "no such file or folder"):
        load_image_folders([first, second], "val")
    with raises_naming("must be different", first, first):
        load_image_folders([first, first / "."], "train")
    with raises_naming(tmp_path / "third", "expected files train/CLASS/IMAGE"):
        load_image_folders([first, tmp_path / "third"], "train")


@pytest.fixture
def tree(tmp_path):
    """Two classes, each with an image in both splits."""
    for split in ("train", "val"):
        for name in ("a", "b"):
            save(tmp_path / split / name / "0.png", np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def raises_naming(*texts):
    return pytest.raises(ValueError, match=".*".join(re.escape(str(text)) for text in texts))


def test_missing_folders_are_named(tmp_path):
    with raises_naming(tmp_path / "nowhere", "expected files train/CLASS/IMAGE"):
        load_image_folders(tmp_path / "nowhere", "train")


def test_one_class_is_too_few(tree):
    shutil.rmtree(tree / "train" / "b")
    with raises_naming(tree, "at least two classes"):
        load_image_folders(tree, "train")


def test_classes_without_images_are_named(tree):
    (tree / "train" / "a" / "0.png").unlink()
    with raises_naming(tree / "train" / "a", "contains no images"):
        load_image_folders(tree, "train")


def test_classes_that_a_split_lacks_are_named(tree):
    shutil.rmtree(tree / "val" / "b")
    with raises_naming(tree / "val" / "b", "no such file or folder"):
        load_image_folders(tree, "val")


def test_classes_that_training_does_not_know_are_named(tree):
    save(tree / "val" / "c" / "0.png", np.zeros((4, 4, 3), np.uint8))
    with raises_naming(tree / "val", "classes that train/ does not have", "['c']"):
        load_image_folders(tree, "val")


def test_a_training_stops_at_an_unreadable_image_and_names_it(folders, tmp_path, monkeypatch):
    """Images are too many to be read through beforehand. The encoder is one of a single layer."""

    def encoder(backbone, input_shape, num_classes, **options):
        image = keras.Input(input_shape)
        scores = keras.layers.Conv2D(num_classes, 1)(image)
        return keras.Model(image, keras.layers.GlobalAveragePooling2D()(scores))

    monkeypatch.setattr(classification, "STDC", encoder)
    root = shutil.copytree(folders, tmp_path / "images")
    bad = root / "train/red/2.png"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"^{bad}: not a readable image"):
        run(root, tmp_path / "run")


def test_unreadable_images_are_named(tree):
    (tree / "train" / "b" / "0.png").write_bytes(b"no image")
    data = load_image_folders(tree, "train")
    with raises_naming(tree / "train" / "b" / "0.png", "not a readable image"):
        data[1]


def test_real_images_are_read(data_root, tmp_path):
    """A few ImageNet images out of the archive, of two classes and both splits."""
    archive = data_root / "imagenet20-128px.tar"
    if not archive.is_file():
        pytest.skip("CROSSCBAM_DATA holds no imagenet20-128px.tar")
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            folder = tuple(member.name.split("/")[:2])
            same_split = {key for key in found if key[0] == folder[0]}
            if not member.isfile() or (folder not in found and len(same_split) == 2):
                continue
            if len(found.setdefault(folder, [])) < 2:
                found[folder].append(member.name)
                tar.extract(member, tmp_path, filter="data")
    for split in ("train", "val"):
        data = load_image_folders(tmp_path, split)
        names = sorted(name for (s, _), files in found.items() if s == split for name in files)
        assert [path.relative_to(tmp_path).as_posix() for path, _ in data.files] == names
        assert [label for _, label in data.files] == [0, 0, 1, 1]
        for i, (path, _) in enumerate(data.files):
            image, _ = data[i]
            assert min(image.shape[:2]) == 128
            np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))
