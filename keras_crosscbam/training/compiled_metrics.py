"""The variables of the metrics of a compiled model, created before the training."""

import keras


def build_metrics(model, labels):
    """Creates the variables of a model's losses and metrics.

    On TensorFlow, Keras creates them while it traces the first training step. `tf.function` then
    traces the step a second time, which takes seconds.

        >>> import keras
        >>> from keras_crosscbam.training.compiled_metrics import build_metrics
        >>> image = keras.Input((4,))
        >>> model = keras.Model(image, keras.layers.Dense(3)(image))
        >>> model.compile(loss="mse", metrics=["mae"])
        >>> build_metrics(model, labels=model.output)
        >>> sorted(model.get_metrics_result())
        ['loss', 'mae']

    Args:
        model: a compiled functional model.
        labels: the specification of the labels, objects with `shape` and `dtype` in the structure
            of the outputs. The axes of the labels are the first axes of the output, such as
            `(batch, height, width)` of an output `(batch, height, width, classes)`.
    """
    predictions = keras.tree.map_structure(_example, model.output)
    labels = keras.tree.map_structure(
        lambda spec, example: keras.ops.zeros(
            example.shape[: len(spec.shape)], keras.backend.standardize_dtype(spec.dtype)
        ),
        labels,
        predictions,
    )
    model.compute_loss(y=labels, y_pred=predictions)
    model.compute_metrics(None, labels, predictions)
    model.reset_metrics()


def _example(output):
    return keras.ops.zeros([size or 1 for size in output.shape], output.dtype)
