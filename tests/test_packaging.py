"""What the wheel and the source archive hold."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

import keras_crosscbam

ROOT = Path(__file__).parents[1]
MANIFEST = json.loads((ROOT / "weights/manifest.json").read_text())["weights"]
SOURCES = ("keras_crosscbam", "weights", "pyproject.toml", "setup.cfg", "MANIFEST.in")
TEXTS = ("README.md", "LICENSE")
BUILD = (
    "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Builds from a copy of the checkout, since setuptools writes next to the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in (*SOURCES, *TEXTS):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)

    def run(kind, source=source):
        out = tmp_path_factory.mktemp(kind)
        command = [sys.executable, "-c", BUILD, f"build_{kind}", out]
        process = subprocess.run(command, cwd=source, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        (built,) = out.iterdir()
        return built

    return run


def test_every_package_is_installed():
    """Beside `weights/`, which is a package in wheels alone, so that no tool finds the list."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = find_packages(ROOT, include=["keras_crosscbam*"])
    assert sorted(listed) == sorted([*found, "keras_crosscbam.weights"])


def test_wheel_fits_an_index_and_has_the_weights(build):
    wheel = build("wheel")
    assert wheel.stat().st_size < 95e6
    assert f"-{keras_crosscbam.__version__}-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "keras_crosscbam").rglob("*.py")}
    weights = {
        f"keras_crosscbam/weights/{entry['file']}"
        for entry in MANIFEST
        if entry.get("in_wheel", True)
    }
    assert modules | {"keras_crosscbam/py.typed"} <= names
    assert weights | {"keras_crosscbam/weights/manifest.json"} == {
        name for name in names if name.startswith("keras_crosscbam/weights/")
    }


def test_source_archive_has_no_weights_and_builds(build, tmp_path):
    archive = build("sdist")
    assert archive.stat().st_size < 5e6
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    with zipfile.ZipFile(build("wheel", source)) as wheel:
        kept = [name for name in wheel.namelist() if name.startswith("keras_crosscbam/weights/")]
    assert kept == ["keras_crosscbam/weights/manifest.json"]


def test_links_of_the_readme_work_on_an_index_page():
    """An index page resolves no relative links; the absolute ones lead to files of the checkout."""
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
        "Repository"
    ]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    readme = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)#]+)|^\[[\w-]+\]: (\S+)", readme, re.MULTILINE)
    targets = ["".join(pair) for pair in targets]
    assert targets
    for target in targets:
        for prefix in (f"{repository}/blob/main/", f"{repository}/tree/main/", f"{raw}/main/"):
            if target.startswith(prefix):
                assert (ROOT / target.removeprefix(prefix)).exists(), target
                break
        else:
            assert target.startswith("https://"), target
