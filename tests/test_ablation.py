"""The ablation trains what its rows say, and its table holds what the runs' logs hold."""

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest
from trained import log_of

import keras_crosscbam as kc
from keras_crosscbam.training.callbacks import EpochLog

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
ablation = importlib.import_module("ablation")


def parse(*arguments):
    return ablation.parse(["--data", "CamVid", "--out", "runs", *arguments])


def test_networks_differ_in_what_they_are_called_after():
    rows = parse().rows
    recipes = {row: ablation.recipe_of(parse("--epochs", "7"), row, 3) for row in rows}
    assert {recipe.seed for recipe in recipes.values()} == {3}
    assert {recipe.epochs for recipe in recipes.values()} == {7}
    networks = {
        row: kc.CrossCBAM(input_shape=(64, 64, 3), num_classes=19, **recipe.architecture)
        for row, recipe in recipes.items()
    }
    counts = {row: network.count_params() for row, network in networks.items()}
    # The auxiliary head is not in the network that is kept.
    assert counts["both"] == counts["both-aux"] == counts["relu-gates"]
    assert counts["rates-2-4"] == counts["rates-3-5"]
    assert len(set(counts.values())) == len(rows) - 3
    assert counts["se-aspp"] < counts["sum"] < counts["both"]
    assert counts["width-128"] < counts["both"] < counts["rates-1-3-5"] < counts["width-512"]
    assert {network.output_shape for network in networks.values()} == {(None, 64, 64, 19)}
    without = [row for row, recipe in recipes.items() if recipe.aux_weight == 0]
    assert without == ["baseline", "se-aspp", "ccbam", "both", "sum"]


def test_settings_change_the_recipe_alone():
    recipe = ablation.recipe_of(parse(), "both-aux", 0)
    for row, changes in ablation.SETTINGS.items():
        changed = ablation.recipe_of(parse(), row, 0)
        assert changed == dataclasses.replace(recipe, **changes)
        assert changed != recipe


def made_up(train_set, val_set, recipe, out):
    """Leaves what a training does, without one."""
    out.mkdir()
    EpochLog(out / "log.csv").add({"epoch": 1, "val_mean_iou": 0.25})


@pytest.mark.parametrize("train", [made_up, pytest.param(ablation.train, marks=pytest.mark.slow)])
def test_runs_and_table(made_camvid, tmp_path, capsys, monkeypatch, train):
    monkeypatch.setattr(ablation, "train", train)
    arguments = ["--data", str(made_camvid), "--out", str(tmp_path), "--rows", "baseline", "both"]
    small = ["--epochs", "1", "--crop", "64", "64", "--set", "batch_size=2"]
    ablation.main(ablation.parse([*arguments, *small, "--read"]))
    assert capsys.readouterr().out.count("\n") == 2
    short = [*arguments, *small, "--rows", "baseline"]
    ablation.main(ablation.parse([*short, "--set", "steps_per_epoch=1"]))
    # As if the training of another seed were finished too.
    (row,) = log_of(tmp_path / "baseline-0")
    (tmp_path / "baseline-1").mkdir()
    EpochLog(tmp_path / "baseline-1" / "log.csv").add({**row, "val_mean_iou": 0.5})
    short += ["--seeds", "0", "1"]
    capsys.readouterr()
    ablation.main(ablation.parse([*short, "--read"]))
    *_, line = capsys.readouterr().out.strip().splitlines()
    scores = [100 * log_of(tmp_path / f"baseline-{seed}")[0]["val_mean_iou"] for seed in (0, 1)]
    low, high = sorted(scores)
    name, params, macs, *result = line.strip("| ").split(" | ")
    assert [name, *result] == ["baseline", "2", f"{sum(scores) / 2:.2f} ({low:.2f}..{high:.2f})"]
    assert 0 < float(params) < 11.62
    assert 0 < float(macs) < 15.05
    # A run of which epochs are missing has no score yet.
    longer = [*short, "--epochs", "2", "--read"]
    ablation.main(ablation.parse(longer))
    assert "baseline" not in capsys.readouterr().out


def test_unknown_rows_are_named(capsys):
    with pytest.raises(SystemExit):
        parse("--rows", "both", "none")
    assert "invalid choice: 'none' (choose from " in capsys.readouterr().err
