"""Optimizers with what a pretrained encoder needs: rates of its own, and PyTorch's weight decay."""

from __future__ import annotations

from typing import Any

import keras

from keras_crosscbam.models.surgery import is_backbone
from keras_crosscbam.private_api import variable_index


class _SlowBackbone:
    """Updates the encoder's weights at `backbone_rate` times the learning rate.

    The decoupled weight decay of Keras keeps the full rate.
    """

    def __init__(self, *args: Any, backbone_rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backbone_rate = backbone_rate
        self._rates: list[float] = []

    def build(self, variables):
        super().build(variables)
        # TensorFlow hands `update_step` its own variables, which do not know their layer.
        self._rates = [self.backbone_rate if is_backbone(v.path) else 1.0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rates[variable_index(self, variable)]
        super().update_step(gradient, variable, learning_rate * rate)

    def get_config(self):
        return {**super().get_config(), "backbone_rate": self.backbone_rate}


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class AdamW(_SlowBackbone, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with a slower encoder.

        >>> from keras_crosscbam.training import AdamW
        >>> AdamW(1e-3, backbone_rate=0.1).backbone_rate
        0.1

    Args:
        backbone_rate: factor on the learning rate of the encoder's weights, which are known by
            their layers' names.
        *args, **kwargs: of `keras.optimizers.AdamW`.
    """


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SGD(_SlowBackbone, keras.optimizers.SGD):
    """SGD as PyTorch has it, with which STDC and Cross-CBAM are trained (paper, section 4.2).

        >>> from keras_crosscbam.training import SGD
        >>> optimizer = SGD(0.01, momentum=0.9, l2=5e-4)

    Keras' own `weight_decay` shrinks the weights beside the update. PyTorch adds it to the
    gradient, where the momentum carries it on: ten times as much decay at momentum 0.9.

    Args:
        l2: weight decay added to the gradient, `gradient + l2 * weight`.
        backbone_rate: factor on the learning rate of the encoder's weights.
        *args, **kwargs: of `keras.optimizers.SGD`.
    """

    def __init__(self, *args: Any, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient + self.l2 * variable, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}
