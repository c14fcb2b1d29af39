"""The timing loops of published FPS figures, for comparison with the benchmark's figures.

>>> from keras_crosscbam.benchmark import PROTOCOLS
>>> PROTOCOLS["pp-liteseg"].calls
2000

Each is a new implementation of the published program named as its source. The contenders run one
after the other, without rounds, and the result is one mean without a confidence interval.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_crosscbam.benchmark.timing import network_stopwatch, stopwatch

CHUNK = 50
"""Number of calls between two checks of the time limit."""


@dataclass(frozen=True)
class Protocol:
    """A published timing loop.

    Attributes:
        source: the publication.
        warm_up: number of calls before the timed block.
        calls: number of calls in that block; None for the number from `_calibrated`.
        input: `"normal"` or `"uniform"` noise or `"zeros"` as the network's input, with the network
            alone timed; `"image"` for a real image, with normalization and labels included.
        remarks: further properties of the figure.
    """

    source: str
    warm_up: int
    calls: int | None
    input: str
    remarks: str


PROTOCOLS = {
    "stdc-seg": Protocol(
        source="github.com/MichaelFan01/STDC-Seg latency/utils/darts_utils.py, after "
        "github.com/VITA-Group/FasterSeg; DDRNet's speed script has the same loop",
        warm_up=10,
        calls=None,
        input="normal",
        remarks="The input stays on the device, without copies. Blocks of 100, 200, 400... calls "
        "run until one takes a second; then calls for 6 seconds run in one block. Because the "
        "number of calls is doubled before the division, that block takes 12 seconds. The network "
        "timed there under TensorRT (models/model_stages_trt.py) resizes the scores by nearest "
        "neighbor, but the evaluated network resizes them bilinearly.",
    ),
    "pp-liteseg": Protocol(
        source="github.com/PaddlePaddle/PaddleSeg deploy/python/infer_onnx_trt.py",
        warm_up=500,
        calls=2000,
        input="uniform",
        remarks="One block, after which the scores of all classes are copied to the host. The "
        "published clock stops when the last call is queued, without synchronization; here it "
        "stops when that call has ended.",
    ),
    "bisenet": Protocol(
        source="github.com/CoinCheung/BiSeNet tensorrt/trt_dep.cpp, test_fps_with_engine",
        warm_up=0,
        calls=1000,
        input="zeros",
        remarks="No warm-up, so slow first calls are counted. The input is uninitialized memory. "
        "The network ends in an argmax.",
    ),
    "mmsegmentation": Protocol(
        source="github.com/open-mmlab/mmsegmentation tools/analysis_tools/benchmark.py",
        warm_up=5,
        calls=195,
        input="image",
        remarks="200 images, without the first 5, decoded before the clock starts; each call is "
        "synchronized and returns labels.",
    ),
}
"""Protocols by name."""


@dataclass(frozen=True)
class Published:
    """The result of a protocol.

    Attributes:
        fps: mean of the images per second.
        calls: number of timed calls.
        prescribed: number of calls of the protocol.
        seconds: total time of the timed calls.
    """

    fps: float
    calls: int
    prescribed: int
    seconds: float


def measure(protocol, runtime, images, limit=30.0):
    """Repeats a published loop.

        >>> import keras
        >>> import numpy as np
        >>> from keras_crosscbam.benchmark import paper_protocols as protocols
        >>> from keras_crosscbam.runtime import load
        >>> image = keras.Input((64, 96, 3))
        >>> run = load(keras.Model(image, keras.layers.Conv2D(11, 1)(image)))
        >>> images = np.zeros((1, 64, 96, 3), np.uint8)
        >>> protocol = protocols.PROTOCOLS["mmsegmentation"]
        >>> protocols.measure(protocol, run, images, limit=0.1).prescribed
        195

    Args:
        protocol: a `Protocol`.
        runtime: a `Runtime`.
        images: uint8 `(batch, height, width, 3)`.
        limit: maximum seconds of each block, including the warm-up, because slow machines would
            need minutes otherwise.

    Returns:
        A `Published`. Its `calls` are fewer than `prescribed` if the limit was reached.
    """
    if protocol.input == "image":
        time_calls = stopwatch("copies", runtime, images, None)
    else:
        time_calls = network_stopwatch(
            runtime, _synthetic_input(protocol.input, runtime.prepare(images))
        )
    _block(time_calls, protocol.warm_up, limit)
    prescribed = protocol.calls or _calibrated(time_calls, limit)
    calls, seconds = _block(time_calls, prescribed, limit)
    return Published(calls * len(images) / seconds, calls, prescribed, seconds)


def _calibrated(time_calls, limit):
    """Returns STDC-Seg's number of calls, including its doubling before the division."""
    calls, seconds = 100, 0.0
    while seconds < min(1.0, limit):
        done, seconds = _block(time_calls, calls, limit)
        calls = 2 * done
    return max(math.floor(6 * calls / seconds), 1)


def _block(time_calls, calls, limit):
    """Runs calls up to a time limit; returns their number and the sum of their seconds."""
    done, seconds = 0, 0.0
    while done < calls and seconds < limit:
        chunk = min(CHUNK, calls - done)
        seconds += sum(time_calls(chunk))
        done += chunk
    return done, seconds


def _synthetic_input(kind, prepared):
    """Returns an array of the shape and dtype of the prepared one, filled by the protocol."""
    rng = np.random.default_rng(0)
    if kind == "zeros":
        return np.zeros_like(prepared)
    if prepared.dtype.kind in "ui":
        limits = np.iinfo(prepared.dtype)
        return rng.integers(limits.min, limits.max, prepared.shape, prepared.dtype, endpoint=True)
    noise = rng.standard_normal if kind == "normal" else rng.random
    return noise(prepared.shape, np.float32).astype(prepared.dtype)
