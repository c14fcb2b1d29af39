"""Builds TensorRT engines from ONNX files, with TensorRT 8.6, 10, 11 or TensorRT-RTX."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from keras_crosscbam.export.tensorrt.builder import (
    add_profile,
    aim_at_card,
    check_card,
    kept_timings,
    make_config,
    make_network,
    read_graph,
)
from keras_crosscbam.export.tensorrt.precision import engine_precisions, network_precisions
from keras_crosscbam.export.verified import keep_if_verified
from keras_crosscbam.runtime.description import METADATA, Description, write_beside
from keras_crosscbam.runtime.signature import signature
from keras_crosscbam.runtime.tensorrt import cuda
from keras_crosscbam.runtime.tensorrt.engine_file import find_tensorrt, flavour_of, logger
from keras_crosscbam.runtime.tensorrt.runtime import tensor

if TYPE_CHECKING:
    from keras_crosscbam.types import StrPath

PRECISIONS = ("fp32", "tf32", "fp16", "int8", "int8+fp16")
_OLDER = (
    "This version of TensorRT may not support the GPU: the last version for Pascal, such as the "
    "GTX 1080 Ti, is TensorRT 8.6, and for Volta 10.4"
)


@dataclass(frozen=True)
class EngineReport:
    """The result of a build. All fields except `path` are also in the engine's sidecar file.

    Attributes:
        path: the engine.
        flavour: `"TensorRT"` or `"TensorRT-RTX"`.
        version: version of TensorRT, a string.
        gpu: name of the GPU; None if the engine was not built for the GPU of this machine.
        compute_capability: `(major, minor)` that the engine runs on; None for all GPUs from Ampere
            on, with TensorRT-RTX only.
        precision: the requested precision.
        precisions: number of layers by their actual precision: `"INT8"`, `"FP16"`, `"TF32"`,
            `"FP32"`...
        read_from: source of `precisions`: `"engine"`, or `"network"`, whose types the engine keeps,
            if no GPU is available to open the engine.
        seconds: duration of the build.
        size: size of the engine in bytes.
        sha256: SHA-256 of the engine.
    """

    path: Path
    flavour: str
    version: str
    gpu: str | None
    compute_capability: tuple[int, int] | None
    precision: str
    precisions: dict[str, int]
    read_from: str
    seconds: float
    size: int
    sha256: str

    @property
    def missing(self) -> list[str]:
        """Requested precisions that no layer has, such as `["FP16"]`."""
        asked = [kind.upper() for kind in self.precision.split("+")]
        return [kind for kind in asked if kind not in " ".join(self.precisions)]

    def __str__(self) -> str:
        capability = self.compute_capability
        card = "every GPU from Ampere on"
        if capability:
            card = f"{self.gpu or 'GPUs'} (compute capability {capability[0]}.{capability[1]})"
        return "\n".join(
            [
                f"{self.path}: {self.flavour} {self.version} for {card}, {self.size / 1e6:.1f} MB, "
                f"built in {self.seconds:.1f} s",
                f"{self.precision} requested; layers by precision, read from the {self.read_from}:",
                *(f"  {kind:<12} {count:4d}" for kind, count in self.precisions.items()),
                *(f"  No layer computes in {kind}." for kind in self.missing),
            ]
        )


def build_engine(
    onnx_path: StrPath,
    engine_path: StrPath,
    precision: str = "fp32",
    workspace_gib: float | None = None,
    timing_cache: StrPath | None = None,
    profile: Sequence[int] | Sequence[Sequence[int]] | None = None,
    builder_optimization_level: int | None = None,
    compute_capability: tuple[int, int] | None = None,
    trt: ModuleType | None = None,
) -> EngineReport:
    """Builds a TensorRT engine for the GPU of this machine, and reports its precision.

        >>> from keras_crosscbam.export.tensorrt.engine import build_engine
        >>> print(build_engine("m.onnx", "m.engine", precision="fp16"))  # doctest: +SKIP
        m.engine: TensorRT-RTX 1.7.1.116 for every GPU from Ampere on, 27.3 MB, built in 0.5 s
        fp16 requested; layers by precision, read from the network:
          FP16          168

    The description in the ONNX file and the report are written to `ENGINE.json` next to the engine.

    Args:
        onnx_path: an ONNX file, ideally written by `to_onnx(..., optimize_for="tensorrt")`.
        engine_path: path of the engine to write.
        precision: `"fp32"`, without TF32; `"tf32"`, with 10 bits of mantissa, on GPUs from Ampere
            on; `"fp16"`; `"int8"`, for a file with signed and symmetric QuantizeLinear nodes, the
            other layers in FP32; `"int8+fp16"`, the other layers in FP16.
        workspace_gib: scratch memory for a layer in GiB; None for the complete GPU memory.
        timing_cache: file with TensorRT's timings, which make the next build faster; created if it
            does not exist. TensorRT-RTX does not use it.
        profile: `(min, opt, max)` batch sizes for a file with a dynamic batch, or three complete
            input shapes for a file with a dynamic size. The engine is fastest at `opt`.
        builder_optimization_level: 0 to 5; None for TensorRT's default, 3. Higher levels take
            longer to build and may run faster.
        compute_capability: `(major, minor)` of another GPU, with TensorRT-RTX only; None for the
            GPU of this machine, or, with TensorRT-RTX, for every GPU from Ampere on.
        trt: the TensorRT module; None to import TensorRT, or else TensorRT-RTX.

    Returns:
        `EngineReport`.

    Raises:
        ValueError: for arguments out of range, and for files that TensorRT does not support.
        ImportError: if TensorRT is missing.
        RuntimeError: if there is no driver or GPU, the GPU has no fast arithmetic of that
            precision, or the build fails.
    """
    engine_path = Path(engine_path)
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}. Received: {precision!r}")
    model = read_graph(onnx_path, precision)
    trt = trt or find_tensorrt()
    name = f"{flavour_of(trt)} {trt.__version__}"
    device = _device(trt)
    log = logger(trt)
    log.take()
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # the bindings raise it if the builder is None
        raise RuntimeError(f"{name} cannot run on {device}: {log.take()}. {_OLDER}.") from error
    check_card(builder, precision, device)
    network = make_network(trt, builder, model, precision, log, onnx_path)
    description = _description(onnx_path, model, network)
    config = make_config(trt, builder, precision, workspace_gib, builder_optimization_level)
    if compute_capability:
        aim_at_card(trt, config, compute_capability)
    add_profile(builder, config, network, profile)
    begin = time.perf_counter()
    with kept_timings(trt, config, timing_cache):
        built = builder.build_serialized_network(network, config)
        if built is None:
            raise RuntimeError(f"{name} cannot build {onnx_path}: {log.take()}. {_OLDER}.")
    seconds = time.perf_counter() - begin
    data = bytes(built)
    at_hand = device is not None and compute_capability in (None, device.compute_capability)
    bound = at_hand and flavour_of(trt) == "TensorRT"
    report = EngineReport(
        path=engine_path,
        flavour=flavour_of(trt),
        version=trt.__version__,
        gpu=device.name if bound else None,
        compute_capability=device.compute_capability if bound else compute_capability,
        precision=precision,
        precisions=_inspect(trt, log, data)
        if at_hand
        else network_precisions(network, tf32="tf32" in precision),
        read_from="engine" if at_hand else "network",
        seconds=round(seconds, 3),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    entry = {key: value for key, value in dataclasses.asdict(report).items() if key != "path"}
    extra = {**description.extra, "engine": entry}
    with keep_if_verified(engine_path) as unfinished:
        unfinished.write_bytes(data)
        write_beside(unfinished, dataclasses.replace(description, extra=extra))
    return report


def _device(trt):
    """Returns the GPU; None for TensorRT-RTX without a GPU, which TensorRT requires."""
    try:
        connection = cuda.connect()
    except RuntimeError:
        if flavour_of(trt) == "TensorRT":
            raise
        return None
    connection.close()
    return connection.device


def _inspect(trt, log, data):
    engine = trt.Runtime(log).deserialize_cuda_engine(data)
    if engine is None:
        raise RuntimeError(f"The engine was built but cannot be opened: {log.take()}")
    return engine_precisions(trt, engine)


def _description(path, model, network):
    """Returns the description in the ONNX file, or one inferred from its tensors."""
    for entry in model.metadata_props:
        if entry.key == METADATA:
            return Description.from_json(entry.value)
    image, output = (
        tensor(t.shape, t.dtype) for t in (network.get_input(0), network.get_output(0))
    )
    return signature(str(path), image, output)["description"]
