"""Checks class indices that a network outputs."""

import numpy as np


def as_labels(indices, count, name):
    """Converts class indices of any dtype to uint8 labels.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.class_indices import as_labels
        >>> as_labels(np.array([[[0.0, 2.0]]]), 3, "a network")
        array([[[0, 2]]], dtype=uint8)

    Args:
        indices: array of shape `(batch, height, width)`.
        count: number of classes.
        name: name of the network, for the message.

    Raises:
        ValueError: if a value is not an integer in `0..count - 1`.
    """
    labels = indices.astype(np.uint8, copy=False)
    last = count - 1
    if labels.max() > last or (labels is not indices and (labels != indices).any()):
        raise ValueError(
            f"The output of {name} is read as class indices, which must be integers in 0..{last}. "
            f"Received: values in {indices.min()}..{indices.max()}. The first output must be the "
            "scores of all classes, or their argmax. A network of one class must output labels "
            "(logit > 0, or probability > 0.5), because its file does not say which score it is."
        )
    return labels
