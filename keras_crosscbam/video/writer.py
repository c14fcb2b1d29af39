"""Writes H.264 videos that can be played even if writing is interrupted."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_crosscbam.video.libraries import pyav

if TYPE_CHECKING:
    from keras_crosscbam.types import StrPath

_CLOCK = 90000  # ticks a second of the time stamps
_BT709 = 1  # the number of the standard in H.264


class VideoWriter:
    """Writes frames with their times to an MP4 file in H.264.

        >>> import numpy as np
        >>> from keras_crosscbam.video import VideoWriter
        >>> writer = VideoWriter("out.mp4", rate=25)  # doctest: +SKIP
        >>> writer.write(np.zeros((90, 120, 3), np.uint8), seconds=0.0)  # doctest: +SKIP
        >>> writer.close()  # doctest: +SKIP

    The file is written in fragments of about one second that can be played at once. `close` makes
    it an ordinary MP4 file; a killed process leaves the fragments.

    Args:
        path: path of the file; an existing file is replaced.
        rate: frames/s, on average.
        aspect: width of a pixel divided by its height.

    Raises:
        ImportError: if PyAV is not installed.
        ValueError: if the path does not end in `.mp4` or FFmpeg has no encoder for H.264.
        OSError: if the file cannot be written.
    """

    def __init__(self, path: StrPath, rate: float, aspect: float = 1) -> None:
        path = Path(path)
        self._av, self._path, self._rate = pyav(), path, rate
        self._aspect = Fraction(aspect).limit_denominator(1000)
        self._container: Any = None
        self._stream: Any = None
        self._size: Any = None
        self._began: float | None = None
        self._last = -1
        if path.suffix.lower() != ".mp4":
            raise ValueError(f"Videos are written as .mp4. Received: {path}")
        self._encoder = next((name for name in ("libx264", "libopenh264") if self._has(name)), None)
        if self._encoder is None:
            raise ValueError(
                "This build of FFmpeg has no encoder for H.264 (libx264 or libopenh264). Run "
                "`pip install --force-reinstall --only-binary av av`."
            )

    def _has(self, name):
        try:
            return bool(self._av.codec.Codec(name, "w"))
        except self._av.codec.codec.UnknownCodecError:
            return False

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Adds a frame.

        Args:
            image: uint8 RGB `(height, width, 3)`; one of another size than the first frame is
                resized to it.
            seconds: when it is shown, later than the frame before it; the first one is at 0.
        """
        if self._container is None:
            self._open(image.shape[:2])
        if image.shape[:2] != self._size:
            image = np.asarray(Image.fromarray(image).resize(self._size[::-1]))
        # H.264 has one color for each square of 2x2 pixels, so that sides are even.
        odd = [(0, side % 2) for side in self._size]
        image = np.pad(image, [*odd, (0, 0)], mode="edge") if any(map(max, odd)) else image
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="itu709")
        if self._began is None:
            self._began = seconds
        self._last = max(self._last + 1, round((seconds - self._began) * _CLOCK))
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._mux(self._stream.encode(frame))

    def _open(self, size):
        self._container = self._av.open(
            str(self._path),
            "w",
            format="mp4",
            options={"movflags": "+hybrid_fragmented", "flush_packets": "1"},
        )
        rate = Fraction(self._rate).limit_denominator(1001)
        options = {"preset": "veryfast", "crf": "20"} if self._encoder == "libx264" else {}
        self._size = size
        self._stream = self._container.add_stream(self._encoder, rate=rate, options=options)
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, _CLOCK)
        # Frames that refer to later ones would delay the first of a file that grows.
        context.max_b_frames = 0
        context.gop_size = max(round(rate), 1)
        context.sample_aspect_ratio = self._aspect
        context.colorspace = context.color_primaries = context.color_trc = _BT709

    def _mux(self, packets):
        for packet in packets:
            self._container.mux(packet)

    def close(self) -> None:
        """Writes what is left. Nothing is written where there was no frame."""
        if self._container is None:
            return
        container, self._container = self._container, None
        try:
            for packet in self._stream.encode():
                container.mux(packet)
        finally:
            # A full disk has said so already.
            with suppress(OSError):
                container.close()
