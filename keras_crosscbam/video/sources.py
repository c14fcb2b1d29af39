"""Frames of video files, streams, webcams and folders of images."""

from __future__ import annotations

import logging
import os
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_crosscbam.image_files import image_files
from keras_crosscbam.images import failure, read_image
from keras_crosscbam.video.libraries import opencv, pyav

logger = logging.getLogger(__name__)

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "avi", "flv", "h264", "hevc", "m2ts", "m4v", "mjpeg", "mkv", "mov", "mp4", "mpeg"),
        *("mpg", "mts", "ogv", "ts", "webm", "wmv", "y4m"),
    )
)
"""File name endings of videos, in lower case, with their dot."""

TIMEOUT = 10
"""Seconds without data after which a stream counts as lost."""


class SourceLostError(RuntimeError):
    """Raised if a camera or stream is lost. The frames before it are already processed."""


@dataclass(frozen=True)
class Frame:
    """A frame of a source.

    Attributes:
        index: its number; 0 is the first frame at or after the requested start.
        seconds: its time from the beginning of the source.
        image: uint8 RGB `(height, width, 3)`, upright.
    """

    index: int
    seconds: float
    image: np.ndarray


def is_video(source):
    """Returns whether a name is that of a video file, a stream or a webcam.

    >>> from keras_crosscbam.video import is_video
    >>> is_video("drive.MP4"), is_video("rtsp://camera/1"), is_video("0"), is_video("a.jpg")
    (True, True, True, False)
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    return _is_webcam(text) or "://" in text or Path(text).suffix.lower() in EXTENSIONS


def result_name(source):
    """Returns the name for the result files of a source.

    >>> from keras_crosscbam.video.sources import result_name
    >>> result_name("clips/drive.mp4"), result_name("0"), result_name("rtsp://me:secret@cam/1")
    ('drive', 'camera0', 'cam_1')
    """
    text = str(source)
    if _is_webcam(text):
        return f"camera{text}"
    if "://" in text:
        return re.sub(r"[^\w.-]+", "_", _without_password(text).partition("://")[2]).strip("_")
    return Path(text).stem


def _without_password(address):
    return re.sub(r"://[^/@]*@", "://", address)


def _is_webcam(text):
    return text.isdigit() and not Path(text).exists()


def open_source(source, rate=25):
    """Opens a source of frames.

    Args:
        source: path of a video file or of a folder of images, the address of a stream
            (`rtsp://...`, `http://...`), or the number of a webcam.
        rate: frames/s of a folder of images.

    Returns:
        A `Video`, `Webcam` or `ImageFolder`.

    Raises:
        ValueError: if the source does not exist or cannot be read; the message names it.
        ImportError: if the library for it is not installed.
    """
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    if _is_webcam(text):
        return Webcam(int(text))
    if Path(text).is_dir():
        return ImageFolder(text, rate)
    return Video(text)


class Source(ABC):
    """A source of frames.

    Attributes:
        name: its name in messages.
        rate: frames/s, on average.
        seconds: its duration, or None if it is unknown.
        is_live: whether the source is live, so that frames that are not read are lost.
        aspect: width of a pixel divided by its height.
        broken: number of frames skipped so far because they could not be decoded.
    """

    def __init__(self, name, rate, seconds=None, is_live=False, aspect=1):
        self.name, self.rate, self.seconds, self.is_live = name, rate, seconds, is_live
        self.aspect, self.broken = aspect, 0

    @abstractmethod
    def images(self, start):
        """Yields `(seconds, image)` of each frame, the first one at `start` seconds or before."""

    def close(self):  # noqa: B027 - a folder has nothing to close
        """Closes the file or device."""

    def frames(self, every=1, start=0.0, duration=None):
        """Yields each `every`-th `Frame` of the part that begins at `start`, in seconds."""
        index = 0
        for seconds, image in self.images(start):
            if seconds < start:
                continue
            if duration is not None and seconds >= start + duration:
                return
            if index % every == 0:
                yield Frame(index, seconds, image())
            index += 1


class Video(Source):
    """A video file or a stream, decoded by FFmpeg.

    Frames are rotated as the file specifies. Frames that cannot be decoded, or were decoded from
    damaged data, are counted in `broken`.
    """

    def __init__(self, address):
        self._av = pyav()
        options, timeout = {}, None
        is_remote = "://" in address and not address.startswith("file:")
        if is_remote:
            timeout = TIMEOUT
            options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
        name = _without_password(address)
        try:
            self._container = self._av.open(address, options=options, timeout=timeout)
        except FileNotFoundError as error:
            raise ValueError(f"{name}: no such file") from error
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise ValueError(
                f"{name}: not a readable video or stream ({_reason(error)})"
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"{name}: holds no video")
        self._stream = stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        seconds = self._container.duration and self._container.duration / self._av.time_base
        rate = stream.average_rate or stream.guessed_rate or 25
        is_live = is_remote and not seconds
        aspect = stream.sample_aspect_ratio or 1
        super().__init__(name, float(rate), seconds, is_live, float(aspect))

    def images(self, start):
        first = None
        origin = self._container.start_time
        if start and not self.is_live:
            self._container.seek(int(start * self._av.time_base) + (origin or 0))
        for count, frame in enumerate(self._decoded()):
            seconds = frame.time
            if seconds is None:
                seconds = (first or 0) + start + count / self.rate
            elif first is None:
                first = seconds if self.is_live or origin is None else origin / self._av.time_base
            yield max(seconds - (first or 0), 0.0), lambda frame=frame: _upright(frame)

    def _decoded(self):
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (self._av.FFmpegError, OSError) as error:
                if self.is_live:
                    raise SourceLostError(f"{self.name} is lost: {_reason(error)}") from error
                self.broken += 1
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self.broken += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame

    def close(self):
        self._container.close()


def _upright(frame):
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _reason(error):
    if type(error).__name__ == "ExitError":
        return f"no data for {TIMEOUT} seconds"
    return getattr(error, "strerror", None) or " ".join(str(error).split())


class Webcam(Source):
    """A camera of this computer."""

    def __init__(self, number):
        self._cv2 = opencv()
        self._capture = self._cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise ValueError(f"There is no camera number {number}, or another program uses it.")
        rate = self._capture.get(self._cv2.CAP_PROP_FPS)
        super().__init__(f"camera {number}", rate if 0 < rate <= 1000 else 25.0, is_live=True)

    def images(self, start):
        began = time.monotonic()
        while True:
            there, image = self._capture.read()
            if not there:
                raise SourceLostError(f"{self.name} is lost")
            seconds = time.monotonic() - began
            yield seconds, lambda image=image: np.ascontiguousarray(image[..., ::-1])

    def close(self):
        self._capture.release()


class ImageFolder(Source):
    """The images of a folder, in the order of their names, as frames."""

    def __init__(self, folder, rate):
        if rate <= 0:
            raise ValueError(f"`rate` must be a positive number of frames/s. Received: {rate}")
        self._files = image_files(folder)
        super().__init__(str(folder), float(rate), len(self._files) / rate)

    def images(self, start):
        for index, file in enumerate(self._files):
            try:
                image = read_image(file)
            except ValueError as error:
                self.broken += 1
                logger.warning("%s", failure(file, error))
                continue
            yield index / self.rate, lambda image=image: image
