"""Converts arrays of PyTorch and Paddle to the arrays of Keras layers."""

import numpy as np

from keras_crosscbam.layers.conv import EPSILON


class MissingError(ValueError):
    """Raised if an array that a layer needs is not in the file."""


class Source:
    """The arrays of a file, converted to Keras' layout layer by layer.

    Args:
        arrays: dict from name to array.
        statistics: names of the mean and the variance of a normalization.
        epsilon: epsilon of the normalizations.
        transposed_dense: whether dense kernels are `(in, out)`, as in Paddle.

    Attributes:
        used: names of the arrays that were read.
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
        """Returns the arrays of a layer, after checking their shapes.

        Convolutions of this package have no bias before a normalization. A bias in the file is
        subtracted from the mean of the normalization. If the file has no normalization, the
        normalization only adds the bias.

        Args:
            path: layer path, such as `"stem_conv1/bn"`.
            names: dict from layer path to module name.
            wanted: expected shapes of the arrays, in Keras' order.

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
            raise ValueError(f"{module} contains numbers that are not finite")
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
        # Layers of this package add `EPSILON` to the variance.
        return [gamma, beta, mean, variance + (self.epsilon - EPSILON)]

    def _take(self, name):
        if name not in self.arrays:
            raise MissingError(name)
        self.used.add(name)
        return self.arrays[name].astype(np.float64)
