"""The example that logs a training to Weights & Biases and MLflow, as a program of its own."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from trained import log_of

PROGRAM = Path(__file__).parents[1] / "examples" / "train_with_trackers.py"
SETTINGS = (
    "phases=2x64x64",
    "batch_size=2",
    "validation_freq=1",
    "backbone_weights=null",
    "dtype_policy=float32",
)


@pytest.mark.slow
def test_both_trackers_have_every_score_of_the_log(made_camvid, tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    out = tmp_path / "run"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    program = subprocess.run(
        [sys.executable, PROGRAM, "--data", made_camvid, "--out", out, *settings],
        # A server that refuses every connection: nothing may be sent.
        env={**os.environ, "https_proxy": "http://localhost:9", "http_proxy": "http://localhost:9"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert program.returncode == 0, program.stderr
    assert f"Best weights: {out / 'best.weights.h5'}" in program.stdout
    with sqlite3.connect(out / "mlflow.db") as database:
        rows = database.execute("SELECT step, value FROM metrics WHERE key = 'val_mean_iou'")
        logged = [value for _, value in sorted(rows)]
    assert logged == pytest.approx([row["val_mean_iou"] for row in log_of(out)], rel=1e-6)
    assert len(logged) == 2
    (record,) = (out / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert content.count(b"epoch/val_mean_iou") >= len(logged)
    # Nothing is written beside the folder of the run.
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
