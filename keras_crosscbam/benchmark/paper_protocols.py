"""The loops that published FPS figures came from, so that one sees why they differ.

>>> from keras_crosscbam.benchmark import PROTOCOLS
>>> PROTOCOLS["pp-liteseg"].calls
2000

Each is our own code after the published program named as its source. They run one contender after
the other, in no rounds, and end in one mean without any spread.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_crosscbam.benchmark.timing import network_stopwatch, stopwatch

CHUNK = 50
"""Calls between two looks at the time limit."""


@dataclass(frozen=True)
class Protocol:
    """A published way to arrive at an FPS figure.

    Attributes:
        source: where it is published.
        warm_up: calls before the block that is timed.
        calls: calls in that block; None for as many as the calibration below asks for.
        input: `"normal"` or `"uniform"` noise or `"zeros"` as the network's input, the network
            alone being timed; `"image"` for a real image, normalization and labels being timed
            with it.
        remarks: what else a reader of the figure should know.
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
        remarks="The input stays on the device, nothing is copied. Blocks of 100, 200, 400... "
        "calls until one takes a second; then 6 seconds' worth of calls in one block. As the "
        "calls are doubled before the division, that block really lasts 12 seconds. The network "
        "timed there under TensorRT (models/model_stages_trt.py) resizes the scores by nearest "
        "neighbor, the one evaluated bilinearly.",
    ),
    "pp-liteseg": Protocol(
        source="github.com/PaddlePaddle/PaddleSeg deploy/python/infer_onnx_trt.py",
        warm_up=500,
        calls=2000,
        input="uniform",
        remarks="One block; the scores of all classes are copied to the host after it. There the "
        "clock stops when the last call is queued, with no synchronisation before it; here it "
        "stops when that call has ended.",
    ),
    "bisenet": Protocol(
        source="github.com/CoinCheung/BiSeNet tensorrt/trt_dep.cpp, test_fps_with_engine",
        warm_up=0,
        calls=1000,
        input="zeros",
        remarks="No warm-up, so that slow first calls count. The input is memory that nobody "
        "filled. The network ends in an argmax.",
    ),
    "mmsegmentation": Protocol(
        source="github.com/open-mmlab/mmsegmentation tools/analysis_tools/benchmark.py",
        warm_up=5,
        calls=195,
        input="image",
        remarks="200 images, the first 5 not counted, decoded before the clock starts; each call "
        "is waited for and ends in labels.",
    ),
}
"""The protocols by name."""


@dataclass(frozen=True)
class Published:
    """What a protocol came to.

    Attributes:
        fps: images per second, by the mean.
        calls: how many calls were timed.
        prescribed: how many the protocol wants.
        seconds: the time of the timed calls.
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
        limit: seconds after which each block ends early, as do those that warm up; slow machines
            would otherwise take minutes.

    Returns:
        A `Published`; `calls` below `prescribed` means that the limit ended it.
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
    """STDC-Seg's number of calls, with its doubling in the wrong place."""
    calls, seconds = 100, 0.0
    while seconds < min(1.0, limit):
        done, seconds = _block(time_calls, calls, limit)
        calls = 2 * done
    return max(math.floor(6 * calls / seconds), 1)


def _block(time_calls, calls, limit):
    """Calls made, all unless the limit comes first, and the sum of their seconds."""
    done, seconds = 0, 0.0
    while done < calls and seconds < limit:
        chunk = min(CHUNK, calls - done)
        seconds += sum(time_calls(chunk))
        done += chunk
    return done, seconds


def _synthetic_input(kind, prepared):
    """An array like the prepared one, filled as the protocol says."""
    rng = np.random.default_rng(0)
    if kind == "zeros":
        return np.zeros_like(prepared)
    if prepared.dtype.kind in "ui":
        limits = np.iinfo(prepared.dtype)
        return rng.integers(limits.min, limits.max, prepared.shape, prepared.dtype, endpoint=True)
    noise = rng.standard_normal if kind == "normal" else rng.random
    return noise(prepared.shape, np.float32).astype(prepared.dtype)
