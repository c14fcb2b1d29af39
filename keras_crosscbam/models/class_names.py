"""What the classes of a model are called."""

import keras

from keras_crosscbam.classes import class_table, object_classes
from keras_crosscbam.layers import Scores
from keras_crosscbam.private_api import origin

# What may stand behind the scores and leaves each class in its channel.
_BEHIND_SCORES = ("Activation", "Resizing", "ResizeLike", "Sigmoid", "Softmax", "UpSampling2D")


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SegmentationModel(keras.Model):
    """A functional model that ends in `Scores`, and so can tell its classes.

        >>> import keras, keras_crosscbam as kc
        >>> model = kc.CrossCBAM_M(classes=["background", "road"])
        >>> model.save("m.keras")  # doctest: +SKIP
        >>> keras.saving.load_model("m.keras").classes.names  # doctest: +SKIP
        ('background', 'road')

    Attributes:
        classes: the `ClassTable` of the scores, None where nobody has said. Setting it takes a
            list of names too; the layer `Scores` keeps it.
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
    """The `ClassTable` of any Keras model's scores, or None where nobody has said.

    It is the model's attribute `classes`, or else that of the layer `Scores` that it ends in. One
    score a pixel is that of an object, whatever it is called.
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
    """A functional model between tensors of another one, of its name, kind and classes."""
    kind = SegmentationModel if isinstance(model, SegmentationModel) else keras.Model
    made = kind(inputs, outputs, name=model.name)
    carry_classes(model, made)
    return made


def carry_classes(source, target):
    """Gives a model made of another one its classes, where the layers have not done so."""
    known, wanted = classes_of(target), classes_of(source)
    if wanted is not None and known != wanted:
        target.classes = wanted


def _main_output(model):
    """The Keras tensor of the scores; of a model with an auxiliary head, that of the main one."""
    several = not isinstance(model, keras.Sequential) and isinstance(model.output, dict)
    return model.output.get("main") if several else model.outputs[0]


def _scores_layer(tensor):
    """The layer `Scores` that a tensor comes from, or None."""
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
