"""The class names of a model."""

import keras

from keras_crosscbam.classes import class_table, object_classes
from keras_crosscbam.layers import Scores
from keras_crosscbam.private_api import origin

# Layers that may follow the scores and keep each class in its channel.
_BEHIND_SCORES = ("Activation", "Resizing", "ResizeLike", "Sigmoid", "Softmax", "UpSampling2D")


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationModel(keras.Model):
    """A functional model with the output layer `Scores`, which stores its classes.

        >>> import keras, keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(classes=["background", "road"])
        >>> model.save("m.keras")  # doctest: +SKIP
        >>> keras.saving.load_model("m.keras").classes.names  # doctest: +SKIP
        ('background', 'road')

    Attributes:
        classes: the `ClassTable` of the scores, or None if the classes are not known. Set it to a
            `ClassTable` or a list of names. The layer `Scores` stores it.
    """

    @property
    def classes(self):
        layer = _scores_layer(_main_output(self))
        return layer and layer.classes

    @classes.setter
    def classes(self, classes):
        classes = classes if classes is None else class_table(classes)
        output = _main_output(self)
        if classes is not None and classes.num_classes != output.shape[-1]:
            raise ValueError(
                f"{self.name} has {output.shape[-1]} classes. Received: {len(classes)} names"
            )
        _scores_layer(output).classes = classes


def classes_of(model):
    """Returns the `ClassTable` of any Keras model, or None if its classes are not known.

    It is the model's attribute `classes`, or else that of its output layer `Scores`. For a model
    with one score per pixel and no names, it is the table of background and object.
    """
    own = getattr(model, "classes", None)
    if own is not None:
        return class_table(own)
    if not getattr(model, "outputs", None):
        return None
    output = _main_output(model)
    layer = _scores_layer(output)
    if layer and layer.classes:
        return layer.classes
    return object_classes() if output is not None and output.shape[-1] == 1 else None


def rewired(model, inputs, outputs):
    """Builds a model between tensors of another one, with the same name, type and classes."""
    kind = SegmentationModel if isinstance(model, SegmentationModel) else keras.Model
    made = kind(inputs, outputs, name=model.name)
    carry_classes(model, made)
    return made


def carry_classes(source, target):
    """Copies the classes of a model to one built from it, if its layers do not have them."""
    known, wanted = classes_of(target), classes_of(source)
    if wanted is not None and known != wanted:
        target.classes = wanted


def _main_output(model):
    """Returns the Keras tensor of the scores of a model's main head."""
    several = not isinstance(model, keras.Sequential) and isinstance(model.output, dict)
    return model.output.get("main") if several else model.outputs[0]


def _scores_layer(tensor):
    """Returns the layer `Scores` that a tensor is computed by, or None."""
    if tensor is None:
        return None
    layer, node, index = origin(tensor)
    if isinstance(layer, Scores):
        return layer
    if isinstance(layer, keras.Model):
        return _scores_layer(layer.outputs[index])
    if type(layer).__name__ in _BEHIND_SCORES:
        return _scores_layer(node.input_tensors[0])
    return None
