"""Judging by an unseen drive: who is trained on what, for how long, and what the commands say."""

import json
import re
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image
from test_ablation import ablation
from trained import log_of
from training_program import TINY

from keras_crosscbam import cli
from keras_crosscbam.datasets import load_camvid, load_dataset, load_held_out
from keras_crosscbam.training import RECIPES
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.hold_out import has_seen, hold_out
from keras_crosscbam.training.validation import SegmentationValidation

# Frames by split and drive, of both layouts' kinds of names.
NAMES = {
    "train": ("0001TP_006690", "0006R0_f00930", "0006R0_f00960", "0016E5_00390", "0016E5_00420"),
    "val": ("0016E5_07959",),
}
SHORT = ("--set", "phases=2x64x64", "--set", "batch_size=2", "--set", "backbone_weights=null")
SHORT += ("--set", "dtype_policy=float32", "--set", "variant=S")
SHORT += ("--set", "optimizer=sgd")


def names(dataset):
    return [image.stem for image, _ in dataset.pairs]


def save_frame(image, mask, ids):
    for path, array in ((image, 20 * ids[..., None].repeat(3, axis=-1)), (mask, ids)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def make_drives(root, columns):
    """Writes frames of three drives in SegNet's layout: blocks of the classes 0 to 2 and of 4."""
    rng = np.random.default_rng(0)
    for split, frames in NAMES.items():
        lines = []
        for name in frames:
            ids = rng.choice(np.array([0, 1, 2, 4], np.uint8), (4, columns))
            image, mask = f"{split}/{name}.png", f"{split}annot/{name}.png"
            save_frame(root / image, root / mask, ids.repeat(16, axis=0).repeat(16, axis=1))
            lines.append(f"{image} {mask}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    return make_drives(tmp_path_factory.mktemp("camvid"), columns=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Data of one's own: two towns and a frame that lies in neither, without a val split."""
    root = tmp_path_factory.mktemp("mydata")
    classes = {"name": "mine", "classes": [{"name": "a"}, {"name": "b"}]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(classes))
    for name in ("bonn/day/0", "bonn/night/0", "ulm/0", "0"):
        ids = np.eye(4, dtype=np.uint8)
        save_frame(root / f"images/train/{name}.png", root / f"masks/train/{name}.png", ids)
    return root


# Data


def test_splits_are_joined(drives, folders):
    both = load_dataset(drives, ("train", "val"))
    assert names(both) == [*NAMES["train"], *NAMES["val"]]
    without = load_dataset(drives, ("train", "val"), without=["0016E5"])
    assert names(without) == list(NAMES["train"][:3])
    for splits in ((), ("train", "train")):
        with pytest.raises(ValueError, match="`split` must name different splits"):
            load_dataset(drives, splits)
    with pytest.raises(ValueError, match="val"):
        load_dataset(folders, ("train", "val"))


def test_training_with_the_validation_frames(drives, tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr("keras_crosscbam.training.train", lambda *args: given.append(args))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--data", str(drives), "--with-val"]) == 0
    ((train_set, val_set, recipe, out),) = given
    assert names(train_set) == [*NAMES["train"], *NAMES["val"]]
    assert names(val_set) == list(NAMES["val"])
    assert recipe.keep == "last"
    assert out.name == "camvid-m-with-val"
    assert "6 training frames, which include those of val" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["train", "--data", str(drives), "--with-val", "--hold-out", "0006R0"])


def test_camvid_by_drives(drives):
    only = load_camvid(drives, "train", drives=["0006R0"])
    assert names(only) == ["0006R0_f00930", "0006R0_f00960"]
    without = load_camvid(drives, "train", without_drives=["0006R0", "0001TP"])
    assert names(without) == ["0016E5_00390", "0016E5_00420"]
    assert without.left_out == without.subset([0]).left_out == ("0006R0", "0001TP")
    assert names(load_camvid(drives, "val", without_drives=["0006R0"])) == ["0016E5_07959"]
    assert names(load_camvid(drives, "train")) == list(NAMES["train"])


@pytest.mark.parametrize("option", ["drives", "without_drives"])
def test_unknown_drives_are_refused(drives, option):
    with pytest.raises(ValueError, match=r"0001TP.*0006R0.*0016E5.*Seq05VD.*Received: '0006'"):
        load_camvid(drives, "train", **{option: ["0006"]})


def test_a_split_without_the_drive_is_no_split(drives):
    with pytest.raises(ValueError, match=r"the val split has no frames"):
        load_camvid(drives, "val", drives=["0006R0"])


def test_frames_whose_drive_is_not_known_are_never_taken_for_others(made_camvid, drives, tmp_path):
    with pytest.raises(ValueError, match=r"names of 6 frames do not contain a group.*0.png"):
        load_camvid(made_camvid, "train", without_drives=["0006R0"])
    with pytest.raises(ValueError, match=r"their names contain no groups. Received: '0006R0'"):
        load_held_out(made_camvid, "0006R0")
    mixed = shutil.copytree(drives, tmp_path / "mixed")
    for folder in ("train", "trainannot"):
        shutil.copy(mixed / folder / "0016E5_00390.png", mixed / folder / "renamed.png")
    with (mixed / "train.txt").open("a") as file:
        file.write("train/renamed.png trainannot/renamed.png\n")
    with pytest.raises(ValueError, match=r"names of 1 frames do not contain a group.*renamed"):
        load_dataset(mixed, "train", without=["0016E5"])


def test_held_out_frames_are_those_of_train_and_val(drives):
    assert names(load_held_out(drives, "0016E5")) == [
        "0016E5_00390",
        "0016E5_00420",
        "0016E5_07959",
    ]
    assert names(load_held_out(drives, "0001TP")) == ["0001TP_006690"]
    with pytest.raises(ValueError, match=r"one of 0001TP, 0006R0, 0016E5. Received: 'Seq05VD'"):
        load_held_out(drives, "Seq05VD")
    with pytest.raises(ValueError, match=r"one of 0001TP, 0006R0, 0016E5. Received: 'Seq05VD'"):
        load_dataset(drives, "train", without=["Seq05VD"])


def test_folders_of_ones_own_are_groups(folders):
    assert len(load_held_out(folders, "bonn")) == 2
    assert len(load_dataset(folders, "train", without=["bonn"])) == 2
    assert len(load_dataset(folders, "train", without=["bonn", "ulm"])) == 1
    assert len(load_held_out(folders, ".")) == 1
    with pytest.raises(ValueError, match=r"one of \., bonn, ulm. Received: 'day'"):
        load_held_out(folders, "day")


def test_cities_are_groups(tmp_path):
    for split, city in (("train", "bonn"), ("train", "ulm"), ("val", "jena")):
        frame = f"{split}/{city}/{city}_000000_000019"
        image = tmp_path / f"leftImg8bit/{frame}_leftImg8bit.png"
        save_frame(
            image, tmp_path / f"gtFine/{frame}_gtFine_labelIds.png", np.eye(4, dtype="uint8")
        )
    assert names(load_held_out(tmp_path, "jena")) == ["jena_000000_000019_leftImg8bit"]
    assert len(load_dataset(tmp_path, "train", without=["ulm"])) == 1


@pytest.mark.parametrize(
    ("drive", "train_frames", "held_out"), [("0006R0", 266, 101), ("0016E5", 163, 305)]
)
def test_folds_of_camvid(data_root, drive, train_frames, held_out):
    root = data_root / "camvid-480x360"
    train_set, val_set, recipe = hold_out(root, drive, RECIPES["camvid-m"])
    assert (len(train_set), len(val_set)) == (train_frames, held_out)
    assert not any(name.startswith(drive) for name in names(train_set))
    assert all(name.startswith(drive) for name in names(val_set))
    # As many steps as with all 367 frames.
    assert recipe.steps_per_epoch == 45


def test_the_original_layout_has_drives_too(data_root):
    assert len(load_held_out(data_root / "camvid-960x720-val", "0016E5")) == 101


# Training


def test_both_folds_are_trained_as_long_as_all_frames_are(drives):
    recipes = [hold_out(drives, drive, TINY)[2] for drive in ("0006R0", "0016E5")]
    assert recipes[0] == recipes[1] == replace(TINY, steps_per_epoch=2, keep="last")
    fixed = hold_out(drives, "0006R0", replace(TINY, steps_per_epoch=7))[2]
    assert fixed.steps_per_epoch == 7


@pytest.fixture(scope="module")
def held_out_run(drives, tmp_path_factory):
    """`crosscbam train --hold-out 0016E5`, two epochs, of which the first is judged perfect."""
    out, validation, validated = (
        tmp_path_factory.mktemp("runs") / "run",
        SegmentationValidation.__call__,
        [],
    )

    def likes_the_first(self):
        validated.append(validation(self))
        return {**validated[-1], "val_mean_iou": 1.0} if len(validated) == 1 else validated[-1]

    arguments = ["train", "--data", str(drives), "--hold-out", "0016E5", "--out", str(out), *SHORT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationValidation, "__call__", likes_the_first)
        assert cli.main([*arguments, "--set", "validation_freq=1"]) == 0
    return out


def test_a_run_is_bound_to_its_hold_out(held_out_run, drives, capsys):
    data = json.loads((held_out_run / "run.json").read_text())["data"]
    assert (data["train_frames"], data["val_frames"], data["left_out"]) == (3, 3, ["0016E5"])
    arguments = ["train", "--data", str(drives), "--out", str(held_out_run), *SHORT]
    assert cli.main([*arguments, "--set", "validation_freq=1", "--hold-out", "0001TP"]) == 2
    assert re.search(r"other data \(.*left_out changed", capsys.readouterr().err)


def test_evaluation_gives_the_figures_of_the_last_epoch(held_out_run, drives, capsys):
    first, last = log_of(held_out_run)
    arguments = ["evaluate", "--data", str(drives), "--hold-out", "0016E5", "--variant", "S"]
    assert cli.main([*arguments, "--weights", str(held_out_run / "best.weights.h5")]) == 0
    said = capsys.readouterr()
    measured = float(re.search(r"mean IoU +([\d.]+) %", said.out)[1])
    # Rounding may give a pixel another class.
    assert measured == pytest.approx(100 * last["val_mean_iou"], abs=0.05)
    assert "3 frames" in said.out
    assert "was trained on" not in said.err
    assert (first["step"], last["step"]) == (2, 4)


def test_the_last_weights_are_kept_though_the_first_were_better(held_out_run):
    first, last = log_of(held_out_run)
    assert first["val_mean_iou"] == 1 > last["val_mean_iou"]
    with h5py.File(held_out_run / "best.weights.h5") as file:
        assert file.attrs["epoch"] == 2


def test_weights_that_have_seen_the_drive_are_told_of(held_out_run, drives, capsys):
    arguments = ["evaluate", "--data", str(drives), "--hold-out", "0006R0", "--variant", "S"]
    assert cli.main([*arguments, "--weights", str(held_out_run / "best.weights.h5")]) == 0
    assert "best.weights.h5 was trained on frames of 0006R0" in capsys.readouterr().err


def test_what_weights_have_seen(held_out_run, tmp_path):
    weights = held_out_run / "best.weights.h5"
    assert has_seen(weights, "camvid", "0006R0")
    assert not has_seen(weights, "camvid", "0016E5")
    assert not has_seen(weights, "mine", "0006R0")
    assert not has_seen(tmp_path / "none.weights.h5", "camvid", "0006R0")
    assert has_seen("camvid", "camvid", "0016E5")
    assert not has_seen("camvid", "camvid", "Seq05VD")
    assert not has_seen("imagenet20", "camvid", "0016E5")


def test_a_start_that_has_seen_the_drive_is_refused(held_out_run, drives, tmp_path):
    with pytest.raises(ValueError, match=r"camvid, which the recipe finetune-m uses"):
        hold_out(drives, "0006R0", RECIPES["finetune-m"])
    unseen = replace(TINY, weights=str(held_out_run / "best.weights.h5"))
    assert hold_out(drives, "0016E5", unseen)[2].weights == unseen.weights
    # A run without the drive, from weights that were trained with it.
    described = json.loads((held_out_run / "run.json").read_text())
    described["recipe"]["weights"] = "camvid"
    (tmp_path / "run.json").write_text(json.dumps(described))
    indirect = replace(TINY, deepened_from=str(tmp_path / "best.weights.h5"))
    with pytest.raises(ValueError, match=r"was trained on frames of 0016E5"):
        hold_out(drives, "0016E5", indirect)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--hold-out", "x"], "one of 0001TP, 0006R0, 0016E5. Received: 'x'"),
        (["evaluate", "--hold-out", "x"], "one of 0001TP, 0006R0, 0016E5. Received: 'x'"),
        (["evaluate", "--hold-out", "x", "--variant", "STDC1"], "--hold-out are for segmentation"),
    ],
)
def test_commands_refuse_in_one_line(drives, capsys, arguments, message):
    command, *rest = arguments
    assert cli.main([command, "--data", str(drives), *rest]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_split_and_a_hold_out_exclude_each_other(drives, capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--data", str(drives), "--split", "train", "--hold-out", "0006R0"])
    assert "not allowed with argument --split" in capsys.readouterr().err


# The ablation


def test_ablation_over_two_drives(drives, tmp_path, capsys, monkeypatch):
    """The trainings are made up: their scores rise and then fall, differently on each drive."""
    trained = []

    def made_up(train_set, val_set, recipe, out):
        trained.append((len(train_set), len(val_set), recipe.steps_per_epoch, recipe.keep))
        log = EpochLog(out / "log.csv")
        out.mkdir()
        for epoch, score in ((1, 0.9), (2, len(val_set) / 10)):
            classes = {f"val_iou_{c}": score / 2 for c in val_set.classes.names}
            classes["val_iou_Sky"] = 1.0
            log.add({"epoch": epoch, "val_mean_iou": score, **classes})

    monkeypatch.setattr(ablation, "train", made_up)
    arguments = ["--data", str(drives), "--out", str(tmp_path), "--rows", "both-aux", "ema"]
    arguments += ["--epochs", "2", "--set", "batch_size=2", "--hold-out", "0006R0", "0016E5"]
    ablation.main(ablation.parse(arguments))
    assert trained == [(3, 2, 2, "last"), (3, 3, 2, "last")] * 2
    *_, title, _, head, _, line, _ = capsys.readouterr().out.strip().splitlines()
    assert title.endswith("frequent classes: Sky, Building, Pole, Pavement")
    assert head.startswith("| row | seeds | 0006R0 | 0016E5 | mean of folds | frequent classes")
    # One class of four has 100 %, the others half of the score: 32.5 and 36.25.
    assert line == "| both-aux | 1 | 20.00 | 30.00 | 25.00 | 34.38 |"
    # A row of which a fold is missing has no mean yet.
    shutil.rmtree(tmp_path / "ema-0-without-0016E5")
    ablation.main(ablation.parse([*arguments, "--read"]))
    said = capsys.readouterr().out
    assert line in said
    assert "ema" not in said


def test_classes_that_are_rare_in_a_fold_are_left_out(data_root):
    arguments = ["--data", str(data_root / "camvid-480x360"), "--out", "runs", "--hold-out"]
    frequent = ablation.frequent_classes(ablation.parse([*arguments, "0006R0", "0016E5"]))
    assert frequent == ["Sky", "Building", "Road", "Pavement", "Tree", "Car"]
