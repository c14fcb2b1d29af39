"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import keras_crosscbam

MODULES = [
    module.name
    for module in pkgutil.walk_packages(keras_crosscbam.__path__, "keras_crosscbam.")
    if not module.name.startswith("keras_crosscbam.weights")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
