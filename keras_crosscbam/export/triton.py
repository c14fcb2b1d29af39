"""Model repositories of the NVIDIA Triton Inference Server."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.runtime.description import METADATA, parse, read_beside
from keras_crosscbam.runtime.errors import unreadable

if TYPE_CHECKING:
    from keras_crosscbam.types import StrPath

DTYPES = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64", "BFLOAT16": "BF16"}
"""Triton's names of the types that have another name in ONNX."""

CONFIG, LABELS = "config.pbtxt", "labels.txt"


def to_triton(
    onnx_path: StrPath,
    repository: StrPath,
    name: str | None = None,
    engine: StrPath | None = None,
    max_batch: int = 8,
) -> Path:
    """Puts an ONNX file, or the TensorRT engine built from it, into a Triton model repository.

        >>> import keras_crosscbam as kc
        >>> kc.export.to_onnx(model, "m.onnx", batch=None)  # doctest: +SKIP
        >>> kc.export.to_triton("m.onnx", "models")  # doctest: +SKIP
        PosixPath('models/m/1/model.onnx')

    The folder `REPOSITORY/NAME` receives `config.pbtxt`, `labels.txt` with the names of the classes
    (for a file that contains them), and the file as a new version: 1, or one more than the largest
    existing version, which Triton then serves instead. Existing files are not changed, so that
    settings that you add to `config.pbtxt` are kept.

    A file with a dynamic batch is served with dynamic batching: requests wait up to 5 ms for others
    to fill a batch.

    Args:
        onnx_path: a file that `to_onnx` or `quantize` wrote, or one from another tool.
        repository: the folder that `tritonserver --model-repository` reads; created if it does not
            exist.
        name: name of the model; None for the file name without extension.
        engine: a TensorRT engine that `build_engine` built from the ONNX file; None to serve the
            ONNX file in ONNX Runtime. Triton must have the version of TensorRT that built it.
        max_batch: maximum batch size for a file with a dynamic batch. For an engine, at most the
            maximum of its `profile`.

    Returns:
        The path of the new version's file.

    Raises:
        ValueError: for a file that is not readable or does not give the shapes of its inputs and
            outputs, for an engine of TensorRT-RTX or of another network, and if the repository has
            a model of this name with other inputs, outputs, classes or another backend.
    """
    source = Path(engine or onnx_path)
    graph, description = _read(onnx_path)
    name = Path(onnx_path).stem if name is None else name
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"`name` must be the name of a visible folder. Received: {name!r}")
    if max_batch < 1:
        raise ValueError(f"`max_batch` must be positive. Received: {max_batch}")
    if engine is not None:
        _check_engine(engine, onnx_path, description)
    names = description.classes.names if description and description.classes else ()
    model = _model(onnx_path, graph, name, engine is not None, names)
    folder = Path(repository) / name
    _check_existing(folder, model, names)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists():
        about = _about(description) if description else ""
        settings = _settings(max_batch if _is_batched(graph) else 0)
        (folder / CONFIG).write_text(about + model + settings, encoding="utf-8")
    if names and not (folder / LABELS).exists():
        (folder / LABELS).write_text(_labels(names), encoding="utf-8")
    return _add_version(folder, source, "model.plan" if engine else "model.onnx")


def _read(path):
    """Returns the graph of an ONNX file, and its `Description` or None."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # raised by protobuf, ONNX or the file system
        raise unreadable(path, "ONNX file", error) from error
    if any(map(onnx.external_data_helper.uses_external_data, model.graph.initializer)):
        raise ValueError(f"{path}: its weights are in another file. Save it as a single file.")
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA)
    return model.graph, parse(path, text) if text else None


def _check_engine(engine, onnx_path, description):
    """Raises a `ValueError` for an engine that Triton cannot run, or of another network."""
    built = read_beside(engine)
    if built is None:
        raise ValueError(
            f"{engine}: the file {Path(engine).name}.json of `build_engine` is missing"
        )
    flavour = built.extra.get("engine", {}).get("flavour")
    if flavour != "TensorRT":
        raise ValueError(
            f"{engine}: Triton runs engines of TensorRT. Received: an engine of {flavour}"
        )
    if description is not None and replace(built, extra={}) != replace(description, extra={}):
        raise ValueError(f"{engine} was not built from {onnx_path}: their descriptions differ")


def _model(path, graph, name, is_engine, names):
    """Returns the part of the configuration that is the same for all versions."""
    lines = [f"name: {_quoted(name)}", f'backend: "{"tensorrt" if is_engine else "onnxruntime"}"']
    for kind, tensors in (("input", _inputs(graph)), ("output", graph.output)):
        for tensor in tensors:
            lines += [f"{kind} {{", *_tensor(path, tensor, _is_batched(graph))]
            if kind == "output" and names:
                lines.append(f'  label_filename: "{LABELS}"')
            lines.append("}")
    return "\n".join([*lines, ""])


def _inputs(graph):
    """Returns the inputs of a graph; old files also list their weights there."""
    weights = {array.name for array in graph.initializer}
    return [tensor for tensor in graph.input if tensor.name not in weights]


def _is_batched(graph):
    """Returns whether the batch is dynamic, which Triton requires for `max_batch_size`."""
    return all(_shape(tensor)[:1] == [-1] for tensor in (*_inputs(graph), *graph.output))


def _shape(tensor):
    """Returns the sides of a tensor, -1 for a dynamic one; empty if the rank is unknown."""
    dims = tensor.type.tensor_type.shape.dim
    return [dim.dim_value if dim.dim_value > 0 else -1 for dim in dims]


def _tensor(path, tensor, is_batched):
    import onnx

    shape = _shape(tensor)
    if not shape:
        raise ValueError(f"{path}: the file does not give the shape of {tensor.name!r}")
    kind = onnx.TensorProto.DataType.Name(tensor.type.tensor_type.elem_type)
    return [
        f"  name: {_quoted(tensor.name)}",
        f"  data_type: TYPE_{DTYPES.get(kind, kind)}",
        f"  dims: {shape[is_batched:]}",
    ]


def _about(description):
    layout = description.layout.upper()
    return f"# Images have pixels of 0..255, in the layout {layout}, RGB for three channels.\n"


def _settings(max_batch):
    """Returns the part of the configuration that users may change."""
    if not max_batch:
        return "max_batch_size: 0\n"
    return (
        f"max_batch_size: {max_batch}\ndynamic_batching {{\n"
        "  max_queue_delay_microseconds: 5000\n}\n"
    )


def _check_existing(folder, model, names):
    """Raises a `ValueError` if a new version would differ from what is described there."""
    config, labels = (_text(folder / file) for file in (CONFIG, LABELS))
    if model not in (config or model) or _labels(names) != (labels or _labels(names)):
        raise ValueError(
            f"{folder} is a model with other inputs, outputs, classes or another backend, or its "
            f"{CONFIG} has another form. Choose another name, or remove {CONFIG} and {LABELS}."
        )


def _text(file):
    return file.read_text(encoding="utf-8") if file.exists() else None


def _labels(names):
    return "".join(f"{name}\n" for name in names)


def _add_version(folder, source, file_name):
    """Copies the file into the next version's folder, which exists only when it is complete."""
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
    target = folder / str(max(versions, default=0) + 1)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as unfinished:
        content = Path(unfinished) / target.name
        content.mkdir()
        shutil.copyfile(source, content / file_name)
        content.rename(target)  # raises an error if the target exists by now
    return target / file_name


def _quoted(text):
    return json.dumps(text, ensure_ascii=False)
