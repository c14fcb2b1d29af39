"""Private names of other libraries, which an upgrade may change without notice.

Each function here gives one of them a public name and says why nothing public does the same.
`tests/test_private_api.py` checks each, and that no other module uses such a name. Libraries are
imported when a function is called.
"""


def flatten_layers(layer):
    """A Keras layer or model and all layers inside it, at any depth.

    `Model.layers` lists the top level only, without the layers inside a layer such as `ConvBNReLU`.
    """
    return layer._flatten_layers()


def origin(tensor):
    """Where a Keras tensor comes from in the graph of a functional model.

    `Operation.output` and `Operation.input` are public, but they do not lead from a tensor to its
    operation, and fail for an operation that is called several times.

    Returns:
        The operation, the node of this call with its `arguments` and `input_tensors`, and the index
        of the tensor among the outputs of the call.
    """
    operation, node_index, tensor_index = tensor._keras_history
    return operation, operation._inbound_nodes[node_index], tensor_index


def nodes_in_order(model):
    """The calls that a functional Keras model consists of, each after those that it depends on.

    `Model.operations` is public, but lists an operation once, however often it is called.

    Returns:
        A list of nodes with `operation`, `input_tensors` and `output_tensors`.
    """
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def variable_index(optimizer, variable):
    """The place of a variable in the list that a Keras optimizer was built with.

    On TensorFlow `update_step` receives a `tf.Variable`, which has neither path nor identity of the
    Keras variable.
    """
    return optimizer._get_variable_index(variable)


class BuiltByExample:
    """A mixin of `keras.Model` on TensorFlow that builds its metrics from `example_batch()`.

    Keras takes the first batch of the training instead, and averages the inputs of all workers to
    find its shape, which fails (github.com/keras-team/keras/issues/20585).
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=self.example_batch())


def fused_batch_norm(inputs, scale, offset, epsilon):
    """Batch normalization of `(batch, height, width, channels)` by one TensorFlow operation.

    `tf.nn.batch_normalization` is several operations, and `tf.nn.moments` another pass.

    Returns:
        The normalized tensor, and the mean and the unbiased variance of each channel.
    """
    import tensorflow as tf

    none = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, mean=none, variance=none, epsilon=epsilon
    )
    return outputs, mean, variance


def transform_projectively(images, transforms, size, interpolation, fill_value):
    """Resamples images `(batch, height, width, channels)` by projective maps, in TensorFlow.

    `keras.ops.image.affine_transform` runs on Keras' backend; `tf.data` needs TensorFlow on each.

    Args:
        images: the images.
        transforms: for each image the 8 numbers of a map from output to input positions.
        size: `(height, width)` of the result.
        interpolation: `"BILINEAR"` or `"NEAREST"`.
        fill_value: the value of what comes from outside the image.
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
    """Nearest-neighbor resize in TensorFlow whose position i takes `floor(i * factor)`.

    `tf.image.resize` samples at half-pixel centers.
    """
    import tensorflow as tf

    return tf.raw_ops.ResizeNearestNeighbor(images=images, size=size, half_pixel_centers=False)


def with_unknown_shape(tensor, shape):
    """A TensorFlow tensor whose static shape is only `shape`, with None for unknown sides.

    `tf.ensure_shape` and `Tensor.set_shape` only make a static shape more precise.
    """
    import tensorflow as tf

    return tf.compat.v1.placeholder_with_default(tensor, shape)


def freeze(concrete_function):
    """A TensorFlow function with its variables as constants.

    TensorFlow has no public name for it outside `tf.compat.v1`, which takes graphs of sessions.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(concrete_function)


def litert_converter_error():
    """The class of exception that `tf.lite.TFLiteConverter` raises; it has no public name."""
    from tensorflow.lite.python.convert import ConverterError

    return ConverterError


def litert_schema():
    """The module of classes that read a `.tflite` file; `tf.lite` can only run one."""
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated
