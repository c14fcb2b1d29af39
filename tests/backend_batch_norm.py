"""Both batch normalizations on PyTorch, as a program, since a process has but one Keras backend.

    KERAS_BACKEND=torch python backend_batch_norm.py

Fails with an AssertionError unless the package's layer trains as Keras' own does.
"""

import keras
import numpy as np
import torch

from keras_crosscbam.layers import BatchNormalization


def step(cls, policy, shape):
    """Output, gradients and statistics after one call of a layer with random weights."""
    layer = cls(momentum=0.9, epsilon=1e-5, dtype=policy)
    layer.build(shape)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    dtype = getattr(torch, layer.compute_dtype)
    images = torch.tensor(draw.normal(1, 2, shape), dtype=dtype, requires_grad=True)
    outputs = layer(images, training=True)
    (outputs.float() * torch.tensor(draw.normal(size=shape))).sum().backward()
    weights = layer.gamma.value, layer.beta.value
    moving = layer.moving_mean.value, layer.moving_variance.value
    results = [outputs, images.grad, *(w.grad for w in weights), *moving]
    return outputs.dtype, [r.detach().float().numpy() for r in results]


def main():
    for policy, tolerance in (("float32", 1e-4), ("mixed_bfloat16", 0.1), ("mixed_float16", 2e-2)):
        for shape in ((3, 7, 5, 8), (1, 1, 1, 8)):
            dtype, results = step(BatchNormalization, policy, shape)
            wanted_dtype, wanted = step(keras.layers.BatchNormalization, policy, shape)
            assert dtype == wanted_dtype
            for result, expected in zip(results, wanted, strict=True):
                np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


if __name__ == "__main__":
    main()
