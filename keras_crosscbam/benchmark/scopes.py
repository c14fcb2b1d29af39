"""What a timed call comprises: the three scopes."""

import time

from keras_crosscbam.images import read_image

SCOPES = {
    "network": "the network alone: prepared array in, raw output out",
    "copies": "plus copies: uint8 image of the network's size in, uint8 label map out",
    "file": "image file on disk in, decoded, uint8 label map of the image's own size out",
}
"""The scopes, each with the sentence that stands in reports."""


def images_per_call(scope, batch):
    """How many images one call takes: the file scope reads one, the others make up a batch."""
    return 1 if scope == "file" else batch


def stopwatch(scope, runtime, images, path, size=None):
    """A function from a number of calls to the list of their seconds.

    Args:
        scope: a key of `SCOPES`.
        runtime: the `Runtime`.
        images: uint8 `(batch, height, width, 3)`, for all but the file scope.
        path: the image file, for the file scope.
        size: what the file scope resizes to, for a network of any size.

    Raises:
        ValueError: for another scope.
    """
    if scope == "network":
        return network_stopwatch(runtime, runtime.prepare(images))
    if scope == "copies":
        return _wall_clock(lambda: runtime.labels(images))
    if scope == "file":
        return _wall_clock(lambda: runtime(read_image(path), size))
    raise ValueError(f"`scopes` must be among {tuple(SCOPES)}. Received: {scope!r}")


def network_stopwatch(runtime, prepared):
    """The stopwatch of the network alone on one prepared array.

    Runtimes that keep the array on a device between calls have a `time_device` of their own: the
    device's clock, without copies. What runs on the CPU has nothing to copy.
    """
    if hasattr(runtime, "time_device"):
        runtime.run(prepared)
        return lambda calls: [
            milliseconds / 1000
            for milliseconds in runtime.time_device(calls, batch=len(prepared), warm_up=0)
        ]
    return _wall_clock(lambda: runtime.run(prepared))


def _wall_clock(call):
    def seconds(calls):
        measured = []
        for _ in range(calls):
            started = time.perf_counter()
            call()
            measured.append(time.perf_counter() - started)
        return measured

    return seconds
