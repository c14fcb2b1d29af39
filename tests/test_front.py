"""The front: what is trained and timed, and what its table and picture say."""

import dataclasses
import doctest
import importlib
import json
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_hold_out import make_drives

import keras_crosscbam as kc
from keras_crosscbam.benchmark.statistics import Interval
from keras_crosscbam.datasets import CAMVID_CLASSES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
front, networks, picture, table, timing = map(
    importlib.import_module,
    ("front", "front_networks", "front_picture", "front_table", "front_timing"),
)

GROUPS = ["0006R0", "0016E5"]
MANIFEST = {
    "weights": [
        {
            "name": "camvid",
            "architecture": "cross_cbam_stdc1",
            "input_size": [600, 800],
            "val_mean_iou": 0.7246,
            "test_mean_iou": 0.6365,
        }
    ]
}


def trained(name, *scores, parameters=8e6):
    facts = {"parameters": parameters, "macs": 11.4e9}
    return {
        group: {"network": name, "mean_iou": score, **facts}
        for group, score in zip(GROUPS, scores, strict=False)
    }


def found(**changes):
    """Results as of a folder: S is fastest, M most accurate, PP-LiteSeg worse than M in both."""
    accuracy = {
        "stdc1-seg": trained("stdc1-seg", 0.40, 0.44),
        "cross-cbam-s": trained("cross-cbam-s", 0.35, 0.37, parameters=2.9e6),
        "cross-cbam-m": trained("cross-cbam-m", 0.41, 0.46, parameters=11.6e6),
        "pp-liteseg-t": trained("pp-liteseg-t", 0.39, 0.41),
        "sctnet-s": trained("sctnet-s", 0.30, 0.32),
        "pidnet-s": trained("pidnet-s", 0.31),
    }
    times = {
        "stdc1-seg": Interval(1.0, 1.0, 1.0),
        "cross-cbam-s": Interval(0.29, 0.23, 0.36),
        "cross-cbam-m": Interval(0.7, 0.68, 0.77),
        "pp-liteseg-t": Interval(0.72, 0.7, 0.74),
        "sctnet-s": Interval(0.5, 0.48, 0.52),
    }
    int8 = {"fp32": 0.40, "int8": 0.39, "size": [360, 480]}
    return {
        "groups": GROUPS,
        "settings": front.settings_of(front.parse(["--out", "runs", "--stages", "draw"])),
        "accuracy": accuracy,
        "times": {
            "360x480": {"onnxruntime": times, "openvino-int8": times},
            "512x1024": {"onnxruntime": {"stdc1-seg": Interval(1.0, 1.0, 1.0)}},
        },
        "int8": {"cross-cbam-m": {"openvino-int8": {GROUPS[0]: int8, GROUPS[1]: int8}}},
        "machine": "a processor",
        **changes,
    }


@pytest.mark.parametrize("module", [networks, picture, table, timing])
def test_examples(module):
    results = doctest.testmod(module)
    assert results.failed == 0


# --- the fronts


@given(st.dictionaries(st.text("abcdefgh", min_size=1), st.tuples(*[st.integers(0, 4)] * 2)))
def test_front_is_what_nothing_else_beats(points):
    chosen = table.pareto(points)
    for name, (time, accuracy) in points.items():
        beaten = any(
            t <= time and a >= accuracy and (t < time or a > accuracy) for t, a in points.values()
        )
        assert (name in chosen) is not beaten
    assert [points[name] for name in chosen] == sorted(points[name] for name in chosen)


def test_networks_of_random_start_have_a_front_of_their_own():
    points = table.points_of(found(), "360x480", "onnxruntime")
    # PIDNet-S lacks a drive and a time; SCTNet-S, slower and less accurate than S, is first of its
    # own kind.
    assert "pidnet-s" not in points
    assert points["cross-cbam-m"] == (0.7, pytest.approx(43.5))
    assert table.fronts(points) == [["cross-cbam-s", "cross-cbam-m"], ["sctnet-s"]]


# --- the table and the picture


def rows_of(text):
    """The cells of each table, by the first cell of a row."""
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    cells = [[line.strip("| \n").split(" | ") for line in t.splitlines()] for t in tables]
    return [{line[0]: line[1:] for line in lines} for lines in cells]


def test_table_has_both_drives_the_times_and_the_losses():
    text = table.table(found(), MANIFEST)
    main, larger, shipped = rows_of(text)
    assert main["network"][3:] == [
        *GROUPS,
        "mean",
        "ONNX Runtime FP32",
        "OpenVINO INT8",
        "loss",
    ]
    time = "**0.70** (0.68..0.77)"
    assert main["M"] == [
        *("encoder weights", "11.60", "11.40", "41.00", "46.00", "43.50", time, time, "1.00")
    ]
    assert main["PP-LiteSeg-T"][-3:] == ["0.72 (0.70..0.74)", "0.72 (0.70..0.74)", table.EMPTY]
    assert main["STDC1-Seg"][-3] == "1.00"
    assert main["PIDNet-S"][3:6] == ["31.00", table.EMPTY, table.EMPTY]
    assert list(main)[2:] == ["M", "STDC1-Seg", "PP-LiteSeg-T", "S", "SCTNet-S", "PIDNet-S"]
    assert larger["STDC1-Seg"] == ["**1.00**"]
    assert shipped["M, `camvid`"] == ["600x800", "72.46", "63.65"]
    assert "20 epochs of 33 steps with 8 crops of 256x320" in text
    assert "lost in INT8 at 360x480, mean of the drives. " in text
    assert "Times on a processor." in text


def test_table_of_an_empty_folder_has_no_figures(tmp_path):
    empty = front.collect(front.parse(["--out", str(tmp_path), "--stages", "draw"]))
    text = table.table(empty, {"weights": []})
    assert len(rows_of(text)) == 1
    assert not re.search(r"\d\.\d", text)
    assert picture.draw(empty, MANIFEST).endswith("</svg>\n")


def test_picture_has_a_panel_for_each_runtime_and_its_networks():
    svg = picture.draw(found(), MANIFEST)
    # Four legend entries, and five networks in each of the two panels; diamonds of M alone.
    assert svg.count("<circle") == 4 + 2 * 5
    assert svg.count(">SCTNet-S</text>") == 2
    assert svg.count(">M</text>") == 4
    assert "PIDNet-S" not in svg
    assert "ONNX Runtime FP32" in svg
    assert "OpenVINO INT8" in svg
    # The area is the number of parameters.
    radii = sorted({float(r) for r in re.findall(r'r="([\d.]+)"', svg)})
    assert radii[-1] / radii[0] == pytest.approx((11.6 / 2.9) ** 0.5, rel=1e-3)


def test_picture_moves_with_its_figures():
    faster = found()
    faster["times"]["360x480"]["onnxruntime"]["cross-cbam-m"] = Interval(0.6, 0.6, 0.6)
    more = {"weights": [{**MANIFEST["weights"][0], "test_mean_iou": 0.7}]}
    cases = ((found(), MANIFEST), (faster, MANIFEST), (found(), more))
    assert len({picture.draw(*case) for case in cases}) == 3


# --- networks and settings


def test_networks_start_from_the_same_encoder_or_from_random_weights():
    models = {
        name: networks.build(name, "imagenet20", (128, 128, 3), CAMVID_CLASSES)
        for name in ("cross-cbam-m", "stdc1-seg", "pp-liteseg-t", "cross-cbam-m-scratch")
    }
    kernels = {
        name: np.asarray(model.get_layer("stage4_block1_conv2").get_weights()[0])
        for name, model in models.items()
    }
    np.testing.assert_array_equal(kernels["cross-cbam-m"], kernels["stdc1-seg"])
    np.testing.assert_array_equal(kernels["cross-cbam-m"], kernels["pp-liteseg-t"])
    assert not np.array_equal(kernels["cross-cbam-m"], kernels["cross-cbam-m-scratch"])
    assert {m.classes.names for m in models.values()} == {CAMVID_CLASSES.names}
    small = networks.build("cross-cbam-s", "imagenet20", (64, 96, 3), CAMVID_CLASSES)
    kernel = small.get_layer("stage4_block1_conv2").get_weights()[0]
    assert kernel.shape[-1] * 2 == kernels["cross-cbam-m"].shape[-1]
    assert np.isin(kernel, kernels["cross-cbam-m"]).all()  # channels of the wide one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stages", "train"], "--data is needed"),
        (["--data", "d", "--networks", "sctnet-s"], "must contain stdc1-seg"),
        (["--data", "d", "--networks", "bisenet"], "invalid choice: 'bisenet'"),
    ],
)
def test_bad_options_are_refused(capsys, options, message):
    with pytest.raises(SystemExit):
        front.parse(["--out", "runs", *options])
    assert message in capsys.readouterr().err


def test_results_of_other_settings_are_refused(tmp_path):
    def args(*more):
        return front.parse(["--data", "CamVid", "--out", str(tmp_path), *more])

    front.bind(args())
    front.bind(args("--networks", "stdc1-seg", "--rounds", "4"))  # none of a training's settings
    for more in (["--epochs", "30"], ["--crop", "64x64"], ["--set", "batch_size=4"]):
        with pytest.raises(ValueError, match="results of trainings with other settings"):
            front.bind(args(*more))
    with pytest.raises(ValueError, match="no result of pidnet-s without 0006R0"):
        front.trained_model(args(), "pidnet-s", "0006R0", (64, 96), CAMVID_CLASSES)


def test_recipe_is_that_of_camvid_without_its_network():
    recipe = front.recipe_of(front.parse(["--data", "d", "--out", "o", "--set", "batch_size=4"]))
    settings = front.RECIPES["camvid-m"]
    same = ("learning_rate", "weight_decay", "class_balance", "scale_range", "optimizer", "loss")
    for field in same:
        assert getattr(recipe, field) == getattr(settings, field)
    assert (recipe.batch_size, recipe.epochs, recipe.steps_per_epoch) == (4, 20, 33)
    assert (recipe.backbone_weights, recipe.aux_weight) == (None, 0.0)
    assert dataclasses.replace(recipe, batch_size=8).validation_freq == 20


# --- from frames to the picture


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    return make_drives(tmp_path_factory.mktemp("camvid"), columns=6)


@pytest.mark.slow
def test_from_frames_to_the_picture(drives, tmp_path, capsys):
    options = ["--data", str(drives), "--out", str(tmp_path), "--epochs", "1", "--steps", "2"]
    options += ["--crop", "64x64", "--sizes", "64x96", "--rounds", "2", "--set", "batch_size=2"]
    options += ["--set", "dtype_policy=float32"]
    pair = ["--networks", "sctnet-s", "stdc1-seg"]
    runtimes = ["--runtimes", "onnxruntime", "openvino-int8"]
    args = front.parse([*options, *pair, *runtimes])
    front.main(args)

    results = {
        (name, group): json.loads(front.result_of(tmp_path, name, group).read_text())
        for name, group in product(pair[1:], GROUPS)
    }
    # The weights that are timed have the accuracy that is printed.
    (first, _), held_out = GROUPS, front.load_held_out(drives, GROUPS[0])
    model = front.trained_model(args, "sctnet-s", first, (64, 96), held_out.classes)
    scores = kc.evaluate(model, held_out)
    written = results["sctnet-s", first]
    assert written["mean_iou"] == pytest.approx(scores["mean_iou"], abs=1e-5)
    assert (written["frames"], written["train_frames"]) == (2, 3)
    assert written["parameters"] < results["stdc1-seg", first]["parameters"]
    assert not list(tmp_path.glob("runs/*/checkpoints"))

    main, *_ = rows_of((tmp_path / "front.md").read_text())
    assert set(main) == {"network", "---", "SCTNet-S", "STDC1-Seg"}
    assert main["STDC1-Seg"][-3].strip("*") == "1.00"
    for cells in main.values():
        assert table.EMPTY not in cells
    assert ">SCTNet-S</text>" in (tmp_path / "front.svg").read_text()

    # Again: nothing is computed a second time, also where drawing alone follows.
    times = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*") if file.is_file()}
    front.main(args)
    changed = {file.name for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {"front.md", "front.svg", "settings.json"}
    text = (tmp_path / "front.md").read_text()
    front.main(front.parse(["--out", str(tmp_path), "--stages", "draw", "--sizes", "64x96"]))
    assert (tmp_path / "front.md").read_text() == text
    capsys.readouterr()
