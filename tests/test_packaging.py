"""What an installation holds."""

import configparser
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def test_every_package_is_installed():
    """Beside `weights/`, which is a package in wheels alone, so that no tool finds the list."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = find_packages(ROOT, include=["keras_crosscbam*"])
    assert sorted(listed) == sorted([*found, "keras_crosscbam.weights"])


def test_type_checkers_read_the_annotations():
    """PEP 561: `py.typed` in the package, and in the list of what a wheel holds."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = [p.strip() for p in config["options.package_data"]["keras_crosscbam"].split(",")]
    assert "py.typed" in patterns
    assert (ROOT / "keras_crosscbam/py.typed").is_file()
