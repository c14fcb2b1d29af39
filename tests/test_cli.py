"""The command line: real calls of `main`, real files, and the exit status that scripts rely on."""

import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from keras_crosscbam import cli
from keras_crosscbam.benchmark import Report
from keras_crosscbam.classes import CITYSCAPES_IDS
from keras_crosscbam.images import STREET
from keras_crosscbam.training import Phase


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


def test_segment_of_an_image_of_12_bits(capsys, onnx_file, tmp_path):
    """It says so in one line, and with its range gives the labels of the image of 8 bits."""
    gray = np.asarray(Image.open(STREET).convert("L").resize((60, 40)))
    Image.fromarray(gray).save(tmp_path / "plain.png")
    Image.fromarray(gray.astype(np.uint16) * 16).save(tmp_path / "deep.png")
    arguments = [tmp_path, "--model", onnx_file, "--out", tmp_path / "out"]
    status, out, err = run(capsys, "segment", *arguments)
    assert status == 1
    assert "1 of 2 images" in out
    assert re.fullmatch(r"crosscbam segment: .*deep.png: .*--range LOW HIGH.*0 4095.*\n", err)
    status, _, err = run(capsys, "segment", *arguments, "--range", 0, 255 * 16)
    assert (status, err) == (0, "")
    plain, deep = (Image.open(tmp_path / f"out/{name}_labels.png") for name in ("plain", "deep"))
    np.testing.assert_array_equal(plain, deep)


def test_evaluate_keras_and_onnx_alike(capsys, network, onnx_file, data_root, tmp_path):
    """Two frames of the real validation split, through the same command in both formats."""
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


def test_export_then_segment(capsys, small_network, tmp_path):
    small_network.save(tmp_path / "m.keras")
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


@pytest.mark.parametrize(
    ("variant", "macs"), [("S1", "2,875,780,480"), ("S2", "6,470,317,440"), ("S", "3,820,728,432")]
)
def test_flops_of_the_small_variants(capsys, variant, macs):
    status, out, _ = run(capsys, "flops", "--variant", variant)
    assert status == 0
    assert out.splitlines()[-1] == f"MMCV's count: {macs}"


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
        (["evaluate", "--data", "nowhere"], "nowhere: no data set. Expected dataset.yaml"),
        (["flops", "--variant", "XL"], "--variant must be one of M1, L1"),
        (["flops", "--size", "360"], "pass --size HEIGHTxWIDTH"),
        (["train", "--data", "nowhere", "--recipe", "x"], "--recipe must be one of cityscapes-m1"),
        (["train", "--data", "nowhere", "--set", "seed=one"], "--set seed takes int; got 'one'"),
        (["train", "--data", "nowhere", "--set", "magic=1"], "--set takes FIELD=VALUE of name"),
        (["train", "--data", "nowhere", "--set", "seed"], "got 'seed'"),
        (["train", "--data", "nowhere", "--set", "phases=2x64"], "EPOCHSxHEIGHTxWIDTH,..."),
        (["train", "--data", "nowhere", "--set", "variant=XL"], "`variant` must be one of"),
        (["train", "--data", "nowhere", "--set", "loss=hinge"], "A loss is written as"),
        (["train", "--data", "nowhere"], "nowhere: no data set"),
        (["pretrain", "--data", "nowhere", "--recipe", "x"], "must be one of imagenet20-stdc1"),
        (["pretrain", "--data", "nowhere", "--recipe", "camvid-m"], "got 'camvid-m'"),
        (["pretrain", "--data", "nowhere", "--set", "variant=M"], "got 'variant=M'"),
        (["pretrain", "--data", "nowhere"], "nowhere: expected train/CLASS/IMAGE"),
        (["predict", "--data", "nowhere", "--out", "o"], "nowhere: no data set"),
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


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--crop", "64"), "`crop_size` must be (height, width)"), (("--batch", "0"), "`batch_size`")],
)
def test_sizes_of_the_pipeline_are_refused_in_one_line(capsys, made_camvid, option, message):
    status, _, err = run(capsys, "benchmark-pipeline", "--data", made_camvid, *option)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


# The trainings themselves are tested elsewhere: from the command line to their arguments.


def test_train_passes_on_the_effective_recipe(capsys, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("keras_crosscbam.training.train", lambda *a: calls.append(a) or "the best")
    monkeypatch.setattr("keras_crosscbam.datasets.load_dataset", lambda root, split: (root, split))
    arguments = (
        "train", "--data", tmp_path, "--recipe", "finetune-m", "--weights", "a=b.weights.h5",
        "--set", "seed=3", "--set", "phases=2x64x96,1x128x192", "--set", "photometric=false",
    )  # fmt: skip
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert out == "Best weights: the best\n"
    ((train, val, recipe, folder),) = calls
    assert (train, val) == ((tmp_path, "train"), (tmp_path, "val"))
    assert folder.as_posix() == "runs/finetune-m"
    assert (recipe.name, recipe.seed, recipe.photometric) == ("finetune-m", 3, False)
    assert recipe.phases == (Phase(2, (64, 96)), Phase(1, (128, 192)))
    assert recipe.weights == "a=b.weights.h5"


def test_pretrain_passes_on_the_effective_recipe(capsys, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "keras_crosscbam.training.pretrain", lambda *a: calls.append(a) or "the best"
    )
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            picture(tmp_path / split / name / "0.png")
    out_folder = tmp_path / "run"
    arguments = ("--set", "batch_size=2", "--recipe", "imagenet1k-stdc2", "--out", out_folder)
    status, out, _ = run(capsys, "pretrain", "--data", tmp_path, *arguments)
    assert status == 0
    assert out == "Best weights, for backbone_weights=: the best\n"
    ((train, val, recipe, folder),) = calls
    assert (len(train), len(val), train.classes) == (2, 2, ("cat", "dog"))
    assert train.files[0][0].parent == tmp_path / "train" / "cat"
    assert val.files[0][0].parent == tmp_path / "val" / "cat"
    assert (recipe.backbone, recipe.batch_size, folder) == ("stdc2", 2, out_folder)


# Data sets


def picture(path, size=(24, 32), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(array).save(path)
    return array


@pytest.fixture
def own_data(tmp_path):
    """Two frames of two classes, with masks of ids."""
    root = tmp_path / "mydata"
    for number, split in enumerate(("train", "val")):
        picture(root / f"images/{split}/0.png", seed=number)
        (root / f"masks/{split}").mkdir(parents=True)
        mask = np.repeat(np.array([[0, 1]], np.uint8), 16, axis=1).repeat(24, axis=0)
        Image.fromarray(mask).save(root / f"masks/{split}/0.png")
    classes = [{"name": "field", "color": [0, 90, 0]}, {"name": "way", "color": [90, 90, 90]}]
    (root / "dataset.yaml").write_text(
        yaml.safe_dump({"name": "mine", "masks": "ids", "classes": classes})
    )
    return root


def test_doctor_on_sound_data(capsys, own_data):
    status, out, err = run(capsys, "doctor", own_data)
    assert status == 0
    assert "train: 1 frames (1 of 32x24)" in out
    assert out.splitlines()[-1] == "ready to train (errors: 0, warnings: 0)"
    assert not err


def test_doctor_reports_every_fault(capsys, own_data):
    (own_data / "images/train/0.png").write_bytes(b"no image")
    stray = np.full((24, 32), 7, np.uint8)
    Image.fromarray(stray).save(own_data / "masks/val/0.png")
    status, out, _ = run(capsys, "doctor", own_data)
    assert status == 1
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert any("images/train/0.png" in line for line in errors)
    assert any("masks/val/0.png" in line and "7" in line for line in errors)
    assert out.splitlines()[-1].startswith("not ready to train (errors: ")


def test_doctor_of_nothing(capsys, tmp_path):
    status, out, _ = run(capsys, "doctor", tmp_path / "nowhere")
    assert status == 1
    assert out.count("no data set") == 1


@pytest.fixture
def nineteen(tmp_path):
    """A file of a network with one layer that tells all 19 classes by color."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(19, 1, use_bias=False)(image))
    model.set_weights([np.random.default_rng(0).normal(size=(1, 1, 3, 19))])
    model.save(tmp_path / "nineteen.keras")
    return tmp_path / "nineteen.keras", model.get_weights()[0][0, 0]


@pytest.mark.parametrize("label_ids", [False, True])
def test_predict_writes_the_labels_of_a_test_split(capsys, tmp_path, nineteen, label_ids):
    """Of the benchmark's images, which have no masks."""
    file, kernel = nineteen
    expected = {}
    for seed, name in enumerate(("bonn/bonn_000000_000001", "kiel/kiel_000002_000003")):
        path = tmp_path / "cityscapes/leftImg8bit/test" / f"{name}_leftImg8bit.png"
        expected[f"{path.name}"] = (picture(path, seed=seed) @ kernel).argmax(axis=-1)
    out_folder = tmp_path / "results"
    arguments = ["--data", tmp_path / "cityscapes", "--model", file, "--out", out_folder]
    status, out, _ = run(capsys, "predict", *arguments, *["--label-ids"] * label_ids)
    assert status == 0
    assert f"2 files in {out_folder}" in out
    assert sorted(path.name for path in out_folder.iterdir()) == sorted(expected)
    for name, labels in expected.items():
        with Image.open(out_folder / name) as written:
            assert written.mode == "L"
            array = np.asarray(written)
        assert len(np.unique(array)) > 3
        np.testing.assert_array_equal(
            array, np.array(CITYSCAPES_IDS)[labels] if label_ids else labels
        )


def test_predict_of_another_split_of_own_data(capsys, tmp_path, nineteen, own_data):
    shutil.rmtree(own_data / "masks")
    arguments = ("--data", own_data, "--split", "val", "--model", nineteen[0])
    status, _, _ = run(capsys, "predict", *arguments, "--out", tmp_path / "out")
    assert status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]


def test_predict_takes_the_range_of_the_data(capsys, tmp_path, nineteen, own_data):
    (image,) = (own_data / "images/val").iterdir()
    gray = np.asarray(Image.open(image).convert("L")).astype(np.uint16)
    Image.fromarray(gray * 16).save(image.with_suffix(".png"))
    with (own_data / "dataset.yaml").open("a") as file:
        file.write("\nrange: [0, 4080]\n")
    arguments = ("--data", own_data, "--split", "val", "--model", nineteen[0])
    assert run(capsys, "predict", *arguments, "--out", tmp_path / "out")[0] == 0
    (written,) = (tmp_path / "out").iterdir()
    expected = (gray[..., None] @ nineteen[1].sum(axis=0, keepdims=True)).argmax(axis=-1)
    np.testing.assert_array_equal(Image.open(written), expected)


def test_predict_keeps_the_subfolders_of_own_data(capsys, tmp_path, nineteen, own_data):
    expected = {}
    for seed, name in enumerate(("0", "north/0", "south/0", "south/far/1")):
        image = picture(own_data / f"images/test/{name}.png", seed=seed)
        expected[f"{name}.png"] = (image @ nineteen[1]).argmax(axis=-1)
    arguments = ("--data", own_data, "--model", nineteen[0], "--out", tmp_path / "out")
    status, out, _ = run(capsys, "predict", *arguments)
    assert status == 0
    assert "4 files in" in out
    written = {p.relative_to(tmp_path / "out").as_posix(): p for p in tmp_path.glob("out/**/*.png")}
    assert written.keys() == expected.keys()
    for name, labels in expected.items():
        np.testing.assert_array_equal(np.asarray(Image.open(written[name])), labels)


def test_predict_reports_broken_images_and_does_the_rest(capsys, tmp_path, nineteen, own_data):
    for name in ("0", "1", "2"):
        picture(own_data / f"images/test/{name}.png")
    (own_data / "images/test/1.png").write_bytes(b"no image")
    arguments = ("--data", own_data, "--model", nineteen[0], "--out", tmp_path / "out")
    status, _, err = run(capsys, "predict", *arguments)
    assert status == 1
    assert "The prediction failed for 1 of 3 images; the others are written: " in err
    assert "images/test/1.png: not a readable image" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]


@pytest.mark.parametrize("folders", [("cat", "dog"), tuple(f"n{i:02}" for i in range(20))])
def test_encoders_are_judged_on_their_own_classes(capsys, tmp_path, folders):
    for split in ("train", "val"):
        for name in folders:
            picture(tmp_path / split / name / "0.png")
    arguments = ("--variant", "STDC1", "--weights", "imagenet20", "--data", tmp_path)
    status, _, err = run(capsys, "evaluate", *arguments)
    assert status == 2
    assert "the encoder has 20 classes (n01440764, " in err
    assert f"train has {len(folders)} folders ({folders[0]}, " in err


def test_label_ids_are_for_networks_of_19_classes(capsys, tmp_path, onnx_file, own_data):
    arguments = ("--data", own_data, "--split", "val", "--label-ids", "--model", onnx_file)
    status, _, err = run(capsys, "predict", *arguments, "--out", tmp_path / "out")
    assert status == 2
    assert "one id for each of the 11 classes" in err
    assert not (tmp_path / "out").exists()


def test_installed_command_shows_its_help():
    shown = subprocess.run(
        [sys.executable, "-m", "keras_crosscbam.cli", "--help"], capture_output=True, text=True
    )
    assert shown.returncode == 0
    for command in (
        "segment",
        "evaluate",
        "train",
        "pretrain",
        "doctor",
        "predict",
        "export",
        "flops",
        "benchmark-pipeline",
        "list",
    ):
        assert command in shown.stdout


@pytest.mark.parametrize(
    ("to", "name"),
    [("openvino", "m.xml"), ("litert", "m.tflite"), ("saved-model", "m")],
)
def test_export_to_other_formats(capsys, small_network, tmp_path, to, name):
    small_network.save(tmp_path / "m.keras")
    arguments = ["--model", tmp_path / "m.keras", "--size", "64x96", "--output", "labels"]
    status, out, err = run(capsys, "export", "--to", to, *arguments, "--out", tmp_path / name)
    assert status == 0, err
    assert "argmax equal on" in out
    status, out, _ = run(
        capsys, "segment", STREET, "--model", tmp_path / name, "--out", tmp_path / "pictures"
    )
    assert (status, "1 of 1 images" in out) == (0, True)


def test_quantize_needs_frames(capsys, tmp_path):
    status, _, err = run(capsys, "quantize", "--out", tmp_path / "m.onnx")
    assert status == 2
    assert "pass --data DATASET or --frames FOLDER" in err


def test_benchmark_a_file_against_itself(capsys, onnx_file, tmp_path):
    files = [onnx_file, "--against", f"openvino:{onnx_file}", tmp_path / "nowhere.onnx"]
    reports = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv"]
    options = ["--scopes", "network", "--rounds", 2, *reports]
    status, out, _ = run(capsys, "benchmark", *files, *options)
    assert status == 1  # one peer is missing, the other one is compared with
    assert f"openvino:{onnx_file.name}" in out
    assert "nowhere.onnx" in out
    assert Report.from_json((tmp_path / "r.json").read_text()).left_out
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 3  # a heading, two contenders
