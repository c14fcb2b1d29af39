"""What the layers compute differently from one Keras backend to another."""

import keras
from keras import ops

from keras_crosscbam import private_api
from keras_crosscbam.layers.dilated import dilated_convolution


def resize_bilinear(x, reference):
    """Resizes float32 `(batch, height, width, channels)` to the size of a reference."""
    if keras.backend.backend() == "tensorflow":
        # keras.ops.image.resize compares the size with 0, which a symbolic size cannot answer.
        import tensorflow as tf

        return tf.image.resize(x, tf.shape(reference)[1:3], method="bilinear")
    return ops.image.resize(
        x, ops.shape(reference)[1:3], interpolation="bilinear", data_format="channels_last"
    )


def convolve_dilated(conv, inputs):
    """The training output of a dilated `Conv2D` of stride 1 with "same" padding, without bias."""
    if keras.backend.backend() == "tensorflow":
        return dilated_convolution(inputs, conv.kernel, conv.dilation_rate[0])
    return conv(inputs)


def fused_batch_norm(inputs, gamma, beta, epsilon):
    """Normalizes `(batch, height, width, channels)` by the statistics of the batch.

    Returns:
        The normalized tensor, and the mean and the unbiased variance of each channel; None on a
        backend without one operation for all of this.
    """
    if keras.backend.backend() == "tensorflow":
        return private_api.fused_batch_norm(inputs, gamma, beta, epsilon)
    if keras.backend.backend() == "torch":
        return _batch_norm_of_torch(inputs, gamma, beta, epsilon)
    return None


def _batch_norm_of_torch(inputs, gamma, beta, epsilon):
    import torch

    # With a momentum of 1 the running statistics become those of the batch.
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
    """The gradient of a number, `function(tensor)`, by the tensor, as a tensor of its shape."""
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
        f"Gradients need Keras on TensorFlow, JAX or PyTorch. Received: Keras on {backend}"
    )
