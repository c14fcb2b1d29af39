"""Dilated convolution that TensorFlow trains at full speed."""

import itertools


def dilated_convolution(inputs, kernel, rate):
    """Convolves TensorFlow tensors at stride 1 with "same" padding, differentiably everywhere.

        >>> import tensorflow as tf
        >>> from keras_crosscbam.layers.dilated import dilated_convolution
        >>> tuple(dilated_convolution(tf.ones((1, 9, 12, 4)), tf.ones((3, 3, 4, 8)), 3).shape)
        (1, 9, 12, 8)

    On a CPU TensorFlow lacks the gradients of a dilated convolution, unless oneDNN brings them.
    Therefore Keras has the feature maps cut into many small ones, convolved, and put together
    again. Here the gradients are made of operations that are fast everywhere: on small feature
    maps a training step of such a layer takes a third of the time.

    Args:
        inputs: feature maps of shape `(batch, height, width, channels)`.
        kernel: shape `(side, side, channels, filters)`, of the same dtype, with an odd side.
        rate: distance between the kernel's taps.

    Returns:
        Feature maps of shape `(batch, height, width, filters)`.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradients(upstream):
            # From the outputs back to the inputs the kernel stands upside down.
            turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
            to_inputs = tf.nn.conv2d(upstream, turned, 1, "SAME", dilations=rate)

            # Each tap of the kernel sees the inputs shifted by its distance from the center.
            side, _, channels, filters = kernel.shape
            height, width = tf.unstack(tf.shape(inputs)[1:3])
            margin = [rate * (side // 2)] * 2
            padded = tf.pad(inputs, [[0, 0], margin, margin, [0, 0]])
            upstream = tf.reshape(upstream, [-1, filters])
            taps = []
            for top, left in itertools.product(range(0, side * rate, rate), repeat=2):
                seen = padded[:, top : top + height, left : left + width]
                seen = tf.reshape(seen, [-1, channels])
                taps.append(tf.matmul(seen, upstream, transpose_a=True))
            return to_inputs, tf.reshape(tf.stack(taps), kernel.shape)

        return tf.nn.conv2d(inputs, kernel, 1, "SAME", dilations=rate), gradients

    return convolve(inputs, tf.convert_to_tensor(kernel))
