"""Class indices that a network gives, checked."""

import numpy as np


def as_labels(indices, count, name):
    """Class indices of any type as uint8 labels.

        >>> import numpy as np
        >>> from keras_crosscbam.runtime.class_indices import as_labels
        >>> as_labels(np.array([[[0.0, 2.0]]]), 3, "a network")
        array([[[0, 2]]], dtype=uint8)

    Args:
        indices: `(batch, height, width)`.
        count: number of classes.
        name: of the network, for the message.

    Raises:
        ValueError: for other values than whole numbers of `0..count - 1`.
    """
    labels = indices.astype(np.uint8, copy=False)
    last = count - 1
    if labels.max() > last or (labels is not indices and (labels != indices).any()):
        raise ValueError(
            f"{name} was taken to give class indices, which must be whole numbers of 0..{last}. "
            f"Received: values in {indices.min()}..{indices.max()}. Its first output must be "
            "scores of all classes, or their argmax. A network of one class must give labels "
            "(logit > 0, or probability > 0.5): its file does not say which it gives."
        )
    return labels
