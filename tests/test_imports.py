"""Every import of the package's own modules finds its module and its names."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("keras_crosscbam", "examples", "benchmarks", "tools", "tests")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def own_imports(file):
    """The (module, name) of each `from keras_crosscbam... import name`, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_crosscbam"):
            for alias in node.names:
                yield node.module, alias.name


def is_found(module, name):
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError as error:
        # A library that is not installed says nothing about the import.
        return not (error.name or "").startswith("keras_crosscbam")
    return True


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_are_found(file):
    assert [pair for pair in own_imports(file) if not is_found(*pair)] == []


def test_a_moved_module_is_found_out():
    assert is_found("keras_crosscbam.models.weights", "find_weights")
    assert not is_found("keras_crosscbam.models.manifest", "find_weights")
    assert not is_found("keras_crosscbam.models", "manifest")
