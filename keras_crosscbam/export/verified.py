"""What the exports share: a model of one size, frames to compare on, no file before the gate."""

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
    """The model as it is exported: without its auxiliary head, for images of one size.

    It takes pixels of 0..255, also if it was built with `include_preprocessing=False`, and computes
    in float32, also if it was built under another dtype policy.

    Args:
        model: a functional or sequential model.
        input_size: `(height, width)`; None for the model's own size.
        free: whether a model that takes any size will do, too.

    Raises:
        ValueError: if the model takes any size, none is given, and `free` is false.
    """
    model = with_preprocessing(inference_model(model))
    own = model.input_shape[1:3]
    if input_size is not None and tuple(input_size) != own:
        model = with_input_size(model, input_size)
    if not free and None in model.input_shape[1:3]:
        raise ValueError(
            "The file is for one image size: say which with `input_size=(height, width)`. "
            f"Received: input shape {model.input_shape}"
        )
    # Last, since copies of layers may take on the global policy.
    return in_float32(model)


def require_convolutions(path, description, remedy):
    """Raises a `ValueError` for a file in which they are products of matrices, for a CPU.

    Args:
        path: the file, for the message.
        description: its `Description`, or None.
        remedy: what to do instead.
    """
    written_for = description and description.extra.get("optimized_for")
    if written_for in ("onnxruntime", "openvino"):
        raise ValueError(
            f"{path} was written for {written_for} in float, its convolutions as products of "
            f"matrices: {remedy}"
        )


def frame_batches(frames, size, batch, channels=3):
    """Images to compare on: `(batch, height, width, channels)` uint8, the last batch filled up.

    Args:
        frames: images `(height, width, channels)`, or paths of images; None for a street
            photograph.
        size: `(height, width)` to resize them to; None leaves them as they are, one in a batch.
        batch: how many go together; None for one.
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
    """An image `(height, width, channels)`, or the path of one, as the uint8 array."""
    image = frame if isinstance(frame, np.ndarray) else read_channels(frame, channels)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
        raise ValueError(
            f"A frame is a uint8 array of shape (height, width, {channels}), or the path of an "
            f"image. Received: {image.dtype} of shape {image.shape}"
        )
    return image


def write_verified(path, write, reference, run, frames, batch):
    """Writes a file, which is kept only if it computes what the model computes.

    Args:
        path: the file, or folder.
        write: function of a path that writes it there.
        reference: the model, a `Runtime`.
        run: function of a path that makes a `Runtime` of the file.
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
    """Gives a path to write to; what lies there is moved to `path` unless an exception is raised.

    The file may be a folder, and may have companions: its description beside it, and the `.bin`
    of an OpenVINO `.xml`.

    Raises:
        ValueError: if `path` is a folder that holds something else than a SavedModel.
    """
    path = Path(path)
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file():
        raise ValueError(
            f"{path}: is a folder with other things in it, which an export does not replace. "
            "Choose another path."
        )
    # The ending stays last: the runtimes go by it.
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
    """Silences libraries' warnings and logs, and sends their progress bars to the error stream."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _parts(path):
    """A file and its companions; it comes last, so that it is never there without them."""
    return path.with_suffix(".bin"), path.with_name(f"{path.name}.json"), path


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
