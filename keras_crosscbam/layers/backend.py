"""Operations that are implemented separately for each Keras backend."""

import keras
from keras import ops

from keras_crosscbam import private_api
from keras_crosscbam.layers.dilated import dilated_convolution


def resize_bilinear(x, reference):
    """Resizes a float32 tensor `(batch, height, width, channels)` to the size of `reference`."""
    if keras.backend.backend() == "tensorflow":
        # keras.ops.image.resize compares the size with 0, which fails for a symbolic size.
        import tensorflow as tf

        return tf.image.resize(x, tf.shape(reference)[1:3], method="bilinear")
    return ops.image.resize(
        x, ops.shape(reference)[1:3], interpolation="bilinear", data_format="channels_last"
    )


def convolve_dilated(conv, inputs):
    """Returns the training output of a dilated `Conv2D` without bias.

    The layer must have stride 1 and "same" padding.
    """
    if keras.backend.backend() == "tensorflow":
        return dilated_convolution(inputs, conv.kernel, conv.dilation_rate[0])
    return conv(inputs)


def fused_batch_norm(inputs, gamma, beta, epsilon):
    """Normalizes a tensor `(batch, height, width, channels)` by the statistics of the batch.

    Returns:
        A tuple of the normalized tensor, the mean of each channel and the unbiased variance of
        each channel. None on a backend without a fused operation.
    """
    if keras.backend.backend() == "tensorflow":
        return private_api.fused_batch_norm(inputs, gamma, beta, epsilon)
    if keras.backend.backend() == "torch":
        return _batch_norm_of_torch(inputs, gamma, beta, epsilon)
    return None


def _batch_norm_of_torch(inputs, gamma, beta, epsilon):
    import torch

    # With a momentum of 1 the running statistics become the batch statistics.
    mean, variance = (torch.zeros_like(gamma.value, requires_grad=False) for _ in range(2))
    outputs = torch.nn.functional.batch_norm(
        torch.movedim(inputs, -1, 1),  # a view: the memory is not copied
        mean,
        variance,
        gamma.value,
        beta.value,
        training=True,
        momentum=1.0,
        eps=epsilon,
    )
    return torch.movedim(outputs, 1, -1), mean, variance


def gradient(function, tensor):
    """Returns the gradient of the scalar `function(tensor)` with respect to the tensor."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return tape.gradient(value, tensor)
    if backend == "jax":
        import jax

        return jax.grad(function)(tensor)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            tensor = tensor.detach().requires_grad_()
            return torch.autograd.grad(function(tensor), tensor)[0]
    raise ValueError(
        f"Gradients require the TensorFlow, JAX or PyTorch backend of Keras. Received: {backend}"
    )
