"""Estimates the latency of a network on a card that is not available."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.benchmark.calibration import load_calibration
from keras_crosscbam.benchmark.cards import BYTES, CARDS, find_card
from keras_crosscbam.benchmark.graph_file import describe_graph, read_graph
from keras_crosscbam.benchmark.kernels import Kernel, kernels_of
from keras_crosscbam.benchmark.roofline import bound, ideal_seconds, seconds

if TYPE_CHECKING:
    import keras

    from keras_crosscbam.types import Size, StrPath


@dataclass(frozen=True)
class KernelEstimate:
    """The estimated time of a kernel.

    Attributes:
        kernel: the kernel and its work.
        milliseconds: estimated time.
        bound: what limits it, `"arithmetic"` or `"memory"`.
    """

    kernel: Kernel
    milliseconds: float
    bound: str


@dataclass(frozen=True)
class StageEstimate:
    """The sums over the kernels of a stage of the network.

    Attributes:
        stage: name of the stage.
        kernels: number of kernels.
        macs: multiply-accumulates.
        bytes: bytes read and written.
        milliseconds: estimated time.
        memory_share: share of that time in kernels that the memory limits.
    """

    stage: str
    kernels: int
    macs: int
    bytes: int
    milliseconds: float
    memory_share: float


@dataclass(frozen=True)
class Estimate:
    """An estimated latency, which nobody measured.

    Attributes:
        network: name of the file or the model.
        batch: batch size.
        size: `(height, width)` of the image in pixels.
        card: name of the card, a key of `CARDS`.
        precision: `"fp32"`, `"fp16"` or `"int8"`.
        kernels: a list of `KernelEstimate`.
        median_error: median absolute relative error of such estimates on published figures that
            were left out of the fit.
        worst_error: the largest of these errors.
        error_range: the lowest and the highest of these errors with their signs; below 0 is an
            estimate that is too fast.
        checked_figures: number of these figures.
        checked_card: the card of these figures.
        notes: sentences on what this estimate does not cover.
    """

    network: str
    batch: int
    size: tuple[int, int]
    card: str
    precision: str
    kernels: list[KernelEstimate]
    median_error: float
    worst_error: float
    error_range: tuple[float, float]
    checked_figures: int
    checked_card: str
    notes: list[str]

    @property
    def milliseconds(self) -> float:
        """Estimated milliseconds of a call, without copies to and from the card."""
        return sum(kernel.milliseconds for kernel in self.kernels)

    @property
    def fps(self) -> float:
        """Estimated images per second."""
        return 1000 * self.batch / self.milliseconds

    def stages(self) -> list[StageEstimate]:
        """Returns the sums for each stage, in the order of the network."""
        by_stage: dict[str, list[KernelEstimate]] = {}
        for entry in self.kernels:
            by_stage.setdefault(entry.kernel.stage, []).append(entry)
        return [self._sum(stage, entries) for stage, entries in by_stage.items()]

    def _sum(self, stage, entries):
        milliseconds = sum(entry.milliseconds for entry in entries)
        memory = sum(entry.milliseconds for entry in entries if entry.bound == "memory")
        return StageEstimate(
            stage=stage,
            kernels=len(entries),
            macs=sum(entry.kernel.macs for entry in entries),
            bytes=sum(entry.kernel.bytes(BYTES[self.precision]) for entry in entries),
            milliseconds=milliseconds,
            memory_share=memory / milliseconds,
        )

    def table(self) -> str:
        """Returns the estimate as text."""
        stages = self.stages()
        width = max(len(name) for name in ("stage", *(stage.stage for stage in stages))) + 2
        shape = f"{self.batch}x{self.size[0]}x{self.size[1]}"
        lines = [
            f"Estimate, not a measurement: {self.network} {shape}, {CARDS[self.card].title}, "
            f"TensorRT {self.precision.upper()}",
            f"estimated {self.milliseconds:.2f} ms, {self.fps:.0f} FPS",
            f"error of such estimates on {self.checked_figures} published figures of the "
            f"{CARDS[self.checked_card].title} (FP32) that the constant was not fitted on: median "
            f"{100 * self.median_error:.0f} %, worst {100 * self.worst_error:.0f} % (from "
            f"{100 * self.error_range[0]:+.0f} % to {100 * self.error_range[1]:+.0f} %)",
            *(f"note: {note}" for note in self.notes),
            "",
            f"{'stage':<{width}}{'kernels':>8}{'GMACs':>9}{'MB':>9}{'est. ms':>9}{'share':>8}"
            f"{'limited by memory':>19}",
        ]
        for stage in stages:
            lines.append(
                f"{stage.stage:<{width}}{stage.kernels:>8}{stage.macs / 1e9:>9.3f}"
                f"{stage.bytes / 1e6:>9.1f}{stage.milliseconds:>9.3f}"
                f"{100 * stage.milliseconds / self.milliseconds:>6.1f} %"
                f"{100 * stage.memory_share:>17.0f} %"
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """Returns the estimate as JSON, with the sums over stages."""
        derived = {
            "is_estimate": True,
            "milliseconds": self.milliseconds,
            "fps": self.fps,
            "stages": [asdict(stage) for stage in self.stages()],
        }
        return json.dumps({**derived, **asdict(self)}, indent=1)


def estimate(
    model: keras.Model | StrPath,
    card: str = "gtx-1080-ti",
    precision: str = "fp32",
    size: Size | None = None,
) -> Estimate:
    """Estimates the latency of a network under TensorRT on a card, without the card.

        >>> import keras_crosscbam as kc
        >>> print(kc.estimate("m1.onnx", "t4", "fp16").table())  # doctest: +SKIP

    The estimate is a roofline over the graph: each kernel (a node, or nodes that TensorRT fuses)
    takes the longer of its times at the card's peak rate and at its peak bandwidth, divided by one
    constant, plus the time of a launch. The constant is fitted on published figures of the GTX
    1080 Ti and checked on others, and the errors of this check are part of the result
    (docs/deployment.md). Copies to and from the card are not counted.

    Args:
        model: the path of an ONNX file, which needs the package `onnx` only, or a `keras.Model`,
            which is exported first. A file should be exported with `optimize_for="tensorrt"`.
        card: a key of `keras_crosscbam.benchmark.CARDS`.
        precision: `"fp32"`, `"fp16"` or `"int8"`. All layers are taken to compute in it.
        size: `(height, width)` in pixels, for a model or a file that takes images of any size.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: for a card or a precision without data, for an unreadable file, for a file of
            any size without `size`, for an INT8 file with another precision, and for operators
            whose cost is unknown.
        ImportError: if onnx is missing, or the libraries of the export for a Keras model.
    """
    rates = find_card(card, precision)
    if isinstance(model, (str, os.PathLike)):
        path, name = Path(model), Path(model).name
        graph = read_graph(path, size)
    else:
        graph = _exported_graph(model, size)
        name = model.name
    facts = describe_graph(graph)
    if facts.quantized and precision != "int8":
        raise ValueError(
            f"{name} is quantized to INT8: pass precision='int8', or the file in float. "
            f"Received: precision={precision!r}"
        )
    calibration = load_calibration()
    kernels = [
        KernelEstimate(
            kernel,
            1e3 * seconds(ideal_seconds(kernel, rates, precision), 1, calibration.efficiency),
            bound(kernel, rates, precision),
        )
        for kernel in kernels_of(graph)
    ]
    return Estimate(
        network=name,
        batch=facts.batch,
        size=facts.size,
        card=card,
        precision=precision,
        kernels=kernels,
        median_error=calibration.median_error,
        worst_error=calibration.worst_error,
        error_range=(min(calibration.errors), max(calibration.errors)),
        checked_figures=len(calibration.checked),
        checked_card=calibration.card,
        notes=list(_notes(card, precision, calibration, facts)),
    )


def _exported_graph(model, size):
    """Returns the graph of a Keras model, exported for TensorRT."""
    import keras

    from keras_crosscbam import export

    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected the path of an ONNX file or a `keras.Model`. Received: {model!r}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export.to_onnx(model, path, input_size=size, optimize_for="tensorrt")
        return read_graph(path)


def _notes(card, precision, calibration, facts):
    if card != calibration.card:
        yield (
            "no published figure of this card was available for a check; the constant is that of "
            f"the {CARDS[calibration.card].title}"
        )
    elif precision != calibration.precision:
        yield (
            f"no published figure of this card in {precision.upper()} was available for a check; "
            f"the constant is that of {calibration.precision.upper()}"
        )
    if precision != "fp32":
        yield (
            f"all layers are taken to compute in {precision.upper()}; an engine may keep some in "
            "a higher precision"
        )
    if facts.optimized_for not in (None, "tensorrt"):
        yield (
            f"the file was rewritten for {facts.optimized_for}, which makes it slower in TensorRT; "
            "export it with --optimize-for tensorrt"
        )
