"""A `.tflite` file as a runtime, run by LiteRT, which was TensorFlow Lite."""

import os

import numpy as np

from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import read_beside
from keras_crosscbam.runtime.errors import unreadable
from keras_crosscbam.runtime.signature import Tensor, only, signature


class LiteRTRuntime(Runtime):
    """Runs a segmentation network from a file with float or 8-bit inputs and outputs.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.litert import LiteRTRuntime
        >>> run = LiteRTRuntime("cross_cbam.tflite", threads=2)  # doctest: +SKIP
        >>> run(np.zeros((720, 960, 3), np.uint8)).shape  # doctest: +SKIP
        (720, 960)

    Pixels are turned into the numbers of a quantized input by its scale and zero point, and
    `logits` turns those of a quantized output back; `run` takes and gives the numbers themselves.

    Args:
        path: the file. Its description lies beside it, in `NAME.tflite.json`.
        classes: the `ClassTable`, where the description does not carry one.
        threads: how many threads to compute in; None for all cores.

    Raises:
        ValueError: for an unreadable file, and for one that is no segmentation network.
    """

    reuses_output = False

    def __init__(self, path, classes=None, threads=None):
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(path), num_threads=threads or os.cpu_count())
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise unreadable(path, "TensorFlow Lite file", error) from error
        self._input = only(path, self._interpreter.get_input_details())
        self._output = self._interpreter.get_output_details()[0]
        image, output = _tensor(self._input), _tensor(self._output)
        self._numbers = None
        if _is_quantized(self._input):
            # A pixel is one of 256 values, whatever the network calls them.
            image = Tensor(image.shape, "uint8")
            self._numbers = _quantize(np.arange(256), self._input)
        self._shape = tuple(self._input["shape"])
        read = signature(str(path), image, output, read_beside(path))
        super().__init__(str(path), classes=classes, **read)

    def normalize_by(self, normalization):
        if self._numbers is None or self._takes_raw_pixels():
            super().normalize_by(normalization)
            return
        normalization.check_channels(self.name, self.channels)
        pixels = np.arange(256)[:, None].repeat(self.channels, axis=1)
        self._numbers = _quantize(normalization(pixels), self._input)

    def prepare(self, images):
        pixels = super().prepare(images)
        if self._numbers is None:
            return pixels
        if self._numbers.ndim == 2:
            return self._numbers[pixels, range(self.channels)]
        # Pixels that are only shifted, as those of 0..255 in int8 are, need no look-up.
        if np.array_equal(self._numbers, self._shifted(np.arange(256, dtype=np.uint8))):
            return self._shifted(pixels)
        return self._numbers[pixels]

    def run(self, prepared):
        if prepared.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input["index"], prepared.shape)
            self._interpreter.allocate_tensors()
            self._shape = prepared.shape
        self._interpreter.set_tensor(self._input["index"], prepared)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])

    def _shifted(self, pixels):
        return (pixels + self._numbers[:1].view(np.uint8)).view(self._numbers.dtype)

    def _scores(self, output, images):
        return super()._scores(self._dequantized(output), images)

    def _labels(self, output, images):
        # The largest of several is the largest in any unit; one alone has a threshold.
        single = output.shape[-1] == 1
        return super()._labels(self._dequantized(output) if single else output, images)

    def _dequantized(self, output):
        if not _is_quantized(self._output):
            return output
        scale, zero_point = self._output["quantization"]
        return scale * (output.astype(np.float32) - zero_point)


def _is_quantized(details):
    return details["quantization"][0] != 0 and np.dtype(details["dtype"]).itemsize == 1


def _quantize(values, details):
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    numbers = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    return numbers.astype(details["dtype"])


def _tensor(details):
    shape = tuple(None if side == -1 else int(side) for side in details["shape_signature"])
    return Tensor(shape, np.dtype(details["dtype"]).name)
