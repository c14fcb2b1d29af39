"""Loads models and files as runtimes."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.hub.address import is_address
from keras_crosscbam.hub.download import download_network
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.normalization import Normalization

if TYPE_CHECKING:
    from keras_crosscbam.types import Channels, Classes, ModelLike

SAVED_MODEL = "a SavedModel folder"


@dataclass(frozen=True)
class Engine:
    """A library that runs networks.

    Attributes:
        runtime: module and name of the callable that returns a `Runtime` for a path, classes and
            options.
        endings: extensions of the files that it runs.
        extra: the extra of this package that installs it.
        options: the options of `load` that it supports.
        preset: options that are set by its name.
    """

    runtime: tuple[str, str]
    endings: tuple[str, ...]
    extra: str
    options: tuple[str, ...] = ()
    preset: dict = field(default_factory=dict)


_KERAS = ("keras_model", "keras_file")
_ONNX = ("onnx", "OnnxRuntime"), (".onnx",), "runtime", ("threads", "device")
_OPENVINO = (
    ("openvino", "OpenVINORuntime"),
    (".xml", ".onnx", ".tflite"),
    "openvino",
    ("threads", "precision"),
)

# The first engine for an extension is its default engine.
ENGINES = {
    "keras": Engine(_KERAS, (".keras",), "cpu"),
    "onnxruntime": Engine(*_ONNX),
    "onnxruntime-cuda": Engine(*_ONNX, {"device": "cuda"}),
    "onnxruntime-tensorrt": Engine(*_ONNX, {"device": "tensorrt"}),
    "litert": Engine(("litert", "LiteRTRuntime"), (".tflite",), "litert", ("threads",)),
    "openvino": Engine(*_OPENVINO),
    "openvino-bf16": Engine(*_OPENVINO, {"precision": "bf16"}),
    "tensorrt": Engine(("tensorrt.runtime", "TensorRTRuntime"), (".engine", ".plan"), "tensorrt"),
    "tensorflow": Engine(("saved_model", "SavedModelRuntime"), (SAVED_MODEL,), "cpu"),
}
"""Engines by name: the values of `engine` in `load`, and the prefixes of a path."""


def load(
    model: ModelLike,
    classes: Classes | None = None,
    engine: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> Runtime:
    """Returns a `Runtime` for a model or a file.

        >>> import keras_crosscbam as kc
        >>> run = kc.runtime.load("m.onnx", threads=2)  # doctest: +SKIP
        >>> run = kc.runtime.load("openvino-bf16:m.onnx")  # doctest: +SKIP
        >>> run = kc.runtime.load("elsewhere.onnx", mean=0.5, std=0.5)  # doctest: +SKIP
        >>> run = kc.runtime.load(kc.CrossCBAM_M(num_classes=11))
        >>> run.size, run.num_classes
        ((720, 960), 11)

    Args:
        model: a `keras.Model`, a `Runtime`, or the path of a `.keras`, `.onnx`, `.xml` (OpenVINO),
            `.tflite`, `.engine` or `.plan` (TensorRT) file or of a SavedModel folder, or the
            address of one on the Hugging Face Hub, `hf://user/name` or
            `hf://user/name@revision/file`. A path or address may have an engine name and a colon as
            a prefix: `"openvino:m.onnx"`.
        classes: the `ClassTable`, if the model does not contain one. If it does, the order is that
            of the model and the colors are those of this table.
        engine: the engine for a file, one of `keras_crosscbam.runtime.loading.ENGINES`; None for
            the default engine of the extension.
        device: device of ONNX Runtime: `"cpu"` (default), `"cuda"` or `"tensorrt"`.
        threads: number of threads of ONNX Runtime, OpenVINO or LiteRT; None for all cores.
        precision: precision of OpenVINO: `"f32"` (default) or `"bf16"`.
        mean, std: normalization of a network from another tool that takes
            `(pixels / 255 - mean) / std`: one number each, or one for each channel, on a scale of
            0..1. ImageNet's values for RGB are `(0.485, 0.456, 0.406)` and
            `(0.229, 0.224, 0.225)`. None for a network that takes pixels of 0..255, as all files
            of this package do. Not needed for a Keras model that was built with
            `include_preprocessing=False`: its pixels are normalized with ImageNet's values.

    Returns:
        A `Runtime` that takes images of 0..255. A `Runtime` is returned as it is, and the other
        arguments are ignored; `mean` and `std` must be None for it.

    Raises:
        ValueError: for other arguments, for a file that is missing, damaged or not a segmentation
            network, for options that the engine does not support, for classes whose names differ
            from the model's, and for `mean` and `std` if the network normalizes pixels itself.
        ImportError: if the engine is not installed.
        RuntimeError: if the requested device or processor feature is not available.
    """
    normalization = None if mean is std is None else Normalization(mean, std)
    if isinstance(model, Runtime):
        if normalization is not None:
            raise ValueError(f"Pass `mean` and `std` where {model.name} is loaded from its file.")
        return model
    if _is_keras_model(model):
        from keras_crosscbam.runtime.keras_model import KerasRuntime

        run = KerasRuntime(model, classes)
    else:
        run = _open(model, classes, engine, device, threads, precision)
    if normalization is not None:
        run.normalize_by(normalization)
    elif run.description.extra.get("normalization") == "expected":
        raise ValueError(
            f"{run.name} was written by version 0.1 and may expect normalized pixels. Export it "
            "again, or pass mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225) for a "
            "model built with include_preprocessing=False, or mean=0, std=1/255 for a model that "
            "takes pixels of 0..255."
        )
    return run


def _is_keras_model(model):
    # The object can only be a Keras model if Keras is already imported.
    return "keras" in sys.modules and isinstance(model, sys.modules["keras"].Model)


def _open(model, classes, engine, device, threads, precision):
    """Returns the runtime of a file."""
    path, engine = split(model, engine)
    chosen = ENGINES[engine]
    given = {"device": device, "threads": threads, "precision": precision}
    options = {**chosen.preset, **{name: v for name, v in given.items() if v is not None}}
    _check(engine, path, options)
    module, name = chosen.runtime
    try:
        make = getattr(importlib.import_module(f"keras_crosscbam.runtime.{module}"), name)
        return make(path, classes, **options)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} runs in {engine}, but the package {error.name!r} is missing. "
            f"Install it with `pip install keras-crosscbam[{chosen.extra}]`."
        ) from error


def split(model, engine=None):
    """Splits the model text of `load` into the path and the name of the engine.

        >>> from keras_crosscbam.runtime.loading import split
        >>> split("openvino:m.onnx")  # doctest: +SKIP
        (PosixPath('m.onnx'), 'openvino')

    The path of an address on the Hugging Face Hub is that of the downloaded file.

    Raises:
        ValueError: for a text that is not the path of a file that an engine runs.
    """
    text = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    prefix, colon, rest = (text or "").partition(":")
    if colon and prefix in ENGINES:
        text, engine = rest, engine or prefix
    if is_address(text):
        text = str(download_network(text))
    path = Path(text or "")
    kind = SAVED_MODEL if path.is_dir() else path.suffix.lower()
    runs = [name for name, e in ENGINES.items() if kind in e.endings]
    if not text or not runs:
        raise ValueError(
            "Expected a Keras model or the path of a .keras, .onnx, .xml, .tflite, .engine or "
            f".plan file or of a SavedModel folder. Received: {model!r}. Load a weights file with "
            "CrossCBAM_M(weights=...)."
        )
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    engine = engine or runs[0]
    if engine not in runs:
        raise ValueError(f"`engine` must be one of {runs} for {path}. Received: {engine!r}")
    return path, engine


def _check(engine, path, options):
    for name in options:
        if name not in ENGINES[engine].options:
            having = [other for other, e in ENGINES.items() if name in e.options]
            raise ValueError(
                f"{path} runs in {engine}, which does not support `{name}`; supported by {having}. "
                f"Received: {name}={options[name]!r}"
            )
    threads = options.get("threads", 1)
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"`threads` must be a positive integer. Received: {threads!r}")
