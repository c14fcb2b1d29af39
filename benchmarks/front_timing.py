"""Exports, quantizes and times the trained networks of `front.py`, all in the same way."""

import json
from dataclasses import dataclass

from front_networks import REFERENCE

from keras_crosscbam.benchmark import Report, benchmark
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.export import quantize, to_onnx
from keras_crosscbam.training.atomic import replacing


@dataclass(frozen=True)
class Runtime:
    """A runtime and precision in which the networks are timed.

    Attributes:
        title: name in the table and in the picture.
        target: runtime that the file is written for.
        engine: engine of `keras_crosscbam.runtime.load`.
        int8: whether the file is quantized.
    """

    title: str
    target: str
    engine: str
    int8: bool = False

    @property
    def kind(self):
        """Name of the kind of file that it runs, and of the folder with these files."""
        return f"{self.target}-int8" if self.int8 else self.target

    @property
    def ending(self):
        return ".xml" if self.int8 and self.target == "openvino" else ".onnx"


RUNTIMES = {
    "onnxruntime": Runtime("ONNX Runtime FP32", "onnxruntime", "onnxruntime"),
    "openvino": Runtime("OpenVINO FP32", "openvino", "openvino"),
    "openvino-bf16": Runtime("OpenVINO bf16", "openvino", "openvino-bf16"),
    "onnxruntime-int8": Runtime("ONNX Runtime INT8", "onnxruntime", "onnxruntime", int8=True),
    "openvino-int8": Runtime("OpenVINO INT8", "openvino", "openvino", int8=True),
}


def shape_text(size):
    """Returns a size as text.

    >>> from front_timing import shape_text
    >>> shape_text((360, 480))
    '360x480'
    """
    return "x".join(map(str, size))


def file_of(out, name, group, runtime, size):
    """Returns the path of a network trained without a group, for a runtime and a size."""
    return out / "files" / group / shape_text(size) / runtime.kind / f"{name}{runtime.ending}"


def quantization_of(out, name, group, runtime):
    """Returns the path of the result of a network's quantization for a runtime."""
    return out / "quantization" / f"{name}-without-{group}-{runtime.target}.json"


def write_file(model, path, runtime, size, frames):
    """Exports or quantizes a model for a runtime, unless the file exists.

    Args:
        model: the trained `keras.Model`.
        path: the file to write.
        runtime: a `Runtime`.
        size: `(height, width)` of the images.
        frames: the `SegmentationDataset` to calibrate on.
    """
    if path.exists():
        return
    if runtime.int8:
        print(quantize(model, path, frames, runtime.target, input_size=size, force=True))
    else:
        print(f"{path}: {to_onnx(model, path, size, optimize_for=runtime.target)}", flush=True)


def measure_loss(model, path, runtime, size, frames, held_out, result):
    """Quantizes a model, and writes the mean IoU of FP32 and INT8 as JSON, unless it exists.

    Args:
        model, path, runtime, size, frames: as in `write_file`.
        held_out: the `SegmentationDataset` to evaluate on.
        result: path of the JSON file.
    """
    if result.exists():
        return
    report = quantize(
        model, path, frames, runtime.target, input_size=size, dataset=held_out, force=True
    )
    print(report, flush=True)
    write_json(result, {"fp32": report.reference, "int8": report.quantized, "size": list(size)})


def time_networks(files, engine, report_path, threads, rounds):
    """Times files in interleaved rounds, and writes the report as JSON.

    An existing report on the same files is kept.

    Args:
        files: dict from the name of a network to its file, with that of `REFERENCE`.
        engine: engine that runs the files.
        report_path: path of the report.
        threads: number of cores; None for all.
        rounds: number of rounds.
    """
    if report_path.exists() and _is_of(Report.from_json(report_path.read_text()), files):
        return
    names = [REFERENCE, *(name for name in files if name != REFERENCE)]
    report = benchmark(
        [f"{engine}:{files[name]}" for name in names],
        scopes=["network"],
        threads=threads,
        rounds=rounds,
        progress=True,
    )
    print(report.table(), flush=True)
    report_path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(report_path) as unfinished:
        unfinished.write_text(report.to_json())


def ratios(report):
    """Returns a dict from the name of a network to its time relative to `REFERENCE`.

    The values are `Interval`s.
    """
    return {_network(result.contender): result.ratio for result in report.results()}


def _is_of(report, files):
    digests = {_network(name): facts["sha256"] for name, facts in report.contenders.items()}
    return digests == {name: file_sha256(file) for name, file in files.items()}


def _network(contender):
    """Returns the name of the network of a contender such as `openvino:pidnet-s.onnx`."""
    return contender.rpartition(":")[2].rpartition("/")[2].rpartition(".")[0]


def write_json(path, content):
    """Writes JSON into a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1))
