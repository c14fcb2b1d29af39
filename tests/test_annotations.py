"""The public API is annotated, and takes what its annotations say."""

import importlib
import inspect
import os
import subprocess
import sys
from dataclasses import is_dataclass

import numpy as np
import pytest
from PIL import Image
from tiny_network import SIZE, onnx_file

import keras_crosscbam as kc
from keras_crosscbam import types
from keras_crosscbam.benchmark import benchmark
from keras_crosscbam.images import STREET

PACKAGES = (
    "keras_crosscbam",
    "keras_crosscbam.benchmark",
    "keras_crosscbam.datasets",
    "keras_crosscbam.datasets.augment",
    "keras_crosscbam.export",
    "keras_crosscbam.layers",
    "keras_crosscbam.runtime",
    "keras_crosscbam.training",
    "keras_crosscbam.flops",
    "keras_crosscbam.visualize",
)


def public_objects():
    """The functions and classes of this package that the public modules export, by name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            own = getattr(value, "__module__", "").startswith("keras_crosscbam")
            if (
                own
                and not name.startswith("_")
                and inspect.isroutine(value) | inspect.isclass(value)
            ):
                found[f"{value.__module__}.{name}"] = value
    return found


def overrides_a_library(kind, name):
    """Whether a method implements one that Keras, which has no annotations, defines."""
    return any(
        name in vars(base) and not base.__module__.startswith("keras_crosscbam")
        for base in kind.__mro__
    )


def public_functions():
    """All public functions and methods of `public_objects`, by name."""
    for name, value in public_objects().items():
        if not inspect.isclass(value):
            yield name, value
            continue
        for attribute, member in vars(value).items():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            if not inspect.isfunction(function):
                continue
            if attribute == "__init__":
                generated = is_dataclass(value)
            else:
                generated = attribute.startswith("_") and attribute != "__call__"
            # `__init__` is documented with the class, also where Keras has one, too.
            inherited = attribute != "__init__" and overrides_a_library(value, attribute)
            if not (generated or inherited):
                yield f"{name}.{attribute}", function


FUNCTIONS = dict(public_functions())


def lacks_annotations(function):
    signature = inspect.signature(inspect.unwrap(function))
    lacking = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls") and parameter.annotation is parameter.empty
    ]
    return lacking + (["return"] if signature.return_annotation is signature.empty else [])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_are_annotated(name):
    assert lacks_annotations(FUNCTIONS[name]) == []


def test_the_public_functions_are_found():
    assert len(FUNCTIONS) > 90
    assert {
        "keras_crosscbam.evaluation.evaluate",
        "keras_crosscbam.runtime.base.Runtime.predict",
        "keras_crosscbam.layers.ccbam.CCBAM.__init__",
    } <= FUNCTIONS.keys()


def test_the_types_import_nothing_heavy():
    code = (
        "import sys, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('types_alone', {types.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'PIL'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True)


class Location(os.PathLike):
    """A path of no standard kind."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_any_path_will_do(made_camvid, tmp_path):
    file = Location(onnx_file(tmp_path / "m.onnx"))
    image = np.asarray(Image.open(STREET).resize(SIZE[::-1]))
    expected = kc.runtime.load(file.path)(image)
    np.testing.assert_array_equal(kc.segment(file, image), expected)
    assert kc.segment(file, Location(STREET)).shape == np.asarray(Image.open(STREET)).shape[:2]
    assert len(kc.datasets.load_dataset(Location(made_camvid), "val"))
    report = benchmark(file, scopes=["network"], rounds=2, turn_seconds=0.01, isolate=False)
    assert [result.contender for result in report.results()] == [file.path.name]
