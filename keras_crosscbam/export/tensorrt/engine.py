"""ONNX to a TensorRT engine, by one code path for TensorRT 8.6, 10, 11 and TensorRT-RTX."""

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
    "If the card is older than this version of TensorRT: Pascal, such as the GTX 1080 Ti, ends "
    "with TensorRT 8.6, Volta with 10.4"
)


@dataclass(frozen=True)
class EngineReport:
    """What was built, and what is in it; all but `path` also stands in the engine's sidecar.

    Attributes:
        path: the engine.
        flavour: `"TensorRT"` or `"TensorRT-RTX"`.
        version: of TensorRT, a string.
        gpu: name of the card it is for; None if it was not built for the one at hand.
        compute_capability: `(major, minor)` that it runs on; None for all from Ampere on, which
            only TensorRT-RTX builds for.
        precision: what was asked for.
        precisions: what was found: number of layers by `"INT8"`, `"FP16"`, `"TF32"`, `"FP32"`...
        read_from: `"engine"`; or `"network"`, whose types the engine keeps, where no card is at
            hand to open the engine with.
        seconds: how long the build took.
        size: bytes.
        sha256: of the engine.
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
        """Precisions that were asked for and that no layer has, such as `["FP16"]`."""
        asked = [kind.upper() for kind in self.precision.split("+")]
        return [kind for kind in asked if kind not in " ".join(self.precisions)]

    def __str__(self) -> str:
        capability = self.compute_capability
        card = "every card from Ampere on"
        if capability:
            card = f"{self.gpu or 'cards'} (compute capability {capability[0]}.{capability[1]})"
        return "\n".join(
            [
                f"{self.path}: {self.flavour} {self.version} for {card}, {self.size / 1e6:.1f} MB, "
                f"built in {self.seconds:.1f} s",
                f"{self.precision} asked for; layers by what they compute in, read from the "
                f"{self.read_from}:",
                *(f"  {kind:<12} {count:4d}" for kind, count in self.precisions.items()),
                *(f"  No layer says that it computes in {kind}." for kind in self.missing),
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
    """Builds a TensorRT engine for the card of this machine, and reads its precision back.

        >>> from keras_crosscbam.export.tensorrt.engine import build_engine
        >>> print(build_engine("m.onnx", "m.engine", precision="fp16"))  # doctest: +SKIP
        m.engine: TensorRT-RTX 1.7.1.116 for every card from Ampere on, 27.3 MB, built in 0.5 s
        fp16 asked for; layers by what they compute in, read from the network:
          FP16          168

    The description in the ONNX file goes to `ENGINE.json` beside the engine, with this report.

    Args:
        onnx_path: a file written by `to_onnx(..., optimize_for="tensorrt")`, or another.
        engine_path: where to write the engine.
        precision: `"fp32"`, which excludes TF32; `"tf32"`, 10 bits of mantissa from Ampere cards
            on; `"fp16"`; `"int8"`, of a file with QuantizeLinear nodes, signed and symmetric, the
            rest of it in FP32; `"int8+fp16"`, the rest of it in FP16.
        workspace_gib: scratch memory that a layer may use, in GiB; None for all of the card's.
        timing_cache: file in which TensorRT keeps what it measured, for the next build to be
            faster; made if it is missing. TensorRT-RTX measures nothing and leaves it alone.
        profile: `(min, opt, max)` batch sizes of a file with a dynamic batch, or whole input
            shapes of one with a dynamic size; fastest at `opt`.
        builder_optimization_level: 0 to 5; None for TensorRT's default, 3. Higher levels build
            longer and may run faster.
        compute_capability: `(major, minor)` of a card that need not be here, which only
            TensorRT-RTX builds for; None for the card of this machine, and with TensorRT-RTX for
            every card from Ampere on.
        trt: the TensorRT module; None to look for TensorRT, then TensorRT-RTX.

    Returns:
        `EngineReport`.

    Raises:
        ValueError: for arguments out of range, and files that TensorRT cannot take.
        ImportError: if TensorRT is missing.
        RuntimeError: if there is no driver or GPU, the card has no fast arithmetic of that
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
    except TypeError as error:  # all that the bindings make of a missing builder
        raise RuntimeError(f"{name} cannot work on {device}: {log.take()}. {_OLDER}.") from error
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
    """The card, which TensorRT cannot do without and TensorRT-RTX can."""
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
        raise RuntimeError(f"The engine was built and cannot be opened: {log.take()}")
    return engine_precisions(trt, engine)


def _description(path, model, network):
    """What the ONNX file says of itself, or else what its tensors look like."""
    for entry in model.metadata_props:
        if entry.key == METADATA:
            return Description.from_json(entry.value)
    image, output = (
        tensor(t.shape, t.dtype) for t in (network.get_input(0), network.get_output(0))
    )
    return signature(str(path), image, output)["description"]
