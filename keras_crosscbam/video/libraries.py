"""Imports the libraries that read and write videos, or says how to install them."""

import importlib


def pyav():
    """Returns PyAV, which decodes and encodes with FFmpeg."""
    return _library("av", "PyAV")


def opencv():
    """Returns OpenCV, which numbers the webcams of every operating system."""
    return _library("cv2", "OpenCV")


def _library(module, name):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"Videos and cameras need {name}, which is not installed. Run "
            "`pip install keras-crosscbam[video]`.",
            name=module,
        ) from error
