"""What is imported when: nothing large before it is needed, and no Keras for exported files."""

import ast
import inspect
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml
from named_network import named_network
from PIL import Image
from tiny_network import SIZE, TABLE, images, onnx_file, openvino_file, scores_of, tflite_file

import keras_crosscbam
from keras_crosscbam import datasets, training

LARGE = ("keras", "tensorflow", "jax", "torch")
PROGRAM = Path(__file__).with_name("exported_files_program.py")
REFUSES = f"""
import sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LARGE}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refusal())
"""


def python(*arguments, path=(), **environment):
    """The finished process of a program that finds this package."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={
            **{name: value for name, value in os.environ.items() if name[:3] != "TF_"},
            "PYTHONPATH": os.pathsep.join([*map(str, path), *sys.path]),
            **environment,
        },
        capture_output=True,
        text=True,
    )


def output(program, **environment):
    """What a program prints; it must succeed."""
    process = python("-c", textwrap.dedent(program), **environment)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.fixture(scope="module")
def without_keras(tmp_path_factory):
    """What the program of exported files prints where Keras and its backends are refused.

    Child processes are refused them too.
    """
    root = tmp_path_factory.mktemp("without_keras")
    (root / "refusal").mkdir()
    (root / "refusal" / "sitecustomize.py").write_text(REFUSES)
    (root / "out").mkdir()
    data = {"name": "tiny", "classes": [{"name": name} for name in TABLE.names]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(data))
    pictures = images(4)
    for i, picture in enumerate(pictures):
        split = "val" if i % 2 else "train"
        labels = scores_of(picture).argmax(axis=-1).astype(np.uint8)
        for kind, array in (("images", picture), ("masks", labels)):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / kind / split / f"{i}.png")
    files = [
        onnx_file(root / "a.onnx"),
        openvino_file(root / "b.xml", output="logits"),
        tflite_file(root / "c.tflite"),
    ]
    process = python(PROGRAM, root, root / "out", *files, path=[root / "refusal"])
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_exported_files_run_without_keras(without_keras):
    assert without_keras["imported"] == []
    assert set(without_keras["files"]) == {"a.onnx", "b.xml", "c.tflite"}
    for name, result in without_keras["files"].items():
        assert result == {"same": True, "mean_iou": 1.0}, name


def test_benchmark_without_keras(without_keras):
    """Each contender has a process of its own, which imports no Keras either."""
    assert without_keras["benchmark"] == {"contenders": 3, "keras": False}


def test_data_sets_and_pictures_without_keras(without_keras):
    assert without_keras["overlay"] == list(SIZE[::-1])
    assert without_keras["doctor"] == []


def test_commands_without_keras(without_keras):
    names = ("segment", "evaluate", "predict", "doctor", "list")
    assert without_keras["commands"] == dict.fromkeys(names, 0)


def test_what_needs_keras_says_how_to_get_it(without_keras):
    said = without_keras["refused"]
    for name in ("builder", "layers", "losses", "export", "flops"):
        assert said[name].startswith("Models, layers, training and export need Keras"), name
        assert "pip install 'keras-crosscbam[tensorflow]'" in said[name]
    assert said["batches"].startswith("Training needs TensorFlow")
    assert "m.keras runs in keras, but the package 'keras' is missing" in said["keras file"]
    assert "m.engine" in said["engine"]
    assert "keras_crosscbam" not in said["engine"]


@pytest.mark.parametrize(
    "options", [["-c", "import keras_crosscbam"], ["-m", "keras_crosscbam.cli"]]
)
def test_importing_and_parsing_import_nothing_large(options):
    """As Python itself lists it, with the time of each import."""
    help_wanted = ["--help"] if "-m" in options else []
    process = python("-X", "importtime", *options, *help_wanted)
    assert process.returncode == 0
    lines = process.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines)
    imported = {line.rsplit("|", 1)[1].strip() for line in lines}
    assert "keras_crosscbam" in imported
    assert not imported & {*LARGE, "numpy", "PIL", "yaml", "onnxruntime", "h5py"}


@pytest.mark.parametrize("package", [keras_crosscbam, training, datasets])
def test_names_are_the_same_for_python_and_for_type_checkers(package):
    """`dir`, `__all__` and what the source imports for type checkers; and each is there."""
    assert dir(package) == sorted(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    tree = ast.parse(inspect.getsource(package))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    for node in ast.walk(ast.Module(blocks, [])):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.name in package.__all__
                if node.module != "keras_crosscbam":
                    module = sys.modules[node.module]
                    assert getattr(module, alias.name) is getattr(package, alias.name)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(package.__all__) <= imported


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'keras_crosscbam' has no attribute 'CrossCBAM_X'"):
        keras_crosscbam.CrossCBAM_X  # noqa: B018
    assert not hasattr(training, "training")


# Keras' registry

SAVED_MODEL_LOADS = """
{imports}
import keras
model = keras.saving.load_model({file!r})
print(model.classes.names, model.loss.name, sum("crosscbam" in key for key in
      keras.saving.get_custom_objects()))
"""


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A compiled model, whose file names classes of layers, models, losses and metrics."""
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    model = named_network(["road", "sky"])
    model.compile(
        "sgd",
        loss=training.SegmentationDice(name="dice"),
        metrics=[training.SegmentationMeanIoU(2)],
    )
    model.save(path)
    return str(path)


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, keras_crosscbam",
        "import keras_crosscbam, keras",
        "from keras_crosscbam.layers import CCBAM",
        "from keras_crosscbam.models.surgery import freeze_backbone",
        "import keras_crosscbam; keras_crosscbam.CrossCBAM_S",
    ],
)
def test_keras_knows_the_classes_in_either_order_of_the_imports(saved_model, imports):
    """Also where one module of the package is imported alone, before Keras."""
    program = SAVED_MODEL_LOADS.format(imports=imports, file=saved_model)
    assert output(program, KERAS_BACKEND="jax") == "('road', 'sky') dice 22"


def test_a_missing_backend_is_told_when_keras_is_needed():
    program = """
        import sys
        import keras_crosscbam

        class Refusal:
            def find_spec(self, name, path=None, target=None):
                if name == "tensorflow":
                    raise ModuleNotFoundError("No module named 'tensorflow'", name=name)

        sys.meta_path.insert(0, Refusal())
        for _ in range(2):  # an import that failed is tried again
            try:
                keras_crosscbam.CrossCBAM_M
            except ModuleNotFoundError as error:
                print(error.name, error)
    """
    lines = output(program, KERAS_BACKEND="tensorflow").splitlines()
    assert lines[0].startswith("tensorflow Keras is set to the backend tensorflow, which is not")
    assert lines[1] == lines[0]


# TensorFlow's first lines

NOISY = """
import contextlib, os, subprocess, sys
with contextlib.suppress(OSError):  # where stderr is closed
    os.write(2, b"noise of C\\n")
print("noise of Python", file=sys.stderr)
subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('noise of a child')"])
"""


def quiet_import(tmp_path, ending="", redirected="", **environment):
    """Imports a package called tensorflow, which is noisy, as the commands do; returns the process.

    The shell closes stderr where `redirected` says so.
    """
    (tmp_path / "tensorflow.py").write_text(NOISY + ending)
    program = (
        "import sys; from keras_crosscbam.cli.quiet import quiet_tensorflow; "
        "quiet_tensorflow(); import tensorflow; print('imported'); "
        "print('after', file=sys.__stderr__ or sys.stdout)"
    )
    command = f'"{sys.executable}" -c "{program}" {redirected}'
    return subprocess.run(
        command,
        shell=True,
        env={
            **{name: value for name, value in os.environ.items() if name[:3] != "TF_"},
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            **environment,
        },
        capture_output=True,
        text=True,
    )


def test_the_import_of_tensorflow_prints_nothing(tmp_path):
    process = quiet_import(tmp_path)
    assert (process.stdout, process.stderr) == ("imported\n", "after\n")


def test_an_import_that_fails_shows_what_was_held_back(tmp_path):
    process = quiet_import(tmp_path, ending="raise ImportError('no AVX')")
    assert process.returncode == 1
    for text in ("noise of C\n", "noise of Python\n", "noise of a child", "ImportError: no AVX"):
        assert text in process.stderr


def test_with_stderr_closed_the_import_works(tmp_path):
    process = quiet_import(tmp_path, redirected="2>&-")
    assert process.returncode == 0
    assert process.stdout.splitlines()[-2:] == ["imported", "after"]


def test_who_asks_for_the_lines_of_tensorflow_gets_them(tmp_path):
    process = quiet_import(tmp_path, TF_CPP_MIN_LOG_LEVEL="0")
    assert "noise of C\n" in process.stderr


def test_a_command_that_imports_tensorflow_prints_its_own_lines_alone():
    process = python("-m", "keras_crosscbam.cli", "flops", "--variant", "S")
    assert process.returncode == 0
    assert process.stdout
    assert process.stderr == ""
