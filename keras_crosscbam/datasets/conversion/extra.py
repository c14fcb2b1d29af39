"""Imports packages of the extra `convert` when a format needs them."""

from importlib import import_module


def pycocotools_mask():
    """Returns the module `pycocotools.mask`."""
    return _import("pycocotools.mask", "COCO")


def safe_xml():
    """Returns the module `defusedxml.ElementTree`, which rejects entities and document types."""
    return _import("defusedxml.ElementTree", "CVAT")


def _import(module, format):
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        raise ModuleNotFoundError(
            f"Reading {format} needs {package}: pip install 'keras-crosscbam[convert]'",
            name=package,
        ) from error
