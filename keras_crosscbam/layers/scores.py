"""The output layer of a segmentation network, which stores the class table."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.layers.resize import ResizeLike

# The layer's entry in a weights file: the class table as JSON in UTF-8, a uint8 array.
_ENTRY = "classes"


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class Scores(ResizeLike):
    """Resizes scores to the size of the image and stores the names of the classes.

        >>> import numpy as np
        >>> from keras_crosscbam.classes import class_table
        >>> from keras_crosscbam.layers import Scores
        >>> layer = Scores(class_table(["road", "sky"]))
        >>> tuple(layer([np.ones((1, 3, 4, 2)), np.ones((1, 24, 32, 3))]).shape)
        (1, 24, 32, 2)

    The names and colors are part of the layer's configuration, so they are kept when a model is
    saved, loaded or cloned. They are also written into weights files. When a weights file is
    loaded into a model without class names, the model takes the names from the file.

    Args:
        classes: a `ClassTable`, or None if the classes are not known.

    Call arguments:
        inputs: as in `ResizeLike`.

    Raises:
        ValueError: if the number of scores differs from the number of classes, or if a weights
            file names other classes, or the same classes in another order.
    """

    def __init__(self, classes: ClassTable | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape):
        channels = input_shape[0][-1]
        if self.classes is not None and self.classes.num_classes != channels:
            raise ValueError(
                f"The number of scores must be the number of classes, {self.classes.num_classes}. "
                f"Received: {channels} scores"
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
                f"The weights in the file are for the classes {', '.join(stored.names)}; the "
                f"model has {', '.join(self.classes.names)}. Pass the file as `weights=` to the "
                "builder. It accepts the same names in any order, and creates a new head for "
                "other names."
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
    """Returns the `ClassTable` that `Scores` wrote into a weights file's group, or None."""
    if _ENTRY not in store:
        return None
    try:
        text = np.asarray(store[_ENTRY], np.uint8).tobytes().decode()
        return ClassTable.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"the class names in it cannot be read ({error})") from error
