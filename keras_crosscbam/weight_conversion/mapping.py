"""Arrays of PyTorch and Paddle as those that Keras keeps for a layer."""

import numpy as np

from keras_crosscbam.layers.conv import EPSILON


class MissingError(ValueError):
    """An array that a layer needs is not in the file."""


class Source:
    """The arrays of a file, layer by layer, in Keras' layout.

    Args:
        arrays: name to array.
        statistics: what mean and variance of a normalization are called.
        epsilon: what the normalizations add to the variance.
        transposed_dense: whether dense kernels are `(in, out)`, as in Paddle.

    Attributes:
        used: the names that were asked for and found.
        without_normalization: modules whose convolutions have a bias instead of a normalization.
    """

    def __init__(self, arrays, statistics, epsilon, transposed_dense):
        self.arrays = arrays
        self.statistics = statistics
        self.epsilon = epsilon
        self.transposed_dense = transposed_dense
        self.used = set()
        self.without_normalization = []

    def layer(self, path, names, wanted):
        """The arrays of one of our layers, checked against the shapes wanted.

        A convolution that has a bias in the file and none here leaves it to the normalization
        behind it: in the mean, or, where the file has no normalization, in one that adds the bias
        and changes nothing else.

        Args:
            path: our layer, such as `"stem_conv1/bn"`.
            names: our layer paths to the modules' names.
            wanted: the shapes of the arrays, in Keras' order.

        Raises:
            MissingError: if an array is missing.
            ValueError: for another shape, or for numbers that are not finite.
        """
        module = names[path]
        if path.endswith(("/bn", "_bn")):
            found = self._normalization(path, module, names)
        else:
            found = [self._kernel(f"{module}.weight", path)]
            if len(wanted) == 2:
                found.append(self._take(f"{module}.bias"))
        shapes = [array.shape for array in found]
        if shapes != wanted:
            raise ValueError(f"{module}: expected shapes {wanted}, in Keras' order, found {shapes}")
        if not all(np.isfinite(array).all() for array in found):
            raise ValueError(f"{module} holds numbers that are not finite")
        return [array.astype(np.float32) for array in found]

    def _kernel(self, name, path):
        array = self._take(name)
        if array.ndim == 4:
            return array.transpose((2, 3, 0, 1) if path.endswith("_down_conv") else (2, 3, 1, 0))
        return array if self.transposed_dense else array.T

    def _normalization(self, path, module, names):
        conv = names.get(f"{path.removesuffix('/bn')}/conv")
        bias = None
        if conv is not None and f"{conv}.bias" in self.arrays:
            bias = self._take(f"{conv}.bias")
        if f"{module}.weight" not in self.arrays and bias is not None:
            self.without_normalization.append(conv)
            ones = np.ones_like(bias)
            return [ones, bias, 0 * ones, ones * (1 - EPSILON)]
        gamma, beta, mean, variance = (
            self._take(f"{module}.{kind}") for kind in ("weight", "bias", *self.statistics)
        )
        if bias is not None:
            mean = mean - bias
        # Ours adds another number to the variance.
        return [gamma, beta, mean, variance + (self.epsilon - EPSILON)]

    def _take(self, name):
        if name not in self.arrays:
            raise MissingError(name)
        self.used.add(name)
        return self.arrays[name].astype(np.float64)
