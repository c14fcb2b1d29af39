"""The Dockerfile: what it copies exists and reaches the build, and what it runs is not root."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest
from test_packaging import BUILD

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def instructions(text):
    """The (instruction, argument) pairs; comments are left out, continued lines are joined."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", lines)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def copied(pairs):
    """The (sources, target) of each COPY from the checkout."""
    for kind, argument in pairs:
        words = shlex.split(argument)
        if kind == "COPY" and not words[0].startswith("--from"):
            yield words[:-1], words[-1]


def is_ignored(path, patterns):
    """By .dockerignore: the last pattern that fits the path, or a folder above it, decides."""
    ignored = False
    for pattern in patterns:
        plain = pattern.removeprefix("!").removeprefix("**/")
        anywhere = plain != pattern.removeprefix("!")
        for part in (path, *path.parents[:-1]):
            if fnmatch(part.name if anywhere else str(part), plain):
                ignored = not pattern.startswith("!")
    return ignored


@pytest.fixture(scope="module")
def pairs():
    return instructions(DOCKERFILE.read_text())


@pytest.fixture(scope="module")
def ignore_patterns():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_copied_files_exist_and_are_in_the_context(pairs, ignore_patterns):
    sources = [source for names, _ in copied(pairs) for source in names]
    assert {"keras_crosscbam", "examples/serve.py"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not is_ignored(PurePosixPath(source), ignore_patterns), source


def test_nothing_else_is_in_the_context(pairs, ignore_patterns):
    sources = {source for names, _ in copied(pairs) for source in names}
    assert {pattern[1:] for pattern in ignore_patterns if pattern[0] == "!"} == sources
    for name in ("weights/x.weights.h5", ".git/config", "keras_crosscbam/__pycache__/a.pyc"):
        assert is_ignored(PurePosixPath(name), ignore_patterns), name
    assert not is_ignored(PurePosixPath("keras_crosscbam/cli/__init__.py"), ignore_patterns)


def test_the_server_does_not_run_as_root(pairs):
    last = max(i for i, (kind, _) in enumerate(pairs) if kind == "FROM")
    users = [argument for kind, argument in pairs[last:] if kind == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")


def test_stages_and_commands(pairs):
    kinds = [kind for kind, _ in pairs]
    stages = [argument.split(" AS ") for kind, argument in pairs if kind == "FROM"]
    assert all(image[0].startswith("python:3.12-slim") for image in stages)
    from_stages = re.findall(r"--from=(\w+)", DOCKERFILE.read_text())
    assert from_stages == [stage[1] for stage in stages[:-1]]
    assert kinds[-1] == "CMD"
    # An array, so that no shell keeps the signals from the server.
    command = json.loads(pairs[-1][1])
    assert command[1] in [target for _, target in copied(pairs)]
    (health,) = (argument for kind, argument in pairs if kind == "HEALTHCHECK")
    check = json.loads(health.removeprefix("CMD "))
    compile(check[2], "HEALTHCHECK", "exec")
    assert "/health" in check[2]


def test_installed_packages_are_those_of_the_project(pairs):
    """All that the package and the extra `runtime` need, without Keras and its file format."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {
        requirement
        for requirement in (*project["dependencies"], *extras["runtime"])
        if not requirement.startswith(("keras", "h5py"))
    }
    server = {text for text in extras["dev"] if text.startswith(("fastapi", "uvicorn"))}
    (install,) = (argument for kind, argument in pairs if kind == "RUN" and "numpy" in argument)
    assert set(re.findall(r'"([\w>=.]+)"', install)) == needed | server


@pytest.mark.slow
def test_wheel_is_built_from_what_is_copied(pairs, tmp_path):
    """In a folder with the files of the first stage alone."""
    for names, _ in list(copied(pairs))[:-1]:
        for name in names:
            target = tmp_path / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, target)
    command = [sys.executable, "-c", BUILD, "build_wheel", tmp_path]
    process = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "keras_crosscbam/runtime/onnx.py" in names
    assert [name for name in names if "weights/" in name] == [
        "keras_crosscbam/weights/manifest.json"
    ]
    assert wheel.stat().st_size < 2e6
