"""Segments videos and writes labels, an overlay and class shares."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.batching import check_batch, outputs
from keras_crosscbam.confidence import check_threshold
from keras_crosscbam.images import save_image
from keras_crosscbam.parallel import parallel_map, prefetched
from keras_crosscbam.tiling import Tiled
from keras_crosscbam.video.live import newest
from keras_crosscbam.video.progress import Progress
from keras_crosscbam.video.shares import ShareTable
from keras_crosscbam.video.sources import open_source
from keras_crosscbam.video.window import Window
from keras_crosscbam.video.writer import VideoWriter
from keras_crosscbam.visualize import legend_column, painted

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from keras_crosscbam.types import Classes, ModelLike, Size, StrPath

logger = logging.getLogger(__name__)


def segment_video(
    model: ModelLike,
    source: StrPath | int,
    out: StrPath | None = None,
    labels: StrPath | None = None,
    shares: StrPath | None = None,
    size: Size | int | None = None,
    classes: Classes | None = None,
    every: int = 1,
    start: float = 0.0,
    duration: float | None = None,
    smoothing: float = 0.0,
    threshold: float | None = None,
    shown: Sequence[str] | None = None,
    batch: int | None = None,
    rate: float = 25,
    progress: bool = False,
    show: bool = False,
    opacity: float = 0.5,
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Segments a video, a camera or a stream frame by frame.

        >>> import keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))  # doctest: +SKIP
        >>> for frame, labels in kc.segment_video(model, "drive.mp4", "overlay.mp4"):
        ...     print((labels == 3).mean())  # doctest: +SKIP

    Decoding, the network, and drawing with encoding run in separate threads. For a camera or a
    stream, frames that arrive while the network is busy are skipped. Frames that cannot be decoded
    are skipped, and a warning at the end says how many. The files contain all frames processed so
    far, also after an error, Ctrl-C or closing the iterator.

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        source: path of a video or of a folder of images, the address of a stream (`rtsp://...`,
            `http://...`), or the number of a webcam.
        out: path of the overlay, an `.mp4` file in H.264 with the times of the frames, or None.
        labels: folder for the labels of each frame, `000000.png` and so on, or None.
        shares: path of a `.csv` file for the share of each class in each frame; a plot of them is
            written next to it as `.png`.
        size: as in `keras_crosscbam.segment`.
        classes: as in `keras_crosscbam.runtime.load`.
        every: 2 takes every second frame, and so on.
        start: seconds to skip at the beginning of the video.
        duration: seconds to process; None for the rest of the video.
        smoothing: weight, 0 to below 1, of the earlier frames in the scores:
            `smoothing * earlier + (1 - smoothing) * scores`. It reduces flicker, but moving
            objects lag behind.
        threshold: as in `keras_crosscbam.segment`.
        shown: names of the classes that the overlay draws, in any case; None for all.
        batch: how many frames to run at once; None for the fixed batch size of the network, or
            1.
        rate: frames/s of a folder of images.
        progress: whether to print frames, frames/s and the time left.
        show: whether to show the overlay in a window; closing it ends the iterator.
        opacity: weight of the colors in the overlay, 0..1.

    Returns:
        An iterator over `(frame, labels)`: uint8 RGB `(height, width, 3)` and uint8 labels
        `(height, width)`. Processing starts when it is first used.

    Raises:
        ValueError: if the source does not exist or cannot be read, and for arguments that are out
            of range or do not fit the network.
        ImportError: if PyAV, or OpenCV for a webcam, is not installed.
        SourceLostError: a `RuntimeError`, raised after the last frame of a lost camera or stream.
    """
    _check(every, start, duration, smoothing, opacity)
    check_threshold(threshold)
    run = runtime.load(model, classes)
    run.check_size(size)
    check_batch(run, batch)
    if threshold is not None or smoothing:
        run.check_scores()
    if smoothing and isinstance(run, Tiled):
        raise ValueError("`smoothing` is for networks that see whole frames, not tiles.")
    names = run.classes.names if shown is None else run.classes.find(shown)
    folder = labels and Path(labels)
    video = open_source(source, rate)
    part = {"every": every, "start": start, "duration": duration}
    options = {"size": size, "batch": batch, "smoothing": smoothing, "threshold": threshold}
    try:
        sinks = _Sinks(
            video,
            out and Path(out),
            folder,
            shares and Path(shares),
            run.classes,
            names,
            every,
            opacity,
        )
    except BaseException:
        video.close()
        raise
    screen = (progress, show)
    return _segmented(run, video, part, options, sinks, screen)


def _check(every, start, duration, smoothing, opacity):
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"`every` must be a whole number from 1. Received: {every}")
    if not 0 <= start < np.inf:
        raise ValueError(f"`start` must be a number of seconds from 0. Received: {start}")
    if duration is not None and not 0 < duration < np.inf:
        raise ValueError(f"`duration` must be a positive number of seconds. Received: {duration}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"`smoothing` must be from 0 to below 1. Received: {smoothing}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` must be from 0 to 1. Received: {opacity}")


def _segmented(run, video, part, options, sinks, screen):
    progress, show = screen
    with ExitStack() as stack:
        stack.callback(video.close)
        stack.callback(_warn_of_broken, video)
        stack.callback(sinks.close)
        window = Window(video.name) if show else None
        if window:
            stack.callback(window.close)
        bar = Progress(_length(video, part)) if progress else None
        if bar:
            stack.callback(bar.close)
        frames = video.frames(**part)
        frames = newest(frames) if video.is_live else prefetched(frames)
        items = outputs(
            run,
            frames,
            lambda frame: frame.image,
            options["size"],
            options["batch"],
            live=video.is_live,
        )
        finish = _Finish(run, options["smoothing"], options["threshold"])
        # Of a live source, no result waits for later frames.
        ahead = 0 if video.is_live else 1
        labeled = parallel_map(finish, items, ahead=ahead)
        done = parallel_map(lambda pair: sinks.write(*pair, draw=show), labeled, ahead=ahead)
        # What follows is closed in the other order: first the threads, then what they write to.
        stack.callback(done.close)
        for frame, labels, picture in done:
            if bar:
                bar.update(frame.seconds - part["start"])
            if window:
                window.show(picture)
                if not window.is_open:
                    return
            yield frame.image, labels


def _length(video, part):
    """Returns the duration of the requested part in seconds, or None if it is unknown."""
    if video.seconds is None:
        return part["duration"]
    left = max(video.seconds - part["start"], 0)
    return left if part["duration"] is None else min(left, part["duration"])


def _warn_of_broken(video):
    if video.broken:
        logger.warning(
            "%s: %d frames could not be decoded and were skipped", video.name, video.broken
        )


class _Finish:
    """Computes the labels of a frame from the output of the network."""

    def __init__(self, run, smoothing, threshold):
        self._run, self._smoothing, self._threshold = run, smoothing, threshold
        self._earlier = None

    def __call__(self, item):
        if item.error is not None:
            raise item.error
        if self._smoothing:
            item.output = self._smoothed(item.output.astype(np.float32))
        if self._threshold is None:
            return item.source, item.labels(self._run)
        return item.source, item.assess(self._run, self._threshold).labels

    def _smoothed(self, output):
        if self._earlier is not None and self._earlier.shape == output.shape:
            weight = np.float32(self._smoothing)
            output = weight * self._earlier + (1 - weight) * output
        self._earlier = output
        return output


class _Sinks:
    """Writes the results of each frame: overlay, labels, shares."""

    def __init__(self, video, out, labels, shares, classes, names, every, opacity):
        self._classes, self._names, self._labels = classes, names, labels
        self._opacity = opacity
        self._canvas = None
        for folder in (out and out.parent, labels, shares and shares.parent):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        if shares is not None and shares.suffix.lower() != ".csv":
            raise ValueError(f"Shares are written as .csv. Received: {shares}")
        self._video = out and VideoWriter(out, video.rate / every, video.aspect)
        self._shares = shares and ShareTable(shares, classes)

    def write(self, frame, labels, draw=False):
        """Writes the results of a frame.

        Returns:
            The frame, its labels, and the overlay as an array if it is drawn or written.
        """
        picture = self._overlay(frame.image, labels) if draw or self._video else None
        if self._video:
            self._video.write(picture, frame.seconds)
        if self._labels:
            save_image(Image.fromarray(labels), self._labels / f"{frame.index:06}.png")
        if self._shares:
            self._shares.add(frame.index, frame.seconds, labels)
        return frame, labels, picture

    def _overlay(self, image, labels):
        height, width = image.shape[:2]
        if self._canvas is None or self._canvas[0] != (height, width):
            legend = np.asarray(legend_column(dict.fromkeys(self._names), self._classes, height))
            canvas = np.zeros((len(legend), width + legend.shape[1], 3), np.uint8)
            canvas[:, width:] = legend
            self._canvas = (height, width), canvas
        picture = self._canvas[1].copy()
        picture[:height, :width] = painted(
            image, labels, self._classes, self._opacity, shown=self._names
        )
        return picture

    def close(self):
        with ExitStack() as stack:
            for sink in (self._shares, self._video):
                if sink:
                    stack.callback(sink.close)
