"""From wide to narrow without losing all that was learned."""

from dataclasses import replace
from itertools import count

import keras
import numpy as np
from keras import layers

from keras_crosscbam.layers import CCBAM, SEASPP, ConvBNReLU
from keras_crosscbam.models.weights import HEADS, variables_of


def narrowed(weights, model):
    """Weights of a wide network, cut down to the channels that a narrower one has room for.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.weights import find_weights
        >>> from keras_crosscbam.models.narrow import narrowed
        >>> model = kc.CrossCBAM_S(num_classes=11)
        >>> wide = find_weights("camvid", "cross_cbam_stdc1")  # doctest: +SKIP
        >>> narrowed(wide, model).load_into(model)  # doctest: +SKIP

    Each convolution keeps the channels that batch normalization scales up most, by the magnitude
    of its factors (Liu et al., "Learning Efficient Convolutional Networks through Network
    Slimming", 2017). Where there is no normalization, in the gates and in the classifier of an
    encoder, the units with the largest weights are kept, by their L1 norm (Li et al., "Pruning
    Filters for Efficient ConvNets", 2017). What meets channel by channel, in a sum or in CCBAM,
    keeps the same channels.

    The result is where a training starts, no finished network: what was cut off is missing from
    every sum until the training has made up for it.

    Args:
        weights: `Weights` of a network or an encoder that is at least as wide as the model.
        model: the narrow model, of `CrossCBAM` or `STDC`.

    Returns:
        `Weights`. What the model and the file do not have in common is left as it is.

    Raises:
        ValueError: if the model is wider than the weights, or of another structure.
    """
    weights = weights.for_channels_of(model)
    channels = _Channels(weights.variables, variables_of(model))
    try:
        # In the order of the calls.
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
    """Follows the channels of a wide network through the layers of a narrow one.

    Every channel has a number, and channels that meet in a sum have a common one in the end. A
    tensor is an array of such numbers; None where the wide network is not known.

    Args:
        variables: arrays of the wide network by the paths of its layers.
        wanted: variables of the narrow one, likewise.
    """

    def __init__(self, variables, wanted):
        self.variables = variables
        self.wanted = wanted
        self.tensors = {}
        self.numbers = count()
        self.same = {}  # a number to an equivalent one
        self.scores = {}  # a number to its importance
        self.axes = []  # (path, index of the array, axis, channels)
        self.made = []  # (path, channels, how many of them to keep)

    # Following

    def trace(self, layer):
        """Follows the channels through one layer of the model."""
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
        # Pooling, padding, resizing to the second input, dropout and the like.
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
        """A gate on some channels, whose hidden layer has channels of its own."""
        hidden = self._dense(f"{path}/reduce", inputs)
        if hidden is not None:
            self._join(self._convolve(f"{path}/expand", hidden), inputs)

    def _dense(self, path, inputs):
        """A layer without normalization."""
        outputs = self._convolve(path, inputs)
        if outputs is not None:
            kernel, *_ = self.variables[path]
            self._score(outputs, np.abs(kernel).sum(axis=tuple(range(kernel.ndim - 1))))
        return outputs

    def _convolve(self, path, inputs):
        """Any layer with a kernel `(..., inputs, outputs)` and perhaps a bias."""
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
        """A layer that works on each channel by itself, with one array for each of the axes."""
        if path not in self.variables:
            return None
        for index, axis in enumerate(axes):
            self._cut_later(path, index, axis, inputs)
        return inputs

    def _cut_later(self, path, index, axis, channels):
        size = self.variables[path][index].shape[axis]
        if size != len(channels):
            raise _MisfitError(f"{path} has {size} channels where {len(channels)} arrive")
        self.axes.append((path, index, axis, channels))

    def _new(self, size):
        return np.array([next(self.numbers) for _ in range(size)])

    def _join(self, *tensors):
        """Makes tensors that are added or multiplied keep the same channels."""
        first = tensors[0]
        for other in tensors[1:]:
            if len(other) != len(first):
                raise _MisfitError(f"{len(other)} channels meet {len(first)}")
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

    # Choosing and cutting

    def cut(self):
        """The arrays of the layers that both networks have, without the channels left out."""
        kept = self._choose()
        arrays = {path: list(self.variables[path]) for path, *_ in self.axes}
        for path, index, axis, channels in self.axes:
            # Nobody decides about the channels of the image: they stay.
            stays = [kept.get(self._root(number), True) for number in channels]
            arrays[path][index] = np.compress(stays, arrays[path][index], axis)
        return arrays

    def _choose(self):
        scores = {}
        for number, score in self.scores.items():
            root = self._root(number)
            scores[root] = scores.get(root, 0.0) + score
        kept = {}
        # The first to make a channel decides about it, with all that meets it in mind.
        for path, channels, room in self.made:
            roots = [self._root(number) for number in channels]
            undecided = [root for root in roots if root not in kept]
            free = room - sum(kept[root] for root in roots if root in kept)
            if not 0 <= free <= len(undecided):
                raise _MisfitError(f"{path} has {len(channels)} channels, the model {room}")
            undecided.sort(key=lambda root: -scores[root])
            kept |= {root: place < free for place, root in enumerate(undecided)}
        return kept
