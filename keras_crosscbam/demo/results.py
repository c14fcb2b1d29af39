"""Segments a photo or a video for the demo page, and measures the time of each stage."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_crosscbam.confidence import assess, confidence_pictures
from keras_crosscbam.image_channels import read_channels
from keras_crosscbam.images import save_image
from keras_crosscbam.video import is_video, segment_video
from keras_crosscbam.visualize import class_shares, overlay

if TYPE_CHECKING:
    from collections.abc import Callable

    from keras_crosscbam.classes import ClassTable
    from keras_crosscbam.demo.networks import DemoNetwork

SECONDS = 10
"""Seconds of a video that are segmented."""

SIDE = 1600
"""Longest side in pixels of a picture on the page. Downloaded pictures have the photo's size."""


@dataclass(frozen=True)
class PhotoResult:
    """The result for a photo.

    Attributes:
        name: name of the photo's file.
        image: the photo, uint8 `(height, width, channels)`.
        labels: uint8 `(height, width)`.
        classes: the `ClassTable` of the network.
        milliseconds: dict from stage to time.
        confidence: mean probability of the labels, 0..1; None for a network that outputs labels.
        confidence_map: the probabilities as a `PIL.Image.Image`, or None.
    """

    name: str
    image: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    classes: ClassTable
    milliseconds: dict[str, float]
    confidence: float | None = None
    confidence_map: Image.Image | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels of each class, as in `keras_crosscbam.visualize.class_shares`."""
        return class_shares(self.labels, self.classes)

    def shown(self, opacity: float) -> Image.Image:
        """Returns the overlay without a legend, with sides of at most `SIDE` pixels."""
        picture = overlay(self.image, self.labels, self.classes, opacity, legend=False)
        picture.thumbnail((SIDE, SIDE))
        return picture

    def save(self, folder: Path, opacity: float) -> tuple[Path, Path]:
        """Writes the overlay with a legend and the labels; returns the paths of both."""
        stem = Path(self.name).stem
        picture, labels = folder / f"{stem}_overlay.png", folder / f"{stem}_labels.png"
        save_image(overlay(self.image, self.labels, self.classes, opacity), picture)
        save_image(Image.fromarray(self.labels), labels)
        return picture, labels


@dataclass(frozen=True)
class VideoResult:
    """The result for a video.

    Attributes:
        name: name of the video's file.
        overlay: path of the overlay, an `.mp4` file.
        labels: path of a `.zip` file with the labels of each frame.
        plot: path of a plot of the class shares over time.
        shares: mean share of the pixels of each class, largest first.
        classes: the `ClassTable` of the network.
        frames: number of frames.
        milliseconds: dict from stage to time.
    """

    name: str
    overlay: Path
    labels: Path
    plot: Path
    shares: dict[str, float]
    classes: ClassTable
    frames: int
    milliseconds: dict[str, float]


def segment_upload(
    network: DemoNetwork,
    path: Path,
    folder: Path,
    opacity: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> PhotoResult | VideoResult:
    """Segments a photo or the first seconds of a video.

        >>> from pathlib import Path
        >>> from keras_crosscbam.demo import networks
        >>> from keras_crosscbam.demo.results import segment_upload
        >>> network = networks()["Cross-CBAM-M, camvid (Keras)"]
        >>> segment_upload(network, Path("street.jpg"), Path("out")).shares  # doctest: +SKIP
        {'Building': 0.424, 'Pavement': 0.206, ...

    Args:
        network: the `DemoNetwork`.
        path: the photo or video.
        folder: existing folder for the files of a video.
        opacity: weight of the colors in the overlay of a video, 0..1.
        progress: a function that is called with the number of finished frames of a video.

    Raises:
        ValueError: for a file that is not a readable image or video; the message names it.
        ImportError: for a video if PyAV is not installed.
    """
    with network.loaded() as run:
        if is_video(path):
            return _segment_video(network, run, path, folder, opacity, progress)
        return _segment_photo(network, run, path)


def _segment_photo(network, run, path):
    times = {}
    with _timed(times, "decode"):
        image = read_channels(path, run.channels)
    with _timed(times, "resize"):
        resized = run.resized(image, network.size_for(run))
        prepared = run.prepare(run.filled(resized))
    network.warm_up(run, prepared)
    with _timed(times, "network"):
        output = run.infer(prepared)[:1]
    with _timed(times, "labels"):
        labels = run.labels_of(output, resized, image.shape[:2])[0]
    confidence = confidence_map = None
    if run.description.output != "labels":
        # Probabilities of all classes at the full size of a large photo would fill the memory.
        scale = min(1, SIDE / max(labels.shape))
        size = tuple(max(round(scale * side), 1) for side in labels.shape)
        prediction = assess(run.scores_of(output, resized, size)[0], run.description.output)
        confidence = float(prediction.probability.mean())
        confidence_map = confidence_pictures(prediction)["confidence"]
    return PhotoResult(path.name, image, labels, run.classes, times, confidence, confidence_map)


def _segment_video(network, run, path, folder, opacity, progress):
    overlay_path, labels = folder / f"{path.stem}_overlay.mp4", folder / f"{path.stem}_labels"
    shares_path = folder / f"{path.stem}_shares.csv"
    frames = segment_video(
        run,
        path,
        overlay_path,
        labels,
        shares_path,
        size=network.size_for(run),
        duration=SECONDS,
        opacity=opacity,
    )
    totals, times = Counter(), []
    with closing(frames):
        for _, frame_labels in frames:
            totals.update(class_shares(frame_labels, run.classes))
            times.append(time.perf_counter())
            if progress:
                progress(len(times))
    if not times:
        raise ValueError(f"{path}: not a readable video (no frame could be decoded)")
    # The first frame is not timed, because a network may be compiled for it.
    each = 1000 * (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None
    return VideoResult(
        name=path.name,
        overlay=overlay_path,
        labels=folder / shutil.make_archive(str(labels), "zip", labels),
        plot=shares_path.with_suffix(".png"),
        shares={name: total / len(times) for name, total in totals.most_common()},
        classes=run.classes,
        frames=len(times),
        milliseconds={} if each is None else {"each frame": each},
    )


@contextmanager
def _timed(times, stage):
    started = time.perf_counter()
    yield
    times[stage] = 1000 * (time.perf_counter() - started)
