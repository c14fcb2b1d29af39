"""Speed benchmarks with interleaved rounds and confidence intervals, estimates and profiles.

>>> from keras_crosscbam.benchmark import benchmark
>>> report = benchmark(["m1.onnx", "openvino:m1.onnx"], against=["stdc1.onnx"])  # doctest: +SKIP
>>> print(report.table())  # doctest: +SKIP
"""

from keras_crosscbam.benchmark.cards import CARDS, Card
from keras_crosscbam.benchmark.comparison import benchmark
from keras_crosscbam.benchmark.estimation import Estimate, KernelEstimate, StageEstimate, estimate
from keras_crosscbam.benchmark.input_pipeline import pipeline_throughput
from keras_crosscbam.benchmark.paper_protocols import PROTOCOLS
from keras_crosscbam.benchmark.profiling import NodeTime, Profile, profile
from keras_crosscbam.benchmark.report import Report, Result
from keras_crosscbam.benchmark.timing import SCOPES

__all__ = [
    "CARDS",
    "PROTOCOLS",
    "SCOPES",
    "Card",
    "Estimate",
    "KernelEstimate",
    "NodeTime",
    "Profile",
    "Report",
    "Result",
    "StageEstimate",
    "benchmark",
    "estimate",
    "pipeline_throughput",
    "profile",
]
