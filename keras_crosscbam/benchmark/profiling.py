"""Profiles a network: where the time of a call goes, by stage and by operator."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam import runtime as runtimes
from keras_crosscbam.benchmark.machine import OtherWork
from keras_crosscbam.benchmark.profilers import NodeTime, onnxruntime_times, openvino_times
from keras_crosscbam.benchmark.report_text import BUSY
from keras_crosscbam.image_channels import read_channels
from keras_crosscbam.images import STREET
from keras_crosscbam.runtime.loading import split
from keras_crosscbam.runtime.resize import bilinear

if TYPE_CHECKING:
    from keras_crosscbam.types import Size, StrPath

RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")


@dataclass(frozen=True)
class Share:
    """The sum over the nodes of a stage, or of an operator.

    Attributes:
        name: the stage or the operator.
        nodes: number of nodes.
        milliseconds: sum of their times.
        share: share of the sum over all nodes.
    """

    name: str
    nodes: int
    milliseconds: float
    share: float


@dataclass(frozen=True)
class Profile:
    """The times of the nodes of a network.

    Attributes:
        network: path of the file.
        runtime: name of the engine, one of `RUNTIMES`.
        library: name and version of its library.
        statistic: `"medians"` or `"means"`, over the runs, of the times of nodes.
        shape: shape of the input array.
        threads: number of threads; None for all cores.
        runs: number of runs.
        nodes: a list of `NodeTime`, in the order of execution.
        call_milliseconds: median time of a call by the wall clock, while profiling, which takes
            time itself.
        other_cores: average number of cores used by other programs; None if unknown.
    """

    network: str
    runtime: str
    library: str
    statistic: str
    shape: tuple[int, ...]
    threads: int | None
    runs: int
    nodes: list[NodeTime]
    call_milliseconds: float
    other_cores: float | None

    @property
    def milliseconds(self) -> float:
        """Sum of the times of the nodes."""
        return sum(node.milliseconds for node in self.nodes)

    def stages(self) -> list[Share]:
        """Returns the sums for each stage, in the order of execution."""
        return self._sums("stage")

    def operators(self) -> list[Share]:
        """Returns the sums for each operator, the slowest first."""
        return sorted(self._sums("operator"), key=lambda entry: -entry.milliseconds)

    def _sums(self, attribute):
        groups: dict[str, list[float]] = {}
        for node in self.nodes:
            groups.setdefault(getattr(node, attribute), []).append(node.milliseconds)
        return [
            Share(name, len(times), sum(times), sum(times) / self.milliseconds)
            for name, times in groups.items()
        ]

    def warnings(self) -> list[str]:
        """Returns warnings about the profile, a list of sentences."""
        if self.other_cores is None or self.other_cores <= BUSY:
            return []
        return [
            f"other programs used {self.other_cores:.1f} cores. They interrupt long nodes more "
            "often than short ones, so the shares of long nodes are too large."
        ]

    def table(self) -> str:
        """Returns the profile as text."""
        threads = "all cores" if self.threads is None else f"threads: {self.threads}"
        lines = [
            f"{self.network} {'x'.join(map(str, self.shape))}, {self.runtime} ({self.library}), "
            f"{threads}, {self.statistic} of {self.runs} runs",
            f"nodes {self.milliseconds:.2f} ms; a call while profiling "
            f"{self.call_milliseconds:.2f} ms",
        ]
        for title, entries in (("stage", self.stages()), ("operator", self.operators())):
            width = max(len(name) for name in (title, *(entry.name for entry in entries))) + 2
            lines += ["", f"{title:<{width}}{'nodes':>6}{'ms':>10}{'share':>9}"]
            lines += [
                f"{entry.name:<{width}}{entry.nodes:>6}{entry.milliseconds:>10.3f}"
                f"{100 * entry.share:>7.1f} %"
                for entry in entries
            ]
        lines += [f"\nwarning: {warning}" for warning in self.warnings()]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Returns the profile as JSON, with the sums over stages and operators."""
        derived = {
            "milliseconds": self.milliseconds,
            "warnings": self.warnings(),
            "stages": [asdict(entry) for entry in self.stages()],
            "operators": [asdict(entry) for entry in self.operators()],
        }
        return json.dumps({**derived, **asdict(self)}, indent=1)


def profile(
    model: StrPath,
    runtime: str | None = None,
    *,
    runs: int = 20,
    threads: int | None = None,
    size: Size | None = None,
    batch: int = 1,
) -> Profile:
    """Measures where the time of a network goes, by the runtime's own profiler.

        >>> import keras_crosscbam as kc
        >>> print(kc.profile("m1.onnx", threads=2).table())  # doctest: +SKIP
        >>> kc.profile("m1.onnx", "openvino-bf16").stages()  # doctest: +SKIP

    Runtimes rewrite a graph before they run it, and name the new nodes after those that they
    replace. A node without the name of a layer belongs to the stage of the named node after it.

    Args:
        model: path of an `.onnx` file, or of an `.xml` file of OpenVINO. A path may have the
            runtime and a colon as a prefix: `"openvino:m1.onnx"`.
        runtime: `"onnxruntime"`, `"openvino"` (float32) or `"openvino-bf16"`; None for the default
            of the file.
        runs: number of runs, at least 1, after a warm-up.
        threads: number of threads; None for all cores.
        size: `(height, width)` in pixels for a file that takes images of any size; None for the
            size of the package's street photograph.
        batch: batch size for a file of any batch size.

    Returns:
        A `Profile`.

    Raises:
        ValueError: for an unreadable file, a runtime without a profile, and `runs` below 1.
        RuntimeError: if the processor does not support bfloat16.
        ImportError: if the runtime is not installed, or `onnx` for an ONNX file.
    """
    if runs < 1:
        raise ValueError(f"`runs` must be at least 1. Received: {runs}")
    path, engine = split(model, runtime)
    if engine not in RUNTIMES:
        raise ValueError(f"`runtime` must be one of {RUNTIMES}. Received: {engine!r} for {path}")
    prepared = _prepared(path, engine, threads, size, batch)
    others, spent = OtherWork(), time.process_time()
    if engine == "onnxruntime":
        times = onnxruntime_times(path, prepared, threads, runs)
    else:
        precision = "bf16" if engine == "openvino-bf16" else "f32"
        times = openvino_times(path, prepared, threads, runs, precision)
    return Profile(
        network=str(path),
        runtime=engine,
        library=times.library,
        statistic=times.statistic,
        shape=prepared.shape,
        threads=threads,
        runs=runs,
        nodes=times.nodes,
        call_milliseconds=times.call_milliseconds,
        other_cores=others.cores(time.process_time() - spent),
    )


def _prepared(path, engine, threads, size, batch):
    """Returns the input array: the street photograph, as often as the batch size."""
    run = runtimes.load(path, engine=engine, threads=threads)
    frame = read_channels(STREET, run.channels)
    if size := run.size or size:
        frame = bilinear(frame, tuple(size))
    return run.prepare(np.repeat(frame[None], run.batch or batch, axis=0))
