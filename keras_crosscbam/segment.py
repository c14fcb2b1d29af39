"""Segmentation of images and folders: from files to labels, overlays and class shares."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_crosscbam import runtime
from keras_crosscbam.datasets.labels import ClassTable
from keras_crosscbam.images import EXTENSIONS, failure, read_image, to_rgb
from keras_crosscbam.visualize import class_shares, overlay


def segment(model, images, size=None):
    """Segments one image or several, each at its own size.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.images import STREET
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> kc.segment(model, STREET, size=128).shape
        (563, 751)

    Args:
        model: a `keras.Model`, a `Runtime`, or a path that `keras_crosscbam.runtime.load` takes.
        images: an image, or a list or tuple of them. An image is a path, a `PIL.Image.Image` of
            any mode, or a uint8 array `(height, width)` or `(height, width, 1, 3 or 4)`.
        size: what to resize an image to for the network: `(height, width)`, or one number, the
            shorter side; None for the network's size, or the image's own if the network takes any.

    Returns:
        uint8 labels `(height, width)` of the image's own size, or a list of them for a list.

    Raises:
        ValueError: for what is no image, with the name of the file.
    """
    run = runtime.load(model)
    if isinstance(images, (list, tuple)):
        return [run(_as_rgb(image), size) for image in images]
    return run(_as_rgb(images), size)


def _as_rgb(image):
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    array = np.asarray(image)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ValueError(
            "Expected a path, a PIL image, or a uint8 array (height, width[, 1, 3 or 4]). "
            f"Received: {array.dtype} of shape {array.shape}"
        )
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=-1)
    return array[..., :3]


@dataclass(frozen=True)
class SegmentedFile:
    """What `segment_files` made of one file.

    Attributes:
        path: the image.
        error: why it could not be segmented, or None; then the rest is empty.
        overlay: the picture written.
        shares: share of the pixels by class name.
    """

    path: Path
    error: str | None = None
    overlay: Path | None = None
    shares: dict[str, float] | None = None


def segment_files(model, source, out, size=None, classes: ClassTable | None = None):
    """Segments an image file, or all images of a folder, and writes pictures.

    For each `NAME.EXT` the folder `out` receives `NAME_overlay.png`, the image under the colours of
    its classes with a legend, and `NAME_labels.png`, the labels as indices. Names that differ in
    their extension alone keep it (`NAME.EXT_overlay.png`). A file that cannot be read, segmented or
    written is reported in its place, whatever the error, and the others are still done.

    Args:
        model: as in `segment`.
        source: path of an image or a folder.
        out: folder for the results; made if need be.
        size: as in `segment`.
        classes: as in `keras_crosscbam.runtime.load`.

    Returns:
        A list of `SegmentedFile`, one for each image in the order of their names.

    Raises:
        ValueError: if the source does not exist, is a folder without images, or if the model
            carries other classes.
    """
    run = runtime.load(model, classes)
    run.check_size(size)
    files = image_files(source)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    stems = [file.stem for file in files]
    bar = keras.utils.Progbar(len(files), unit_name="image", verbose=int(len(files) > 1))
    results = []
    for done, file in enumerate(files, start=1):
        name = file.stem if stems.count(file.stem) == 1 else file.name
        results.append(_segment_file(run, file, out / name, size))
        bar.update(done)
    return results


def image_files(source):
    """The image files that a path stands for: itself, or those directly in the folder."""
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    files = [f for f in sorted(source.iterdir()) if f.suffix.lower() in EXTENSIONS and f.is_file()]
    if not files:
        raise ValueError(f"{source}: the folder holds no images")
    return files


def _segment_file(run, file, target, size):
    picture = target.with_name(f"{target.name}_overlay.png")
    try:
        image = read_image(file)
        labels = run(image, size)
        overlay(image, labels, run.classes).save(picture)
        Image.fromarray(labels).save(target.with_name(f"{target.name}_labels.png"))
    except Exception as error:  # one file must not cost the others, whatever is wrong with it
        return SegmentedFile(file, error=failure(file, error))
    return SegmentedFile(file, overlay=picture, shares=class_shares(labels, run.classes))
