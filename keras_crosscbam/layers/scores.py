"""The layer that a segmentation network ends in: scores at the size of the image."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.layers.resize import ResizeLike

# The layer's entry in a weights file: the class table as JSON in UTF-8, an array of bytes.
_ENTRY = "classes"


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class Scores(ResizeLike):
    """`ResizeLike` of a score per class, which knows what the classes are called.

        >>> import numpy as np
        >>> from keras_crosscbam.classes import class_table
        >>> from keras_crosscbam.layers import Scores
        >>> layer = Scores(class_table(["road", "sky"]))
        >>> tuple(layer([np.ones((1, 3, 4, 2)), np.ones((1, 24, 32, 3))]).shape)
        (1, 24, 32, 2)

    The names and colors are in the layer's configuration, so that they go with a model through
    saving, loading and cloning, and in its entry of a weights file. Loading a weights file into a
    model without names gives it those of the file.

    Args:
        classes: a `ClassTable`, or None where nobody has said.

    Call arguments:
        inputs: as in `ResizeLike`.

    Raises:
        ValueError: for scores of another number of classes, and for a weights file that names
            other classes, or the same ones in another order.
    """

    def __init__(self, classes: ClassTable | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape):
        channels = input_shape[0][-1]
        if self.classes is not None and self.classes.num_classes != channels:
            raise ValueError(
                f"The class table names {self.classes.num_classes} classes, but there are "
                f"scores of {channels}"
            )
        self.built = True

    def save_own_variables(self, store):
        if self.classes is not None:
            text = json.dumps(self.classes.to_json())
            store[_ENTRY] = np.frombuffer(text.encode(), np.uint8)

    def load_own_variables(self, store):
        stored = read_classes(store)
        if stored is None:
            return
        if self.classes is not None and self.classes.names != stored.names:
            raise ValueError(
                f"The file's weights are for the classes {', '.join(stored.names)}; the model's "
                f"are {', '.join(self.classes.names)}. Pass the file as `weights=` to the "
                "builder, which takes the same names in any order, and else makes a new head."
            )
        self.classes = self.classes or stored

    def get_config(self):
        classes = self.classes and self.classes.to_json()
        return {**super().get_config(), "classes": classes}

    @classmethod
    def from_config(cls, config):
        classes = config.get("classes")
        return cls(**{**config, "classes": classes and ClassTable.from_json(classes)})


def read_classes(store):
    """The `ClassTable` that `Scores` put into its group of a weights file, or None."""
    if _ENTRY not in store:
        return None
    try:
        text = np.asarray(store[_ENTRY], np.uint8).tobytes().decode()
        return ClassTable.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"the names of its classes are not readable ({error})") from error
