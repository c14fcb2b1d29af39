"""Common steps of the exports: the model at one size, comparison frames, verified writing."""

import contextlib
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_crosscbam.export import parity
from keras_crosscbam.image_channels import read_channels, street
from keras_crosscbam.models.inputs import with_preprocessing
from keras_crosscbam.models.precision import in_float32
from keras_crosscbam.models.surgery import inference_model, with_input_size
from keras_crosscbam.runtime.resize import bilinear


def require_tensorflow(kind):
    """Raises a `ValueError` on another Keras backend than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{kind} export runs on the TensorFlow backend. Set KERAS_BACKEND=tensorflow and load "
            f"the same weights there. Received: backend {keras.backend.backend()!r}"
        )


def at_size(model, input_size, free=False):
    """Returns the model to export: without its auxiliary head, for images of one size.

    The returned model takes pixels of 0..255, also if it was built with
    `include_preprocessing=False`, and computes in float32, also if it was built under another dtype
    policy.

    Args:
        model: a functional or sequential model.
        input_size: `(height, width)`; None for the model's own size.
        free: whether the size may be dynamic.

    Raises:
        ValueError: if the model has a dynamic size, no size is given, and `free` is false.
    """
    model = with_preprocessing(inference_model(model))
    own = model.input_shape[1:3]
    if input_size is not None and tuple(input_size) != own:
        model = with_input_size(model, input_size)
    if not free and None in model.input_shape[1:3]:
        raise ValueError(
            "The file needs a fixed image size: pass `input_size=(height, width)`. "
            f"Received: input shape {model.input_shape}"
        )
    # This is the last step, because copies of layers may get the global policy.
    return in_float32(model)


def require_convolutions(path, description, remedy):
    """Raises a `ValueError` for a file whose convolutions were rewritten for a CPU runtime.

    Args:
        path: the file, for the message.
        description: its `Description`, or None.
        remedy: what to do instead, for the message.
    """
    written_for = description and description.extra.get("optimized_for")
    if written_for in ("onnxruntime", "openvino"):
        raise ValueError(
            f"{path} was written for {written_for} in float, with convolutions as matrix "
            f"products: {remedy}"
        )


def frame_batches(frames, size, batch, channels=3):
    """Yields batches of images for the comparison, uint8 `(batch, height, width, channels)`.

    The last batch is padded by repeating the last image.

    Args:
        frames: images `(height, width, channels)`, or paths of images; None for a street
            photograph.
        size: `(height, width)` that images are resized to; None for no resizing and batches of one.
        batch: number of images in a batch; None for one.
        channels: number of channels that the network takes.
    """
    given = [street(channels)] if frames is None else frames
    images = [as_image(frame, channels) for frame in given]
    if not images:
        raise ValueError("There must be at least one frame to compare on. Received: none")
    if size is None:
        yield from (image[None] for image in images)
        return
    batch = batch or 1
    images = [bilinear(image, tuple(size)) for image in images]
    images += [images[-1]] * (-len(images) % batch)
    for start in range(0, len(images), batch):
        yield np.stack(images[start : start + batch])


def as_image(frame, channels=3):
    """Returns an image `(height, width, channels)`, given as an array or a path, as uint8."""
    image = frame if isinstance(frame, np.ndarray) else read_channels(frame, channels)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
        raise ValueError(
            f"A frame is a uint8 array of shape (height, width, {channels}), or the path of an "
            f"image. Received: {image.dtype} of shape {image.shape}"
        )
    return image


def write_verified(path, write, reference, run, frames, batch):
    """Writes a file and keeps it only if its results equal those of the model.

    Args:
        path: the file or folder.
        write: function that takes a path and writes the file there.
        reference: `Runtime` of the model.
        run: function that takes a path and returns the `Runtime` of the file.
        frames, batch: as in `frame_batches`.

    Returns:
        The `Parity` of the two.
    """
    with keep_if_verified(path) as unchecked:
        write(unchecked)
        batches = frame_batches(frames, reference.size, batch, reference.channels)
        return parity.check(reference, run(unchecked), batches)


@contextlib.contextmanager
def keep_if_verified(path):
    """Yields a temporary path, whose file is moved to `path` unless an exception is raised.

    The file may be a folder, and may have companion files: its description next to it, and the
    `.bin` of an OpenVINO `.xml`.

    Raises:
        ValueError: if `path` is a folder with other content than a SavedModel.
    """
    path = Path(path)
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file():
        raise ValueError(
            f"{path}: is a folder that contains other files, which an export does not replace. "
            "Choose another path."
        )
    # The extension stays at the end, because it selects the runtime.
    unchecked = path.with_name(f".{path.stem}.unchecked-{os.getpid()}{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unchecked
        for source, target in zip(_parts(unchecked), _parts(path), strict=True):
            if source.exists():
                _remove(target)
                source.replace(target)
    finally:
        for part in _parts(unchecked):
            _remove(part)


@contextlib.contextmanager
def quiet():
    """Hides warnings and logs of libraries, and redirects their progress bars to stderr."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _parts(path):
    """Returns the companions of a file, then the file, so that it never exists without them."""
    return path.with_suffix(".bin"), path.with_name(f"{path.name}.json"), path


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
