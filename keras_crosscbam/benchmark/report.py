"""The report of a benchmark: raw times, results, and output formats."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass

from keras_crosscbam.benchmark.report_text import table, warnings
from keras_crosscbam.benchmark.statistics import (
    Interval,
    median_interval,
    percentiles,
    round_ratios,
)
from keras_crosscbam.benchmark.timing import images_per_call

COLUMNS = (
    "scope",
    "contender",
    "reference",
    "batch",
    "height",
    "width",
    "output",
    "calls",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "fps",
    "ratio",
    "ratio_low",
    "ratio_high",
    "peak_memory_bytes",
    "file_bytes",
    "sha256",
)


@dataclass(frozen=True)
class Result:
    """The result of one contender in one scope.

    Attributes:
        scope: a key of `SCOPES`.
        contender: name of the contender.
        calls: number of timed calls.
        p50, p90, p99: percentiles of the seconds of a call, over all rounds. With fewer than 100
            calls, p99 is close to the slowest call.
        fps: images per second, from the median call.
        ratio: a 95 % `Interval` of the time per image relative to the reference, from the ratios of
            the rounds. Below 1 is faster.
    """

    scope: str
    contender: str
    calls: int
    p50: float
    p90: float
    p99: float
    fps: float
    ratio: Interval


@dataclass(frozen=True)
class Report:
    """The raw times of a benchmark, and the conditions of the measurement.

        >>> from keras_crosscbam.benchmark import Report
        >>> report = Report.from_json(open("speed.json").read())  # doctest: +SKIP
        >>> print(report.table())  # doctest: +SKIP

    Attributes:
        setting: a dict of the settings: `date`, `image`, `image_size`, `rounds`, `threads`,
            `affinity` (core numbers), `isolated`, `seed`.
        machine: the result of `machine.machine()`.
        conditions: `machine.state()` `before` and `after`, and `other_cores`, the average number of
            cores used by other programs; None if unknown.
        reference: name of the contender that ratios are relative to.
        contenders: dict from name to properties: the result of `load`, `warm_up` by scope, and
            `usage` for a separate process.
        left_out: dict from the name of a peer that cannot be run to the reason.
        seconds: dict by scope and contender of lists, one for each round, of the seconds of calls.
        published: a dict for each published loop and contender; see `paper_protocols.Published`.
    """

    setting: dict
    machine: dict
    conditions: dict
    reference: str
    contenders: dict
    left_out: dict
    seconds: dict
    published: list

    def results(self) -> list[Result]:
        """Returns a `Result` for each scope and contender, the fastest first within a scope."""
        found = [
            self._result(scope, name, turns)
            for scope, all_turns in self.seconds.items()
            for name, turns in all_turns.items()
        ]
        order = list(self.seconds)
        return sorted(found, key=lambda result: (order.index(result.scope), -result.fps))

    def warnings(self) -> list[str]:
        """Returns warnings about the report, a list of sentences."""
        return warnings(self)

    def table(self) -> str:
        """Returns the report as text."""
        return table(self)

    def to_json(self) -> str:
        """Returns the report as JSON; `from_json` recomputes its `results` and `warnings`."""
        derived = {
            "results": [
                {**asdict(result), "ratio": result.ratio._asdict()} for result in self.results()
            ],
            "warnings": self.warnings(),
        }
        return json.dumps({**asdict(self), **derived}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Returns the report that `to_json` wrote.

        Raises:
            ValueError: for other text.
        """
        try:
            entries = json.loads(text)
            return cls(**{name: entries[name] for name in cls.__dataclass_fields__})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"Expected the JSON of a benchmark's report ({error!r})") from error

    def to_csv(self) -> str:
        """Returns the results as CSV with the columns `COLUMNS`.

        The published loops are in the last rows: scope `paper:NAME`, calls and FPS.
        """
        file = io.StringIO()
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for result in self.results():
            writer.writerow({**self._identity(result.contender), **_measures(result)})
        for loop in self.published:
            measures = {name: loop[name] for name in ("calls", "fps")}
            scope = f"paper:{loop['protocol']}"
            writer.writerow({**self._identity(loop["contender"]), "scope": scope, **measures})
        return file.getvalue()

    def _result(self, scope, name, turns):
        calls = [seconds for turn in turns for seconds in turn]
        p50, p90, p99 = percentiles(calls)
        images = images_per_call(scope, self.contenders[name]["batch"])
        peer_images = images_per_call(scope, self.contenders[self.reference]["batch"])
        ratios = round_ratios(turns, self.seconds[scope][self.reference])
        ratio = median_interval([ratio * peer_images / images for ratio in ratios])
        return Result(scope, name, len(calls), p50, p90, p99, images / p50, ratio)

    def _identity(self, name):
        facts = self.contenders[name]
        height, width = facts["size"]
        return {
            "contender": name,
            "reference": self.reference,
            "batch": facts["batch"],
            "height": height,
            "width": width,
            "output": facts["output"],
            "peak_memory_bytes": facts.get("usage", {}).get("memory_peak"),
            "file_bytes": facts["file_bytes"],
            "sha256": facts["sha256"],
        }


def _measures(result):
    return {
        "scope": result.scope,
        "calls": result.calls,
        **{f"{p}_ms": 1000 * getattr(result, p) for p in ("p50", "p90", "p99")},
        "fps": result.fps,
        "ratio": result.ratio.median,
        "ratio_low": result.ratio.low,
        "ratio_high": result.ratio.high,
    }
