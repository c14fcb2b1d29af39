"""Converts weights of a wide network to weights of a narrower one by channel pruning."""

from dataclasses import replace
from itertools import count

import keras
import numpy as np
from keras import layers

from keras_crosscbam.layers import CCBAM, SEASPP, ConvBNReLU
from keras_crosscbam.models.weights import HEADS, variables_of


def narrowed(weights, model):
    """Selects the channels of a wide network's weights for a narrower network.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.weights import find_weights
        >>> from keras_crosscbam.models.narrow import narrowed
        >>> model = kc.CrossCBAM_S(num_classes=11)
        >>> wide = find_weights("camvid", "cross_cbam_stdc1")  # doctest: +SKIP
        >>> narrowed(wide, model).load_into(model)  # doctest: +SKIP

    Each convolution keeps the channels with the largest batch normalization scale factors, by
    magnitude (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming",
    2017). Layers without normalization, which are those of the gates and of the classifier of an
    encoder, keep the units whose weights have the largest L1 norm (Li et al., "Pruning Filters for
    Efficient ConvNets", 2017). Tensors that are combined channel by channel, in a sum or in CCBAM,
    keep the same channels.

    The result is a starting point for training, not a trained network: the removed channels are
    missing from every sum until training has compensated for them.

    Args:
        weights: `Weights` of a network or an encoder that is at least as wide as the model.
        model: the narrow model, built by `CrossCBAM` or `STDC`.

    Returns:
        `Weights`. Layers that the model and the file do not have in common are unchanged.

    Raises:
        ValueError: if the model is wider than the weights, or has another structure.
    """
    weights = weights.for_channels_of(model)
    channels = _Channels(weights.variables, variables_of(model))
    try:
        # `model.layers` is in the order of the calls.
        for layer in model.layers:
            channels.trace(layer)
        return replace(weights, variables=weights.variables | channels.cut())
    except _MisfitError as error:
        raise ValueError(
            f"{weights.source} cannot be narrowed to fit the model {model.name!r}: {error}. "
            "Expected a network of the same structure that is at least as wide."
        ) from None


class _MisfitError(Exception):
    pass


class _Channels:
    """Tracks the channels of a wide network through the layers of a narrow one.

    Every channel has a number. Channels that are added get the same number in the end. A tensor is
    represented by an array of such numbers, or by None if the weights of its layer are missing.

    Args:
        variables: arrays of the wide network, by the paths of its layers.
        wanted: variables of the narrow network, by the paths of its layers.
    """

    def __init__(self, variables, wanted):
        self.variables = variables
        self.wanted = wanted
        self.tensors = {}
        self.numbers = count()
        self.same = {}  # from a number to an equivalent one
        self.scores = {}  # from a number to its importance
        self.axes = []  # (path, index of the array, axis, channels)
        self.made = []  # (path, channels, how many of them to keep)

    # Tracking

    def trace(self, layer):
        """Tracks the channels through one layer of the model."""
        inputs = [self.tensors.get(id(x)) for x in keras.tree.flatten(layer.input)]
        self.tensors[id(layer.output)] = self._through(layer, inputs)

    def _through(self, layer, inputs):
        if isinstance(layer, layers.InputLayer):
            return self._new(layer.output.shape[-1])
        if any(x is None for x in inputs):
            return None
        first, name = inputs[0], layer.name
        if isinstance(layer, ConvBNReLU):
            return self._conv_bn(name, first)
        if isinstance(layer, SEASPP):
            return self._se_aspp(layer, first)
        if isinstance(layer, CCBAM):
            low, high = inputs
            self._attend(f"{name}/low_channel_attention", low)
            self._attend(f"{name}/high_channel_attention", high)
            return self._join(low, high)
        if isinstance(layer, layers.Add):
            return self._join(*inputs)
        if isinstance(layer, layers.Concatenate):
            return np.concatenate(inputs)
        if isinstance(layer, layers.DepthwiseConv2D):
            return self._scale(name, first, axes=(2,))
        if isinstance(layer, layers.BatchNormalization):
            return self._normalize(name, first)
        if isinstance(layer, layers.Conv2D | layers.Dense):
            return self._dense(name, first)
        # Pooling, padding, resizing to the second input, dropout and similar layers.
        return first

    def _conv_bn(self, path, inputs):
        outputs = self._convolve(f"{path}/conv", inputs)
        return None if outputs is None else self._normalize(f"{path}/bn", outputs)

    def _se_aspp(self, layer, inputs):
        name = layer.name
        self._attend(name, inputs)
        branches = [self._conv_bn(f"{name}/{b.name}", inputs) for b in layer.branches]
        if any(branch is None for branch in branches):
            return None
        atrous = self._join(*branches)
        return self._conv_bn(f"{name}/project", np.concatenate([inputs, atrous]))

    def _attend(self, path, inputs):
        """Tracks the channels of a gate, whose hidden layer has separate channels."""
        hidden = self._dense(f"{path}/reduce", inputs)
        if hidden is not None:
            self._join(self._convolve(f"{path}/expand", hidden), inputs)

    def _dense(self, path, inputs):
        """Tracks the channels of a layer without normalization."""
        outputs = self._convolve(path, inputs)
        if outputs is not None:
            kernel, *_ = self.variables[path]
            self._score(outputs, np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1))))
        return outputs

    def _convolve(self, path, inputs):
        """Tracks the channels of a layer with a kernel `(..., inputs, outputs)` and maybe a bias.

        Returns the numbers of the output channels, or None if the weights are missing.
        """
        if path not in self.variables or path not in self.wanted:
            return None
        kernel, *bias = self.variables[path]
        outputs = self._new(kernel.shape[-1])
        room = self.wanted[path][0].shape[-1]
        self.made.append((path, outputs, len(outputs) if path in HEADS else room))
        self._cut_later(path, 0, kernel.ndim - 2, inputs)
        self._cut_later(path, 0, kernel.ndim - 1, outputs)
        if bias:
            self._cut_later(path, 1, 0, outputs)
        return outputs

    def _normalize(self, path, inputs):
        if path not in self.variables:
            return None
        gamma, *_ = self.variables[path]
        self._scale(path, inputs, axes=(0, 0, 0, 0))
        self._score(inputs, np.abs(gamma))
        return inputs

    def _scale(self, path, inputs, axes):
        """Tracks the channels of a layer that processes each channel separately.

        Each entry of `axes` is the channel axis of one array of the layer.
        """
        if path not in self.variables:
            return None
        for index, axis in enumerate(axes):
            self._cut_later(path, index, axis, inputs)
        return inputs

    def _cut_later(self, path, index, axis, channels):
        size = self.variables[path][index].shape[axis]
        if size != len(channels):
            raise _MisfitError(f"{path} has {size} channels but its input has {len(channels)}")
        self.axes.append((path, index, axis, channels))

    def _new(self, size):
        return np.array([next(self.numbers) for _ in range(size)])

    def _join(self, *tensors):
        """Marks tensors that are added or multiplied, so that they keep the same channels."""
        first = tensors[0]
        for other in tensors[1:]:
            if len(other) != len(first):
                raise _MisfitError(f"{len(other)} channels are combined with {len(first)}")
            for a, b in zip(map(self._root, other), map(self._root, first), strict=True):
                if a != b:
                    self.same[a] = b
        return first

    def _root(self, number):
        while number in self.same:
            number = self.same[number]
        return number

    def _score(self, channels, values):
        for number, value in zip(channels, values, strict=True):
            self.scores[number] = self.scores.get(number, 0.0) + float(value)

    # Selecting

    def cut(self):
        """Returns the arrays of the layers that both networks have, with the kept channels."""
        kept = self._choose()
        arrays = {path: list(self.variables[path]) for path, *_ in self.axes}
        for path, index, axis, channels in self.axes:
            # No layer selects among the channels of the image, so all of them are kept.
            stays = [kept.get(self._root(number), True) for number in channels]
            arrays[path][index] = np.compress(stays, arrays[path][index], axis)
        return arrays

    def _choose(self):
        scores = {}
        for number, score in self.scores.items():
            root = self._root(number)
            scores[root] = scores.get(root, 0.0) + score
        kept = {}
        # The first layer that outputs a channel decides whether it is kept. The score includes
        # all channels that are combined with it.
        for path, channels, room in self.made:
            roots = [self._root(number) for number in channels]
            undecided = [root for root in roots if root not in kept]
            free = room - sum(kept[root] for root in roots if root in kept)
            if not 0 <= free <= len(undecided):
                raise _MisfitError(f"{path} has {len(channels)} channels, the model {room}")
            undecided.sort(key=lambda root: -scores[root])
            kept |= {root: place < free for place, root in enumerate(undecided)}
        return kept
