"""Infers the properties of a network from the shapes and dtypes of its input and output."""

from typing import NamedTuple

import numpy as np

from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.errors import one_line

CHANNELS = {"nchw": 1, "nhwc": 3}
"""The axis of the channels in each layout."""

MOST_CHANNELS = 16
"""Maximum number of image channels in files without a description."""

PIXELS = ("float32", "uint8", "float16", "float64")
TRIAL_SIZE = (64, 128)


class Tensor(NamedTuple):
    """The input or output of a network.

    Attributes:
        shape: int for each fixed axis, None for each dynamic axis; None if the number of axes is
            unknown.
        dtype: NumPy's name of the dtype.
    """

    shape: tuple | None
    dtype: str


def signature(name, image, output, description=None, run=None, kind=None, layout=None):
    """Infers the arguments of `Runtime` from the input and the output of a network.

        >>> from keras_crosscbam.runtime.signature import Tensor, signature
        >>> image, scores = Tensor((1, 3, 64, 96), "float32"), Tensor((1, 19, 64, 96), "float32")
        >>> read = signature("a network", image, scores)
        >>> read["size"], read["num_classes"], read["description"].layout
        ((64, 96), 19, 'nchw')

    Args:
        name: name of the network, for messages.
        image, output: `Tensor` of the images, and of the scores or labels.
        description: the `Description` in the file, None for a file from another tool. Its layout
            and kind of output are used; dtypes and sizes are those of the tensors.
        run: the network, a function from array to array. It is run once if the shape of the output
            is not sufficiently known.
        kind: the kind of output, one of `OUTPUTS`, if there is no description and the library knows
            the kind. None for an unknown kind; one channel is then read as labels.
        layout: layout of the images, if there is no description and their shape is ambiguous; None
            for a library without a usual layout.

    Returns:
        The arguments of `Runtime` by name: `size`, `channels`, `num_classes`, `batch`,
        `description`, `dtype` and `scores_layout`.

    Raises:
        ValueError: if the tensors are not those of a segmentation network.
    """
    layout = description.layout if description else _image_layout(image.shape) or layout
    axes = len(image.shape or ())
    if not layout or axes != 4 or image.dtype not in PIXELS:
        raise ValueError(
            f"{name}: expected an input of float or uint8 pixels, (batch, channels, height, width) "
            "or (batch, height, width, channels), with 3 channels for RGB. "
            f"Received: {_text(image)}"
        )
    channels = image.shape[CHANNELS[layout]] or 3
    tried = image.shape
    if run is not None and _says_too_little(output.shape, _spatial(image.shape, layout)):
        tried = _trial_shape(image.shape, layout, channels)
        try:
            output = Tensor(run(np.zeros(tried, image.dtype)).shape, output.dtype)
        except Exception as error:  # each library raises its own exception classes
            raise ValueError(
                f"{name}: the file does not give the shape of its output, {_text(output)}, and "
                f"does not run on an image of shape {tried}: {one_line(error)}"
            ) from error
    scores_layout = layout
    if description is None:
        scores_layout = _scores_layout(output.shape, _spatial(tried, layout), layout)
        labels = len(output.shape) == 3 or _channels(output.shape, scores_layout) == 1
        pixels = "uint8" if image.dtype == "uint8" else "float32"
        description = Description(layout, pixels, kind or ("labels" if labels else "logits"))
    labels = description.output == "labels"
    if len(output.shape) not in ((3, 4) if labels else (4,)):
        raise ValueError(
            f"{name}: expected an output of scores with 4 axes, or of labels with 3 axes. "
            f"Received: {_text(output)}"
        )
    size = _spatial(image.shape, layout)
    return {
        "size": None if None in size else size,
        "channels": channels,
        "batch": image.shape[0],
        "num_classes": None if labels else _channels(output.shape, scores_layout),
        "description": description,
        "dtype": image.dtype,
        "scores_layout": scores_layout,
    }


def only(path, inputs):
    """Returns the only input of a network; raises a `ValueError` for another number of inputs."""
    if len(inputs) != 1:
        raise ValueError(f"{path}: expected one input, the image. Received: {len(inputs)} inputs")
    return inputs[0]


def _image_layout(shape):
    """Returns the layout with 3 channels, or the only layout with few enough channels, or None."""
    if not shape or len(shape) != 4:
        return None
    for layout, axis in CHANNELS.items():
        if shape[axis] == 3:
            return layout
    few = [layout for layout, axis in CHANNELS.items() if 0 < (shape[axis] or 0) <= MOST_CHANNELS]
    return few[0] if len(few) == 1 else None


def _says_too_little(shape, size):
    """Returns whether the number of channels is unknown for images of `size`."""
    if shape is None:
        return True
    dynamic = [side is None for side in shape[1::2]]
    # If both sides of the image are dynamic, a single fixed axis is that of the channels.
    return len(shape) == 4 and (all(dynamic) if size == (None, None) else any(dynamic))


def _trial_shape(shape, layout, channels):
    complete = (1, channels, *TRIAL_SIZE) if layout == "nchw" else (1, *TRIAL_SIZE, channels)
    return tuple(c if side is None else side for side, c in zip(shape, complete, strict=True))


def _scores_layout(shape, size, layout):
    """Returns the layout in which the scores have the image's proportions, or the image's layout.

    The image's layout is returned if both layouts fit, or neither does.
    """
    other = "nhwc" if layout == "nchw" else "nchw"
    if len(shape) == 4 and _fits(_spatial(shape, other), size):
        return layout if _fits(_spatial(shape, layout), size) else other
    return layout


def _spatial(shape, layout):
    return tuple(shape[2:4] if layout == "nchw" else shape[1:3])


def _channels(shape, layout):
    return shape[CHANNELS[layout]] if len(shape) == 4 else None


def _fits(scores, image):
    """Returns whether the scores can be the image scaled down by an integer, with rounding."""
    if image == (None, None):
        return scores == (None, None)
    if None in scores or None in image:
        return True
    factor = max(round(image[0] / scores[0]), 1)
    return all(abs(i / factor - s) < 1 for s, i in zip(scores, image, strict=True))


def _text(tensor):
    shape = tensor.shape if tensor.shape is None else [side or "?" for side in tensor.shape]
    return f"{tensor.dtype} of shape {shape}"
