"""The doctor finds every fault of a data set that was put there, and none in sound ones."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from png_file import PALETTE as OF_PALETTE
from png_file import grays_as_palette, png

from keras_crosscbam.datasets import IGNORE, ColorEncoding, IndexEncoding, load_dataset
from keras_crosscbam.datasets.augment import RandomScaleCrop
from keras_crosscbam.datasets.inspection import _FAULTS
from keras_crosscbam.datasets.label_statistics import (
    balanced_weights,
    decode_leniently,
    random_crop_is_empty,
)
from keras_crosscbam.doctor import inspect_dataset, report

DOCS = Path(__file__).parents[1] / "docs" / "own-data.md"
PALETTE = np.array([(10, 20, 30), (40, 50, 60), (70, 80, 90)], np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def image_of(number):
    return np.full((20, 30, 3), number, np.uint8)


def labels_of_thirds():
    """Classes 0, 1, 2 on a third of the pixels each, but for a row of ignored ones."""
    labels = np.repeat(np.arange(3, dtype=np.uint8), 10)[None].repeat(20, axis=0)
    labels[0] = IGNORE
    return labels


def tree(root, masks, mask, **fields):
    """Four frames to train on and two to judge by, with one and the same mask."""
    for number, name in enumerate(("train/0", "train/1", "train/2", "train/3", "val/4", "val/5")):
        save(root / f"images/{name}.png", image_of(number))
        save(root / f"masks/{name}.png", mask)
    classes = [{"name": f"c{i}", "color": color} for i, color in enumerate(PALETTE.tolist())]
    content = {"name": "mine", "masks": masks, "classes": classes, **fields}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content))
    return root


@pytest.fixture
def ids_tree(tmp_path):
    return tree(tmp_path, "ids", labels_of_thirds())


@pytest.fixture
def colors_tree(tmp_path):
    labels = labels_of_thirds()
    mask = np.where(labels[..., None] == IGNORE, np.uint8(0), PALETTE[labels % 3])
    return tree(tmp_path, "colors", mask, ignore=[[0, 0, 0]])


def messages(findings, level):
    return [finding.message for finding in findings.findings if finding.level == level]


def only_error(root):
    """The one error of a data set that has one."""
    findings = inspect_dataset(root)
    assert not findings.ok
    (error,) = messages(findings, "error")
    assert f"error: {error}" in report(findings)
    assert "not ready to train (errors: 1" in report(findings)
    return error


# Sound data


@pytest.mark.parametrize("masks", ["ids_tree", "colors_tree"])
def test_sound_data(request, masks):
    root = request.getfixturevalue(masks)
    findings = inspect_dataset(root)
    assert findings.findings == ()
    assert findings.ok
    train, val = findings.splits
    assert (train.split, train.frames, train.sizes) == ("train", 4, {(20, 30): 4})
    assert (val.split, val.frames, val.sizes) == ("val", 2, {(20, 30): 2})
    assert train.counts.tolist() == [4 * 190] * 3
    assert val.counts.tolist() == [2 * 190] * 3
    assert (train.pixels, val.pixels) == (4 * 600, 2 * 600)
    assert (train.empty_crops, val.empty_crops) == (0, None)
    np.testing.assert_allclose(findings.class_weights, 1)
    text = report(findings)
    assert "train: 4 frames (4 of 30x20)\n  95.0 % of the pixels labeled" in text
    assert re.search(r"^c2 +33\.333 % +33\.333 % +1\.00$", text, re.MULTILINE)
    assert text.endswith("ready to train (errors: 0, warnings: 0)")


def test_real_camvid_is_sound(data_root, tmp_path):
    """Every tenth line of the published lists; the counts are those of the loader."""
    source, root = data_root / "camvid-480x360", tmp_path / "CamVid"
    root.mkdir()
    for folder in ("train", "trainannot", "val", "valannot"):
        (root / folder).symlink_to(source / folder)
    for split in ("train", "val"):
        lines = (source / f"{split}.txt").read_text().splitlines()[::10]
        (root / f"{split}.txt").write_text("\n".join(lines))
    findings = inspect_dataset(root)
    assert findings.ok
    for summary in findings.splits:
        data = load_dataset(root, summary.split)
        counts = sum(np.bincount(labels.ravel(), minlength=256)[:11] for _, labels in data)
        assert summary.counts.tolist() == counts.tolist()
        assert summary.sizes == {(360, 480): len(data)}


# Errors


def test_all_faults_at_once_and_none_stops_the_others(ids_tree):
    (ids_tree / "masks/train/0.png").unlink()
    (ids_tree / "images/train/1.png").write_bytes(b"")
    save(ids_tree / "masks/train/2.png", np.full((20, 30), 7, np.uint8))
    save(ids_tree / "masks/val/4.png", labels_of_thirds()[:19])
    errors = messages(inspect_dataset(ids_tree), "error")
    expected = (
        "in the train split 1 frames lack their mask: 0",
        "train: unreadable files, 1 in 4 frames: .*images/train/1.png: not a readable image",
        r"train: ids that belong to no class, 1 masks in 4 frames: 7 \(33 % .*masks/train/2.png",
        r"val: masks that differ in size .*masks/val/4.png \(30x19, its image 30x20\)",
    )
    assert len(errors) == len(expected)
    for error, pattern in zip(errors, expected, strict=True):
        assert re.search(pattern, error)


def test_strays_are_counted(ids_tree):
    mask = labels_of_thirds()
    mask[1:4, 0] = 9
    save(ids_tree / "masks/train/0.png", mask)
    mask[4:20, 0] = 4
    save(ids_tree / "masks/train/3.png", mask)
    error = only_error(ids_tree)
    # 16 and 6 of 2400 pixels.
    assert "train: ids that belong to no class, 2 masks in 4 frames: " in error
    assert "4 (0.67 % of the pixels, masks: 1), 9 (0.25 % of the pixels, masks: 2)" in error


def test_stray_colors(colors_tree):
    mask = np.asarray(Image.open(colors_tree / "masks/val/4.png")).copy()
    mask[5:7, 3:6] = (1, 2, 3)
    save(colors_tree / "masks/val/4.png", mask)
    error = only_error(colors_tree)
    assert "val: colors that belong to no class, 1 masks in 2 frames: (1, 2, 3) (0.5 %" in error


def test_masks_of_colors_where_ids_are_expected(ids_tree):
    save(ids_tree / "masks/val/5.png", PALETTE[labels_of_thirds() % 3])
    assert re.search(
        r"val: masks of colors .*`masks: colors`.*, 1 in 2 .*5.png", only_error(ids_tree)
    )


def test_masks_of_ids_where_colors_are_expected(colors_tree):
    save(colors_tree / "masks/val/5.png", labels_of_thirds())
    assert re.search(
        r"val: masks of one channel .*`masks: ids`.*, 1 in 2 .*5.png", only_error(colors_tree)
    )


@pytest.mark.parametrize("offset", [0, 3])
def test_gray_in_three_channels(ids_tree, offset):
    mask = labels_of_thirds()[1:].repeat(3).reshape(19, 30, 3) + np.uint8([0, offset, 0])
    save(ids_tree / "masks/val/5.png", np.concatenate([mask[:1], mask]))
    assert re.search(r"val: masks with ids as gray .*, 1 in 2 .*5.png", only_error(ids_tree))


@pytest.mark.parametrize("name", ["5.jpg", "5.png"])
def test_masks_in_jpeg_whatever_their_name(ids_tree, name):
    (ids_tree / "masks/val/5.png").unlink()
    save(ids_tree / f"masks/val/{name}", np.zeros((20, 30), np.uint8), format="JPEG")
    assert re.search(rf"val: masks in JPEG.* 1 in 2 frames: .*{name}", only_error(ids_tree))


def test_jpeg_of_colors_makes_strays(colors_tree):
    mask = np.asarray(Image.open(colors_tree / "masks/val/5.png"))
    save(colors_tree / "masks/val/5.png", mask, format="JPEG")
    errors = messages(inspect_dataset(colors_tree), "error")
    assert [error.split(",")[0] for error in errors] == [
        "val: masks in JPEG",
        "val: colors that belong to no class",
    ]
    assert " more; for example in" in errors[1]


def test_masks_of_unclear_ids(ids_tree):
    for name in ("train/0", "train/3"):
        (ids_tree / f"masks/{name}.png").write_bytes(png(labels_of_thirds() % 2, 1))
    error = only_error(ids_tree)
    assert "train: masks of which it is not clear what the ids are, 2 in 4 frames: " in error
    assert re.search(r"0.png: stores the numbers \[0, 1\] .* grays \[0, 255\].*, .*3.png$", error)


def test_palettes_that_differ(ids_tree):
    for name, palette in (("4", PALETTE), ("5", PALETTE[::-1])):
        content = png(labels_of_thirds() % 3, 2, OF_PALETTE, palette)
        (ids_tree / f"masks/val/{name}.png").write_bytes(content)
    assert re.match(
        r"val: the palettes of masks are different, .* index 0 is \(10, 20, 30\) in .*4.png and "
        r"\(70, 80, 90\) in .*5.png. Write `masks: colors` .*`masks: indices`",
        only_error(ids_tree),
    )


def test_masks_of_floating_point_numbers(ids_tree):
    (ids_tree / "masks/val/5.png").unlink()
    save(ids_tree / "masks/val/5.tif", labels_of_thirds().astype(np.float32))
    error = only_error(ids_tree)
    assert re.match(
        r"val: files with content that .*, 1 in 2 .*5.tif: contains floating-point", error
    )


def test_images_of_a_smaller_range(ids_tree):
    for name in "13":
        dark = np.arange(600, dtype=np.uint16).reshape(20, 30)
        save(ids_tree / f"images/train/{name}.png", dark + int(name))
    error = only_error(ids_tree)
    assert re.match(
        r"train: images of more than 8 bits whose range is not known, 2 in 4 frames: .*1.png: "
        r"contains only values of 1..600, .*black.*0 1023, .*, .*train/3.png$",
        error,
    )
    with (ids_tree / "dataset.yaml").open("a") as file:
        file.write("range: [0, 1023]\n")
    assert inspect_dataset(ids_tree).findings == ()
    image = load_dataset(ids_tree, "train").subset([1])[0][0]
    assert image[0, :, 1].tolist() == [round(255 * value / 1023) for value in range(1, 31)]


def test_nothing_is_labeled(ids_tree):
    for name in "45":
        save(ids_tree / f"masks/val/{name}.png", np.full((20, 30), IGNORE, np.uint8))
    assert only_error(ids_tree) == "val: no pixel is labeled"


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_split(ids_tree, split):
    shutil.rmtree(ids_tree / "images" / split)
    findings = inspect_dataset(ids_tree)
    assert [summary.split for summary in findings.splits] == [
        {"train": "val", "val": "train"}[split]
    ]
    assert f"Received: '{split}'" in only_error(ids_tree)
    assert (findings.class_weights is None) == (split == "train")


def test_faults_of_the_whole_folder_are_told_once(tmp_path, ids_tree):
    (ids_tree / "dataset.yaml").write_text("name: mine\nclasses: 3\n")
    assert only_error(ids_tree).endswith("classes must be a list. Received: 3")
    assert "no data set" in only_error(tmp_path / "nowhere")


def test_lists_of_camvid(tmp_path):
    for split in ("train", "val"):
        save(tmp_path / f"{split}annot/a.png", np.arange(12, dtype=np.uint8).reshape(3, 4))
        save(tmp_path / f"{split}/a.png", image_of(len(split))[:3, :4])
    (tmp_path / "train.txt").write_text("train/a.png trainannot/a.png\nb.png\nc.png d.png\n")
    (tmp_path / "val.txt").write_text("val/a.png valannot/a.png\n")
    findings = inspect_dataset(tmp_path)
    errors = messages(findings, "error")
    assert len(errors) == 2
    assert re.search("line 2: expected an image and a mask", errors[0])
    assert re.search("lack their image: .*line 3 .*lack their mask: .*line 3", errors[1])
    assert findings.splits[0].counts.tolist() == [1] * 11


@pytest.mark.parametrize("fault", _FAULTS.values())
def test_every_kind_of_faulty_file_is_documented(fault):
    assert f"`{fault.partition(' (')[0].partition(',')[0]}`" in DOCS.read_text()


# Warnings


def test_classes_that_training_never_sees(ids_tree):
    for name in "0123":
        save(ids_tree / f"masks/train/{name}.png", labels_of_thirds() % 2)
    save(ids_tree / "masks/val/4.png", np.zeros((20, 30), np.uint8))
    findings = inspect_dataset(ids_tree)
    assert findings.ok
    assert messages(findings, "warning") == [
        "train: never labeled, so not trained: c2",
        "val: contains classes that train lacks: c2",
    ]
    assert re.search(r"^c2 +never +16\.\d+ %$", report(findings), re.MULTILINE)


def test_images_in_both_splits(ids_tree):
    shutil.copy(ids_tree / "images/train/2.png", ids_tree / "images/val/5.png")
    (warning,) = messages(inspect_dataset(ids_tree), "warning")
    assert re.match(r"val: 1 images are also in train.*images/val/5.png$", warning)


def test_masks_with_another_orientation_than_their_images(ids_tree):
    """A frame with both tags is sound, one with neither as well."""
    exif = Image.Exif()
    exif[0x0112] = 3
    # Neither the first frame nor, with its mask tagged too, the second one.
    for name in ("train/1", "train/2", "train/3", "val/4"):
        save(ids_tree / f"images/{name}.png", image_of(int(name[-1])), exif=exif)
    save(ids_tree / "masks/train/1.png", labels_of_thirds(), exif=exif)
    save(ids_tree / "masks/val/5.png", labels_of_thirds(), exif=exif)
    findings = inspect_dataset(ids_tree)
    assert findings.ok
    train, val = messages(findings, "warning")
    assert re.match(
        r"train: masks with another EXIF orientation than their images, 2 in 4 frames: "
        r"\S*train/2.png \(1, its image 3\), \S*train/3.png \(1, its image 3\)\. Each file",
        train,
    )
    assert re.search(r" 2 in 2 frames: \S*4.png \(1, its image 3\), \S*5.png \(3, .* 1\)", val)


def test_crops_without_a_label(ids_tree):
    mask = np.full((20, 30), IGNORE, np.uint8)
    mask[:, :15] = np.arange(15) % 3
    for name in "0123":
        save(ids_tree / f"masks/train/{name}.png", mask)
    findings = inspect_dataset(ids_tree, crop_size=(4, 4), scale_range=(1, 1))
    # A window of 4 columns starts at one of 27, and at 15 or later misses the labels: 12 of 27.
    assert findings.splits[0].empty_crops == pytest.approx(12 / 27, abs=0.08)
    again = inspect_dataset(ids_tree, crop_size=(4, 4), scale_range=(1, 1))
    assert report(again) == report(findings)
    assert re.match(r"train: 4\d % of random crops", messages(findings, "warning")[0])
    assert inspect_dataset(ids_tree).findings == ()


# Figures


def test_how_the_masks_are_stored(ids_tree):
    labels = labels_of_thirds()
    numbers = labels % 3
    (ids_tree / "masks/train/0.png").write_bytes(grays_as_palette(labels))
    (ids_tree / "masks/train/1.png").write_bytes(png(numbers, 2, OF_PALETTE, PALETTE))
    findings = inspect_dataset(ids_tree)
    assert findings.ok
    kinds = ["palette of grays whose grays are the ids"]
    kinds += ["palette of colors whose indices are the ids"]
    assert findings.splits[0].mask_kinds == {"8-bit gray": 2, **dict.fromkeys(kinds, 1)}
    assert f"\n  masks: 2 8-bit gray, 1 {kinds[0]}, 1 {kinds[1]}\n" in report(findings)
    # In the second mask the ignored row is of class 0.
    assert findings.splits[0].counts.tolist() == [4 * 190 + 30, 4 * 190, 4 * 190]


def test_crops_are_drawn_as_in_training(rng):
    labels = np.full((40, 60), IGNORE, np.uint8)
    labels[30:, 50:] = 0
    settings_ = (24, 36), (0.4, 2.0)
    ours = np.mean([random_crop_is_empty(labels, *settings_, rng) for _ in range(2000)])
    crop = RandomScaleCrop(*settings_)
    sample = {
        "images": tf.zeros((40, 60, 3), tf.float32),
        "segmentation_masks": tf.constant(labels),
    }
    crops = tf.data.Dataset.range(2000).map(
        lambda i: crop(sample, tf.stack([i, tf.constant(0, tf.int64)]))["segmentation_masks"]
    )
    theirs = np.mean([(crop == IGNORE).all() for crop in crops.as_numpy_iterator()])
    assert 0.2 < theirs < 0.8
    # Three standard deviations of the difference of two such shares.
    assert ours == pytest.approx(theirs, abs=0.05)


def test_empty_crops_depend_on_labels_alone(rng):
    void, full = np.full((5, 7), IGNORE, np.uint8), np.zeros((5, 7), np.uint8)
    for crop_size, scale_range in [((1, 1), (0.01, 0.02)), ((9, 9), (0.5, 2)), ((3, 2), (4, 4))]:
        assert random_crop_is_empty(void, crop_size, scale_range, rng)
        assert not random_crop_is_empty(full, crop_size, scale_range, rng)


@settings(deadline=None, max_examples=50)
@given(
    counts=arrays(np.int64, st.integers(2, 20), elements=st.integers(0, 10**10)).filter(np.any),
    exponent=st.floats(0, 1),
)
def test_balanced_weights(counts, exponent):
    weights = balanced_weights(counts, exponent)
    assert np.average(weights, weights=counts) == pytest.approx(1)
    # Two classes' weights are to each other as their shares, to the exponent.
    shares = np.maximum(counts / counts.sum(), 1e-6)
    np.testing.assert_allclose(weights * shares**exponent, (weights * shares**exponent)[0])


def test_balanced_weights_need_labels():
    with pytest.raises(ValueError, match="No pixel of the data is labeled"):
        balanced_weights([0, 0], 0.5)


@pytest.mark.parametrize("kind", [IndexEncoding, ColorEncoding])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_lenient_decoding(kind, data):
    """Pixel by pixel through a dict; without strays it is the strict decoding."""
    values = (
        range(256) if kind is IndexEncoding else [(r, 7, b) for r in (0, 255) for b in range(9)]
    )
    table = data.draw(st.dictionaries(st.sampled_from(values), st.integers(0, 254), min_size=1))
    mask = data.draw(arrays(np.int64, (4, 5), elements=st.integers(0, len(values) - 1)))
    pixels = [values[i] for i in mask.ravel()]
    array = np.array(pixels, np.uint8).reshape(*mask.shape, *np.shape(values[0]))
    labels, unknown = decode_leniently(array, kind(table))
    assert labels.ravel().tolist() == [table.get(value, IGNORE) for value in pixels]
    assert unknown == {v: pixels.count(v) for v in pixels if v not in table}
