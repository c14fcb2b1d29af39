"""The shipped weights do what their manifest entries say, in Keras and in ONNX Runtime."""

import importlib
import math
import re
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

import keras_crosscbam as kc
from keras_crosscbam.cli import main
from keras_crosscbam.images import STREET

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
model_cards = importlib.import_module("model_cards")
BUILDERS = {
    "cross_cbam_stdc1": kc.CrossCBAM_M,
    "cross_cbam_stdc2": kc.CrossCBAM_L,
    "stdc1": kc.STDC1,
    "stdc2": kc.STDC2,
}


def entries(figure):
    """Entries of the manifest that give this figure."""
    found = [e for entries in kc.list_weights().values() for e in entries if figure in e]
    return [pytest.param(e, id=f"{e['name']}-{e['architecture']}") for e in found]


def build(entry):
    return BUILDERS[entry["architecture"]](weights=entry["name"], input_shape=(None, None, 3))


def test_weights_that_ship():
    shipped = kc.list_weights()
    found = {name: {entry["architecture"] for entry in shipped[name]} for name in shipped}
    assert found == {
        "camvid": {"cross_cbam_stdc1", "cross_cbam_stdc2"},
        "camvid-scratch": {"cross_cbam_stdc1"},
        "imagenet20": {"stdc1", "stdc2"},
    }


@pytest.mark.parametrize("variant", ["M1", "L1", "M2", "L2", "M", "L"])
def test_every_variant_loads_them_at_its_size(variant):
    model = getattr(kc, f"CrossCBAM_{variant}")(weights="camvid")
    assert model.output_shape[-1] == len(model.classes) == 11


def unpack_imagenet20(data_root, folder, most):
    """So many validation images of each class, and one of the others: they only name the class."""
    with tarfile.open(data_root / "imagenet20-128px.tar") as archive:
        counts, wanted = Counter(), []
        for member in archive:
            parent, _, _ = member.name.rpartition("/")
            if member.isfile() and counts[parent] < (most if "val" in parent.split("/") else 1):
                wanted.append(member)
            counts[parent] += member.isfile()
        archive.extractall(folder, wanted, filter="data")


@pytest.fixture(scope="module")
def imagenet20(data_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet20")
    unpack_imagenet20(data_root, folder, math.inf)
    return folder


def top1(entry, folder, capsys):
    """In per cent, by the command that users have; and the number of images."""
    command = ["evaluate", "--variant", entry["architecture"].upper(), "--data", str(folder)]
    assert main([*command, "--weights", entry["name"]]) == 0
    said = re.search(r"top-1 ([\d.]+) % on (\d+) images", capsys.readouterr().out)
    return float(said[1]), int(said[2])


@pytest.mark.slow
@pytest.mark.parametrize("entry", entries("val_top1"))
def test_top1_of_encoders(entry, imagenet20, capsys):
    """One image of 1,000 may fall otherwise by rounding."""
    measured, images = top1(entry, imagenet20, capsys)
    assert images == entry["val_images"]
    assert measured == pytest.approx(100 * entry["val_top1"], abs=0.2)


def test_an_encoder_knows_most_of_a_few_images(data_root, tmp_path, capsys):
    unpack_imagenet20(data_root, tmp_path, 3)
    measured, images = top1(kc.list_weights()["imagenet20"][0], tmp_path, capsys)
    assert images == 60
    assert measured > 50


def check(result, expected):
    """To a hundredth of a point: rounding differs between processors, results do not."""
    assert result["frames"] == expected["val_frames"]
    assert result["mean_iou"] == pytest.approx(expected["val_mean_iou"], abs=1e-4)
    assert result["pixel_accuracy"] == pytest.approx(expected["val_pixel_accuracy"], abs=1e-4)
    assert result["iou"] == pytest.approx(expected["val_iou"], abs=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("entry", entries("val_iou"))
def test_validation_figures_through_onnx(entry, data_root, tmp_path):
    """Of a file that gives Keras' labels on some of the frames, or it would not be written."""
    data = kc.datasets.load_camvid(data_root / "camvid-480x360", "val")
    file, size = tmp_path / "model.onnx", tuple(entry["input_size"])
    frames = [image for image, _ in data.pairs[::20]]
    print(kc.export.to_onnx(build(entry), file, input_size=size, frames=frames))
    check(kc.evaluate(file, data, size), entry)


@pytest.mark.parametrize("entry", entries("val_iou"))
def test_a_network_does_well_on_a_few_frames(entry, data_root):
    frames = kc.datasets.load_camvid(data_root / "camvid-480x360", "val").subset([0, 50, 100])
    assert kc.evaluate(build(entry), frames)["mean_iou"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("entry", entries("val_iou"))
def test_validation_figures_in_keras(entry, data_root):
    model, size = build(entry), tuple(entry["input_size"])
    folders = {"camvid-480x360": entry, "camvid-960x720-val": entry["val_full_size"]}
    for folder, expected in folders.items():
        data = kc.datasets.load_camvid(data_root / folder, "val")
        check(kc.evaluate(model, data, size), expected)


def test_photograph_of_a_street_shows_a_street():
    """A golden result that no rounding changes: what covers this picture, largest first."""
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))
    labels = kc.segment(model, STREET, size=360)
    shares = kc.visualize.class_shares(labels, model.classes)
    assert list(shares)[:2] == ["Building", "Sky"]
    assert shares["Road"] + shares["Pavement"] > 0.15


def test_model_cards_are_those_of_the_manifest():
    """`python tools/model_cards.py` writes them again."""
    written = {path.name: path.read_text("utf-8") for path in model_cards.FOLDER.glob("*.md")}
    assert written == model_cards.cards()


def test_test_figures_are_those_that_were_measured():
    """By others, on the withheld frames; mean IoU and the classes agree where both are given."""
    figures = {
        (entry["name"], entry["architecture"]): entry["test_mean_iou"]
        for entries in kc.list_weights().values()
        for entry in entries
        if "test_mean_iou" in entry
    }
    assert figures == {
        ("camvid", "cross_cbam_stdc1"): 0.6365,
        ("camvid", "cross_cbam_stdc2"): 0.6437,
        ("camvid-scratch", "cross_cbam_stdc1"): 0.5718,
    }
    (m, _) = kc.list_weights()["camvid"]
    assert list(m["test_iou"]) == list(m["val_iou"])
    assert sum(m["test_iou"].values()) / 11 == pytest.approx(m["test_mean_iou"], abs=5e-4)


def test_cards_say_how_it_does_on_unseen_roads():
    """And say so where the test frames have not been evaluated yet."""
    (m, large) = kc.list_weights()["camvid"]
    by_class = "Pole 29.1, Road 94.2"
    assert "mean IoU **63.65**" in model_cards.card(m).replace("\n", " ")
    assert by_class in model_cards.card(m)
    assert "mean IoU **64.37**" in model_cards.card(large).replace("\n", " ")
    assert "By class" not in model_cards.card(large)
    assert "have not been evaluated yet" in model_cards.card({**m, "test_mean_iou": None})


def test_cards_of_weights_that_were_trained_on_the_validation_frames_too():
    (m, _) = kc.list_weights()["camvid"]
    trained_on_all = {name: value for name, value in m.items() if not name.startswith("val_")}
    drives = {"0006R0": ("Sky", 0.9), "0016E5": ("Pole", 0.25)}
    held_out = {
        drive: {"frames": 7, "mean_iou": 0.5, "pixel_accuracy": 0.8, "iou": {name: iou}}
        for drive, (name, iou) in drives.items()
    }
    card = model_cards.card({**trained_on_all, "held_out": held_out, "val_curve": {}})
    assert "| | 0006R0 (7 frames) | 0016E5 (7 frames) |" in card
    assert "| Sky | 90.0 | none |\n| Pole | none | 25.0 |" in card
    assert "validation frames, single scale" not in card


def test_the_list_names_the_figure_on_test_frames(capsys):
    assert main(["list"]) == 0
    assert "camvid for cross_cbam_stdc1: test mIoU 63.65 %" in capsys.readouterr().out
