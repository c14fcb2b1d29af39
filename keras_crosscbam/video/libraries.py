"""The libraries that read and write videos, or the sentence that says how to get them."""

import importlib


def pyav():
    """PyAV, which decodes and encodes by FFmpeg."""
    return _library("av", "PyAV")


def opencv():
    """OpenCV, which knows the webcams of every operating system by a number."""
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
