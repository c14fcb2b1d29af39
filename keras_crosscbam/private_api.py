"""Wrappers of private functions of other libraries, which an upgrade may change without notice.

Each function wraps one private name and explains why the public API is not sufficient.
`tests/test_private_api.py` tests each function, and that no other module uses a private name.
Libraries are imported when a function is called.
"""


def flatten_layers(layer):
    """Returns a Keras layer or model and all layers inside it, at any depth.

    `Model.layers` lists the top level only, without the layers inside a layer such as `ConvBNReLU`.
    """
    return layer._flatten_layers()


def origin(tensor):
    """Returns the operation that produces a Keras tensor in the graph of a functional model.

    `Operation.output` and `Operation.input` are public, but they do not lead from a tensor to its
    operation, and fail for an operation that is called several times.

    Returns:
        The operation, the node of this call with its `arguments` and `input_tensors`, and the index
        of the tensor among the outputs of the call.
    """
    operation, node_index, tensor_index = tensor._keras_history
    return operation, operation._inbound_nodes[node_index], tensor_index


def nodes_in_order(model):
    """Returns the calls of a functional Keras model, each after those that it depends on.

    `Model.operations` is public, but lists an operation that is called several times only once.

    Returns:
        A list of nodes with `operation`, `input_tensors` and `output_tensors`.
    """
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def variable_index(optimizer, variable):
    """Returns the index of a variable in the list that a Keras optimizer was built with.

    On TensorFlow, `update_step` receives a `tf.Variable`, which cannot be matched to the Keras
    variable by path or by identity.
    """
    return optimizer._get_variable_index(variable)


class BuiltByExample:
    """A mixin of `keras.Model` on TensorFlow that builds its metrics from `example_batch()`.

    Keras uses the first training batch instead, and averages the inputs of all workers to
    find its shape, which fails (github.com/keras-team/keras/issues/20585).
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=self.example_batch())


def fused_batch_norm(inputs, scale, offset, epsilon):
    """Batch-normalizes `(batch, height, width, channels)` with one TensorFlow operation.

    `tf.nn.batch_normalization` runs several operations, and `tf.nn.moments` reads the input again.

    Returns:
        The normalized tensor, the mean and the unbiased variance of each channel.
    """
    import tensorflow as tf

    none = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon
    )
    return outputs, mean, variance


def transform_projectively(images, transforms, size, interpolation, fill_value):
    """Applies projective transforms to images `(batch, height, width, channels)` in TensorFlow.

    `keras.ops.image.affine_transform` runs on Keras' backend, but `tf.data` needs TensorFlow on
    every backend.

    Args:
        images: the images.
        transforms: 8 coefficients for each image, which map output to input positions.
        size: `(height, width)` of the result.
        interpolation: `"BILINEAR"` or `"NEAREST"`.
        fill_value: the value of pixels outside the image.
    """
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=size,
        fill_value=fill_value,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )


def resize_nearest_legacy(images, size):
    """Resizes images in TensorFlow: output pixel `i` is input pixel `floor(i * factor)`.

    `tf.image.resize` samples at half-pixel centers.
    """
    import tensorflow as tf

    return tf.raw_ops.ResizeNearestNeighbor(images=images, size=size, half_pixel_centers=False)


def with_unknown_shape(tensor, shape):
    """Returns a TensorFlow tensor with the less specific static shape `shape`.

    `tf.ensure_shape` and `Tensor.set_shape` can only make a static shape more specific.
    """
    import tensorflow as tf

    return tf.compat.v1.placeholder_with_default(tensor, shape)


def freeze(concrete_function):
    """Converts the variables of a TensorFlow function to constants.

    The public function in `tf.compat.v1` only supports graphs of sessions.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(concrete_function)


def litert_converter_error():
    """Returns the exception class that `tf.lite.TFLiteConverter` raises; it is not public."""
    from tensorflow.lite.python.convert import ConverterError

    return ConverterError


def litert_schema():
    """Returns the module that parses `.tflite` files; `tf.lite` can only run them."""
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated
