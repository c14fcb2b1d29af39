"""Cityscapes against cityscapesScripts: its class table, its evaluation, its search for results."""

import argparse
import re

import keras
import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from cityscapesscripts.helpers.labels import labels as official_labels
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.classes import CITYSCAPES_IDS
from keras_crosscbam.datasets import (
    CITYSCAPES_CLASSES,
    IGNORE,
    load_cityscapes,
    load_dataset,
    split_images,
)
from keras_crosscbam.label_files import write_predictions

SIZE = (48, 96)
NAMES = ("bonn/bonn_000000_000019", "bonn/bonn_000001_000019", "ulm/ulm_000002_000019")
TRAIN = CITYSCAPES_CLASSES.names.index("train")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def image_file(root, split, name):
    return root / f"leftImg8bit/{split}/{name}_leftImg8bit.png"


def mask_file(root, split, name, kind="labelIds"):
    return root / f"gtFine/{split}/{name}_gtFine_{kind}.png"


def tree(root, split="val", names=NAMES, ids=None, kind="labelIds"):
    """Frames of colored noise whose masks are blocks of random ids, of 0..33 unless given."""
    rng = np.random.default_rng(5)
    height, width = SIZE
    ids = [i for i in range(34) if i != CITYSCAPES_IDS[TRAIN]] if ids is None else ids
    for name in names:
        noise = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        picture = Image.fromarray(noise).resize((width, height), Image.BICUBIC)
        save(image_file(root, split, name), np.asarray(picture))
        blocks = rng.choice(np.array(ids, np.uint8), (height // 6, width // 6))
        save(mask_file(root, split, name, kind), blocks.repeat(6, axis=0).repeat(6, axis=1))
    return root


@pytest.fixture(scope="module")
def shrinking_model():
    """A network of 19 classes fixed to half the frames' size that never says "train"."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((24, 48, 3))
    x = keras.layers.Rescaling(1 / 64, offset=-2)(inputs)
    outputs = keras.layers.Conv2D(19, 3, padding="same", kernel_initializer="he_normal")(x)
    model = keras.Model(inputs, outputs, name="shrinking")
    kernel, bias = model.layers[-1].get_weights()
    bias[TRAIN] = -1e6
    model.layers[-1].set_weights([kernel, bias])
    model.classes = CITYSCAPES_CLASSES
    return model


# The class table


def test_classes_and_label_ids_are_the_official_ones():
    evaluated = [label for label in official_labels if not label.ignoreInEval]
    assert sorted(evaluated, key=lambda label: label.trainId) == evaluated
    assert tuple(label.name for label in evaluated) == CITYSCAPES_CLASSES.names
    assert tuple(label.color for label in evaluated) == CITYSCAPES_CLASSES.colors
    assert tuple(label.id for label in evaluated) == CITYSCAPES_IDS
    assert kc.datasets.CLASS_TABLES["cityscapes"] is CITYSCAPES_CLASSES


def test_every_official_id_becomes_its_train_id(tmp_path):
    ids = np.array([label.id for label in official_labels] + [34]).astype(np.uint8)
    assert ids.tolist().count(255) == 1  # the license plate's -1
    # Train ids of what does not count are 255 and -1.
    wanted = [label.trainId % 256 for label in official_labels] + [IGNORE]
    tree(tmp_path, names=NAMES[:1])
    save(mask_file(tmp_path, "val", NAMES[0]), ids[None])
    save(image_file(tmp_path, "val", NAMES[0]), np.zeros((1, ids.size, 3), np.uint8))
    assert load_cityscapes(tmp_path, "val")[0][1].tolist() == [wanted]


@pytest.mark.parametrize("stray", [35, 254])
def test_stray_ids_are_named(tmp_path, stray):
    tree(tmp_path, ids=[7, stray])
    with pytest.raises(ValueError, match=rf"bonn_000000_000019_gtFine_labelIds.png.*\[{stray}\]"):
        load_cityscapes(tmp_path, "val")[0]


# The layout


def test_pairs_in_the_order_of_their_names(tmp_path):
    tree(tmp_path, names=NAMES[::-1])
    data = load_cityscapes(tmp_path, "val")
    assert data.name == "cityscapes"
    assert data.pairs == tuple(
        (image_file(tmp_path, "val", name), mask_file(tmp_path, "val", name)) for name in NAMES
    )
    assert load_dataset(tmp_path, "val") == data


def test_other_files_of_the_archives_are_passed_over(tmp_path):
    tree(tmp_path)
    for kind in ("color", "instanceIds", "labelTrainIds"):
        save(mask_file(tmp_path, "val", NAMES[0], kind), np.zeros(SIZE, np.uint8))
    mask_file(tmp_path, "val", NAMES[0]).with_name("._x_gtFine_labelIds.png").write_bytes(b"")
    (tmp_path / "leftImg8bit/val/bonn/Thumbs.db").write_bytes(b"")
    data = load_cityscapes(tmp_path, "val")
    assert [mask for _, mask in data.pairs] == [mask_file(tmp_path, "val", name) for name in NAMES]


def test_converted_masks_where_there_are_no_others(tmp_path):
    tree(tmp_path, ids=[*range(19), 255], kind="labelTrainIds")
    data = load_cityscapes(tmp_path, "val")
    for (_, labels), (_, mask) in zip(data, data.pairs, strict=True):
        np.testing.assert_array_equal(labels, np.asarray(Image.open(mask)))


def test_unpaired_frames_are_named_in_one_error(tmp_path):
    tree(tmp_path)
    image_file(tmp_path, "val", NAMES[0]).unlink()
    mask_file(tmp_path, "val", NAMES[1]).unlink()
    mask_file(tmp_path, "val", NAMES[2]).unlink()
    # A converted mask does not stand in for one among others that are not.
    save(mask_file(tmp_path, "val", NAMES[2], "labelTrainIds"), np.zeros(SIZE, np.uint8))
    message = (
        f"{tmp_path}: in the val split 1 frames lack their image: {NAMES[0]}; "
        f"2 frames lack their mask: {NAMES[1]}, {NAMES[2]}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_cityscapes(tmp_path, "val")


def test_unknown_and_empty_splits(tmp_path):
    tree(tmp_path)
    with pytest.raises(ValueError, match=r"must be one of .*Received: 'validation'"):
        load_cityscapes(tmp_path, "validation")
    with pytest.raises(ValueError, match="the train split has no frames here"):
        load_cityscapes(tmp_path, "train")


# Evaluation and results


def official_scores(results, root, monkeypatch):
    """What cityscapesScripts make of a folder of results, found in their way."""
    arguments = argparse.Namespace(**vars(evalPixelLevelSemanticLabeling.args))
    arguments.evalInstLevelScore = arguments.JSONOutput = False
    arguments.quiet = True
    arguments.predictionPath = arguments.predictionWalk = None
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(results))
    truth = sorted(map(str, (root / "gtFine/val").glob("*/*_gtFine_labelIds.png")))
    predictions = [evalPixelLevelSemanticLabeling.getPrediction(arguments, file) for file in truth]
    return evalPixelLevelSemanticLabeling.evaluateImgLists(predictions, truth, arguments)


def test_evaluation_equals_that_of_cityscapesscripts(tmp_path, shrinking_model, monkeypatch):
    tree(tmp_path)
    data = load_cityscapes(tmp_path, "val")
    ours = kc.evaluate(shrinking_model, data)
    write_predictions(shrinking_model, data, tmp_path / "results", CITYSCAPES_IDS)
    theirs = official_scores(tmp_path / "results", tmp_path, monkeypatch)
    per_class = [theirs["classScores"][name] for name in CITYSCAPES_CLASSES.names]
    np.testing.assert_allclose(list(ours["iou"].values()), per_class, rtol=0, atol=1e-12)
    assert ours["mean_iou"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-12)
    # The comparison has figures to compare, and a class that neither side counts.
    assert np.flatnonzero(np.isnan(per_class)).tolist() == [TRAIN]
    assert np.sum(np.array(per_class) > 0) > 9


def test_logits_are_resized_before_the_argmax(tmp_path, shrinking_model):
    """PyTorch's resize is the reference; the labels of the small logits, enlarged, differ."""
    tree(tmp_path)
    files = write_predictions(shrinking_model, split_images(tmp_path, "val"), tmp_path / "out")
    for (image, _), file in zip(load_cityscapes(tmp_path, "val"), files, strict=True):
        small = Image.fromarray(image).resize((48, 24), Image.BILINEAR)
        logits = shrinking_model.predict_on_batch(np.asarray(small, np.float32)[None])
        logits = torch.tensor(logits).permute(0, 3, 1, 2)
        full = torch.nn.functional.interpolate(logits, SIZE, mode="bilinear").argmax(1)[0]
        late = torch.nn.functional.interpolate(logits.argmax(1)[None].float(), SIZE)[0, 0]
        written = np.asarray(Image.open(file))
        assert np.mean(written == full.numpy()) > 0.999
        assert np.mean(written == late.numpy()) < 0.95


def test_results_are_8_bit_pngs_of_label_ids_at_the_images_size(tmp_path, shrinking_model):
    image = save(tmp_path / "berlin_000000_000019_leftImg8bit.png", np.zeros((31, 57, 3), np.uint8))
    (plain,) = write_predictions(shrinking_model, [image], tmp_path / "plain")
    (ids,) = write_predictions(shrinking_model, [str(image)], tmp_path / "ids", CITYSCAPES_IDS)
    assert ids == tmp_path / "ids/berlin_000000_000019_leftImg8bit.png"
    with Image.open(plain) as labels, Image.open(ids) as label_ids:
        assert (label_ids.format, label_ids.mode, label_ids.size) == ("PNG", "L", (57, 31))
        expected = kc.segment(shrinking_model, image)
        np.testing.assert_array_equal(np.asarray(labels), expected)
        np.testing.assert_array_equal(np.asarray(label_ids), np.array(CITYSCAPES_IDS)[expected])


@pytest.mark.parametrize("masks", ["void", "absent"])
def test_the_test_split_is_predicted_without_its_masks(tmp_path, shrinking_model, masks):
    tree(tmp_path, split="test", ids=[0])
    if masks == "absent":
        for name in NAMES:
            mask_file(tmp_path, "test", name).unlink()
        with pytest.raises(ValueError, match="3 frames lack their mask"):
            load_cityscapes(tmp_path, "test")
    else:
        assert all((labels == IGNORE).all() for _, labels in load_cityscapes(tmp_path, "test"))
    images = split_images(tmp_path, "test")
    assert images == tuple(image_file(tmp_path, "test", name) for name in NAMES)
    written = write_predictions(shrinking_model, images, tmp_path / "results", CITYSCAPES_IDS)
    assert [file.name for file in written] == [image.name for image in images]
    assert {i for file in written for i in np.unique(Image.open(file))} <= set(CITYSCAPES_IDS)


def test_images_of_a_split_must_be_there(tmp_path):
    tree(tmp_path)
    image_file(tmp_path, "val", NAMES[1]).unlink()
    mask_file(tmp_path, "val", NAMES[0]).unlink()
    with pytest.raises(ValueError, match=f"1 frames lack their image: {NAMES[1]}$"):
        split_images(tmp_path, "val")
    with pytest.raises(ValueError, match="the test split has no frames here"):
        split_images(tmp_path, "test")


@pytest.mark.parametrize(
    ("images", "label_ids", "message"),
    [
        (["a/x.png", "b/x.jpg"], None, "a/x.png and b/x.jpg would both be written to"),
        (["x.png"], range(11), "for each of the 19 classes.*Received: 11 ids"),
        (["x.png"], [256, *range(18)], r"numbers of 0..255. Received: \[256"),
        (["x.png"], None, "x.png: no such file"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, shrinking_model, images, label_ids, message):
    with pytest.raises(ValueError, match=message):
        write_predictions(shrinking_model, images, tmp_path / "out", label_ids)
    assert not list((tmp_path / "out").glob("*"))
