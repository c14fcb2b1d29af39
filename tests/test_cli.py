"""The command line: real calls of `main`, real files, and the exit status that scripts rely on."""

import subprocess
import sys

import pytest
from PIL import Image

from keras_crosscbam import cli
from keras_crosscbam.images import STREET


def run(capsys, *arguments):
    """Exit status, standard output and error of one call."""
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_segment_one_image(capsys, onnx_file, tmp_path):
    status, out, err = run(capsys, "segment", STREET, "--model", onnx_file, "--out", tmp_path)
    assert status == 0
    assert (tmp_path / "street_overlay.png").is_file()
    assert "1 of 1 images" in out
    assert "%" in out
    assert not err


def test_segment_reports_a_broken_file_and_does_the_rest(capsys, onnx_file, tmp_path):
    Image.open(STREET).resize((60, 40)).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out_folder = tmp_path / "out"
    status, out, err = run(capsys, "segment", tmp_path, "--model", onnx_file, "--out", out_folder)
    assert status == 1
    assert "1 of 2 images" in out
    assert "broken.png: not a readable image" in err
    assert (out_folder / "good_overlay.png").is_file()


def test_evaluate_keras_and_onnx_alike(capsys, network, onnx_file, data_root, tmp_path):
    """Two frames of the real validation split, through the same command in both formats."""
    import shutil

    data = tmp_path / "CamVid"
    source = data_root / "camvid-480x360"
    lines = (source / "val.txt").read_text().splitlines()[:2]
    for name in " ".join(lines).split():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, data / name)
    (data / "val.txt").write_text("\n".join(lines))
    network.save(tmp_path / "m.keras")
    reports = []
    for arguments in (
        ["--model", tmp_path / "m.keras", "--size", "90x120"],
        ["--model", onnx_file],
    ):
        status, out, _ = run(capsys, "evaluate", "--data", data, *arguments)
        assert status == 0
        reports.append(out[out.index("IoU per class") :])
    assert "2 frames" in reports[0]
    assert reports[0] == reports[1]


def test_export_then_segment(capsys, network, tmp_path):
    network.save(tmp_path / "m.keras")
    file = tmp_path / "m.onnx"
    status, out, _ = run(
        capsys, "export", "--model", tmp_path / "m.keras", "--size", "64x96", "--out", file
    )
    assert status == 0
    assert "argmax equal on" in out
    assert file.is_file()


def test_flops(capsys):
    status, out, _ = run(capsys, "flops", "--variant", "M1")
    assert status == 0
    assert out.splitlines()[-1] == "MMCV's count: 11,313,265,408"


def test_list(capsys):
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert "CrossCBAM_L2" in out


def test_pipeline_benchmark(capsys, data_root):
    arguments = ("--crop", "64x64", "--batch", "4", "--seconds", "0.2")
    status, out, _ = run(
        capsys, "benchmark-pipeline", "--data", data_root / "camvid-480x360", "--split", "val",
        *arguments,
    )  # fmt: skip
    assert status == 0
    assert "training batches 4x64x64: images/s" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "nowhere.jpg", "--weights", "nothing"], "No weights 'nothing'"),
        (["segment", "nowhere.jpg", "--model", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["evaluate", "--data", "nowhere"], "nowhere: not a CamVid folder"),
        (["flops", "--variant", "XL"], "--variant must be one of M1, L1"),
        (["flops", "--size", "360"], "pass --size HEIGHTxWIDTH"),
        (["train", "--data", "nowhere", "--recipe", "x"], "--recipe must be one of camvid-m"),
        (["train", "--data", "nowhere", "--set", "seed=one"], "takes a value of type int"),
        (["train", "--data", "nowhere", "--set", "magic=1"], "--set knows"),
        (["train", "--data", "nowhere"], "nowhere: not a CamVid folder"),
        (["export", "--model", "m.onnx", "--out", "x.onnx"], "must be a .keras file to export"),
    ],
)
def test_errors_are_one_line_and_status_2(capsys, arguments, message):
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_sizes_are_checked_by_the_parser(capsys):
    with pytest.raises(SystemExit):
        cli.main(["flops", "--size", "0x480"])
    assert "expected HEIGHTxWIDTH or one number" in capsys.readouterr().err


def test_train_command_trains_and_resumes(capsys, tmp_path, monkeypatch):
    """Through the command line to files; the training itself is tested elsewhere."""
    calls = []
    monkeypatch.setattr("keras_crosscbam.training.fit.train", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setattr("keras_crosscbam.datasets.load_camvid", lambda root, split: split)
    status, _, _ = run(
        capsys, "train", "--data", tmp_path, "--set", "seed=3", "--set", "photometric=false"
    )
    assert status == 0
    ((train, val, recipe, out), keywords) = calls[0]
    assert (train, val, out.name) == ("train", "val", "camvid-m")
    assert (recipe.seed, recipe.photometric) == (3, False)
    assert keywords == {"weights": None}


def test_installed_command_shows_its_help():
    shown = subprocess.run(
        [sys.executable, "-m", "keras_crosscbam.cli", "--help"], capture_output=True, text=True
    )
    assert shown.returncode == 0
    for command in (
        "segment",
        "evaluate",
        "train",
        "export",
        "flops",
        "benchmark-pipeline",
        "list",
    ):
        assert command in shown.stdout
