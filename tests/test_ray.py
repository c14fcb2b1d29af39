"""The example that segments a folder with Ray Data, as a program with two actors."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from PIL import Image

import keras_crosscbam as kc

PROGRAM = Path(__file__).parents[1] / "examples" / "segment_with_ray.py"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_two_actors_segment_a_folder_and_resume(tmp_path):
    """One image is broken, one has labels, two have names that differ in the extension."""
    tiny_network.onnx_file(tmp_path / "m.onnx")
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    names = ["0.png", "1.png", "2.png", "3.png", "3.bmp"]
    for name, image in zip(names, tiny_network.images(5, size=(20, 28)), strict=True):
        Image.fromarray(image).save(tmp_path / "in" / name)
    broken = tmp_path / "in" / "broken.png"
    broken.write_bytes((tmp_path / "in" / "0.png").read_bytes()[:60])
    (tmp_path / "out" / "1.png").write_text("labels of an earlier run")
    # Relative paths: actors have another working directory.
    arguments = ["m.onnx", "in", "--out", "out", "--actors", 2, "--chunk", 1]
    first = run(*arguments, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0] == "1 of 6 images have labels"
    assert lines[1].startswith(f"{broken}: not a readable image")
    assert lines[2:] == ["4 files in out"]
    results = {"0.png": "0.png", "2.png": "2.png", "3.png": "3.png.png", "3.bmp": "3.bmp.png"}
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"1.png", *results.values()}
    for name, result in results.items():
        labels = kc.segment(tmp_path / "m.onnx", tmp_path / "in" / name)
        np.testing.assert_array_equal(Image.open(tmp_path / "out" / result), labels)
    assert (tmp_path / "out" / "1.png").read_text() == "labels of an earlier run"
    broken.unlink()
    again = run(*arguments, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "5 of 5 images have labels\n")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_wrong_arguments_are_one_sentence(tmp_path):
    tiny_network.onnx_file(tmp_path / "m.onnx")
    process = run("m.onnx", "nowhere", "--out", "out", cwd=tmp_path)
    assert process.returncode == 2
    assert "nowhere: no such file or folder" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()
