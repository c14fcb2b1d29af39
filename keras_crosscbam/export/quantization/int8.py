"""Quantizes networks to INT8 files, and verifies their accuracy."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.evaluation import evaluate
from keras_crosscbam.export.litert import to_litert
from keras_crosscbam.export.onnx import to_onnx
from keras_crosscbam.export.quantization import quantizers
from keras_crosscbam.export.quantization.calibration import MAX_FRAMES, calibration_images
from keras_crosscbam.export.quantization.pooling import pools_as_convolutions
from keras_crosscbam.export.verified import (
    at_size,
    frame_batches,
    keep_if_verified,
    require_convolutions,
)
from keras_crosscbam.models.precision import in_float32
from keras_crosscbam.runtime.loading import load

if TYPE_CHECKING:
    import keras

    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import Channels, Frames, Size, StrPath


@dataclass(frozen=True)
class Target:
    """A runtime that INT8 files are written for.

    Attributes:
        ending: extension of the file.
        engine: engine of `runtime.load` that evaluates the file.
        quantizer: the function of `quantizers` that writes it.
    """

    ending: str
    engine: str
    quantizer: Callable


TARGETS = {
    "onnxruntime": Target(".onnx", "onnxruntime", quantizers.for_onnxruntime),
    "tensorrt": Target(".onnx", "onnxruntime", quantizers.for_tensorrt),
    "openvino": Target(".xml", "openvino", quantizers.for_openvino),
    "litert": Target(".tflite", "litert", quantizers.for_litert),
}
"""Targets by the values of `runtime` in `quantize`."""


class QuantizationError(RuntimeError):
    """Raised if an INT8 file loses more accuracy than allowed."""


@dataclass(frozen=True)
class QuantizationReport:
    """The result of a quantization.

    Attributes:
        path: the INT8 file.
        runtime: the runtime of the file.
        int8_convolutions, convolutions: number of convolutions with INT8 weights, and of all
            convolutions in the file.
        calibration_frames: number of frames for calibration.
        dataset: name of the labeled data set for the evaluation, or None.
        frames: number of frames of the evaluation.
        reference, quantized: mean IoU of FP32 and INT8, 0..1. Without a labeled data set, 1 and
            the share of the pixels whose INT8 label equals the FP32 label.
        classes_in_mean: number of classes in the mean of FP32 and in that of INT8; None without a
            labeled data set.
        max_loss: maximum of `loss`, in percentage points.
    """

    path: Path
    runtime: str
    int8_convolutions: int
    convolutions: int
    calibration_frames: int
    dataset: str | None
    frames: int
    reference: float
    quantized: float
    classes_in_mean: tuple[int, int] | None
    max_loss: float

    @property
    def loss(self) -> float:
        """Loss of mean IoU in percentage points; without a data set, percent of changed labels."""
        return 100 * (self.reference - self.quantized)

    @property
    def ok(self) -> bool:
        return self.loss <= self.max_loss

    def __str__(self) -> str:
        return (
            f"{self.path}: INT8 for {self.runtime}, {self.int8_convolutions} of "
            f"{self.convolutions} convolutions, calibrated on {self.calibration_frames} frames\n"
            f"{self.comparison}"
        )

    @property
    def comparison(self) -> str:
        """The comparison with FP32 as text."""
        if self.classes_in_mean is None:
            return (
                f"no mean IoU without labeled frames: on the {self.frames} calibration "
                f"frames {100 * self.quantized:.2f} % of the pixels have the label of FP32; "
                f"{self.loss:.2f} % changed, at most {self.max_loss:g} % allowed"
            )
        before, after = self.classes_in_mean
        return (
            f"mean IoU on {self.frames} frames of {self.dataset}: FP32 "
            f"{100 * self.reference:.2f} % over {before} classes, INT8 "
            f"{100 * self.quantized:.2f} % over {after}; "
            f"{self.loss:.2f} points lost of at most {self.max_loss:g}"
        )


def quantize(
    source: keras.Model | StrPath,
    path: StrPath,
    frames: SegmentationDataset | Frames,
    runtime: str = "onnxruntime",
    input_size: Size | None = None,
    batch: int = 1,
    input: str = "float",
    output: str = "logits",
    exclude: Sequence[str] = ("first", "last"),
    dataset: SegmentationDataset | None = None,
    max_loss: float = 1.0,
    force: bool = False,
    max_frames: int = MAX_FRAMES,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> QuantizationReport:
    """Quantizes a network to INT8, and verifies its accuracy on real frames.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.datasets import load_camvid
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(360, 480, 3))  # doctest: +SKIP
        >>> train, val = (load_camvid("CamVid", s) for s in ("train", "val"))  # doctest: +SKIP
        >>> report = kc.export.quantize(model, "m.onnx", train, dataset=val)  # doctest: +SKIP
        >>> print(report.comparison)  # doctest: +SKIP
        mean IoU on 101 frames of camvid: FP32 66.46 % over 11 classes, INT8 66.39 % over 11; 0.07
        points lost of at most 1

    Convolutions and the operations between them compute in INT8. The normalization of the pixels,
    the gates of the attention modules, and all operations after the last convolution stay in float.

    Args:
        source: a functional `keras.Model`, or a `.keras` file, which both give the fastest result.
            For other runtimes than LiteRT also a float `.onnx` file, whose size, batch, input and
            output are kept.
        path: the file to write: `.onnx`, `.xml` for OpenVINO or `.tflite` for LiteRT. It is only
            created if the comparison passes.
        frames: the frames for calibration: a `SegmentationDataset`, or a list of images or paths.
            Several dozen training images are enough.
        runtime: `"onnxruntime"`, `"openvino"` or `"litert"` for CPUs, or `"tensorrt"` for an ONNX
            file to build an engine from. A file is only fast in its own runtime.
        input_size, batch, input, output: as in `to_onnx`, for a Keras model.
        exclude: names of more operations to keep in float: `"first"` and `"last"` for the first and
            last convolution, Keras layers such as `"se_aspp"`, or operations of the graph. These
            two convolutions are hardly faster in INT8, and quantizing them doubles the number of
            changed labels.
        dataset: a labeled `SegmentationDataset` for the mean IoU of FP32 and INT8, different from
            the calibration frames. None to compare the labels of both on the calibration frames.
        max_loss: maximum loss of mean IoU in percentage points, or maximum percent of changed
            labels.
        force: whether to keep the file even if the loss is larger.
        max_frames: maximum number of calibration frames; they are selected at equal distances.
        mean, std: normalization of an ONNX file from another tool that takes normalized pixels, as
            in `keras_crosscbam.runtime.load`. The INT8 file takes the same pixels.

    Returns:
        A `QuantizationReport`, which can be printed.

    Raises:
        QuantizationError: if the loss exceeds `max_loss`. The file is not kept, unless `force`.
        ValueError: for arguments out of range, unreadable frames, and names that do not occur.
        ImportError: if the quantization library is missing: `pip install
            keras-crosscbam[onnx]`, `[openvino]` or `[litert]`.
    """
    if runtime not in TARGETS or Path(path).suffix != TARGETS[runtime].ending:
        endings = {name: target.ending for name, target in TARGETS.items()}
        raise ValueError(
            f"`runtime` must be one of these, with files of these extensions: {endings}. "
            f"Received: runtime={runtime!r}, path={str(path)!r}"
        )
    if not (_is_onnx(source) or mean is std is None):
        raise ValueError(
            "`mean` and `std` are for ONNX files from other tools; files exported from a Keras "
            f"model take pixels of 0..255. Received: mean={mean!r}, std={std!r}"
        )
    target = TARGETS[runtime]
    with tempfile.TemporaryDirectory() as folder, keep_if_verified(path) as unchecked:
        options = {"input_size": input_size, "batch": batch, "input": input, "output": output}
        network, float_file = _float_network(source, runtime, Path(folder), options)
        reference = load(float_file, engine=target.engine, mean=mean, std=std)
        remedy = "quantize the Keras model, or a file written with optimize_for=None"
        require_convolutions(source, reference.description, remedy)
        extra = {**reference.description.extra, "precision": "int8", "runtime": runtime}
        description = dataclasses.replace(reference.description, extra=extra)
        channels = reference.channels
        images = calibration_images(frames, max_frames, channels)
        batches = list(frame_batches(images, reference.size, reference.batch or batch, channels))
        inputs = [reference.prepare(batch) for batch in batches]
        int8, total = target.quantizer(network, unchecked, inputs, exclude, description)
        candidate = _load(unchecked, target.engine, mean, std)
        report = QuantizationReport(
            Path(path),
            runtime,
            int8,
            total,
            len(images),
            max_loss=max_loss,
            **_compare(reference, candidate, dataset, batches),
        )
        if not (report.ok or force):
            raise QuantizationError(
                f"{path} was not kept: {report.comparison}. Exclude layers, calibrate on frames "
                "similar to those of the comparison, or pass a larger `max_loss` or `force=True`."
            )
    return report


def _is_onnx(source):
    return isinstance(source, str | os.PathLike) and Path(source).suffix == ".onnx"


def _float_network(source, runtime, folder, options):
    """Returns the network for the quantizer, and the float file for the comparison."""
    if _is_onnx(source):
        if runtime == "litert":
            raise ValueError(
                "LiteRT files are quantized from the Keras model: pass the model or a .keras file. "
                f"Received: {str(source)!r}"
            )
        return Path(source), Path(source)
    model = in_float32(load(source, engine="keras").model)
    if runtime != "tensorrt":
        model = pools_as_convolutions(model)
    if runtime == "litert":
        float_file = folder / "float.tflite"
        to_litert(model, float_file, **options)
        return at_size(model, options["input_size"]), float_file
    float_file = folder / "float.onnx"
    to_onnx(model, float_file, **options, optimize_for=None)
    _rewrite(float_file, runtime)
    return float_file, float_file


def _rewrite(path, runtime):
    """Rewrites a file for a runtime, except for the convolutions, which are quantized."""
    import onnx

    from keras_crosscbam.export.rewrites import rewrite_for

    onnx.save(rewrite_for(runtime, onnx.load(path), keep_convolutions=True), path)


def _load(path, engine, mean, std):
    try:
        return load(path, engine=engine, mean=mean, std=std)
    except ValueError as error:
        raise QuantizationError(
            f"{engine} cannot run the INT8 file ({error}). Feature maps that are 0 on all "
            "calibration frames may be the cause: exclude that layer, or calibrate on more frames."
        ) from error


def _compare(reference, candidate, dataset, batches):
    """Returns the fields of the report for the comparison of the two."""
    if dataset is not None:
        results = [evaluate(run, dataset) for run in (reference, candidate)]
        scores = [result["mean_iou"] for result in results]
        over = tuple(result["classes_in_mean"] for result in results)
        frames, name = len(dataset), dataset.name
    else:
        equal = [(reference.labels(b) == candidate.labels(b)).mean() for b in batches]
        scores, over = [1.0, float(np.mean(equal))], None
        frames, name = sum(map(len, batches)), None
    return {
        "reference": scores[0],
        "quantized": scores[1],
        "classes_in_mean": over,
        "frames": frames,
        "dataset": name,
    }
