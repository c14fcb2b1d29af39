"""Optimizers with a separate learning rate for the encoder, and SGD with L2 weight decay."""

from __future__ import annotations

from typing import Any

import keras

from keras_crosscbam.models.surgery import is_backbone
from keras_crosscbam.private_api import variable_index
from keras_crosscbam.training.schedules import PolySchedule


class _SlowBackbone:
    """Updates the encoder's weights with `backbone_rate` times the learning rate.

    The decoupled weight decay of Keras uses the full learning rate.
    """

    def __init__(self, *args: Any, backbone_rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backbone_rate = backbone_rate
        self._rates: list[float] = []

    def build(self, variables):
        super().build(variables)
        # On TensorFlow `update_step` receives backend variables without the path of their layer.
        self._rates = [self.backbone_rate if is_backbone(v.path) else 1.0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rates[variable_index(self, variable)]
        super().update_step(gradient, variable, learning_rate * rate)

    def get_config(self):
        return {**super().get_config(), "backbone_rate": self.backbone_rate}


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class AdamW(_SlowBackbone, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with a separate learning rate for the encoder.

        >>> from keras_crosscbam.training import AdamW
        >>> AdamW(1e-3, backbone_rate=0.1).backbone_rate
        0.1

    Args:
        backbone_rate: factor on the learning rate of the encoder's weights. They are recognized by
            the names of their layers.
        *args, **kwargs: arguments of `keras.optimizers.AdamW`.
    """


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class SGD(_SlowBackbone, keras.optimizers.SGD):
    """SGD with L2 weight decay as in PyTorch, for STDC and Cross-CBAM (paper, section 4.2).

        >>> from keras_crosscbam.training import SGD
        >>> optimizer = SGD(0.01, momentum=0.9, l2=5e-4)

    The `weight_decay` of Keras reduces the weights separately from the update. PyTorch adds it to
    the gradient, so that momentum accumulates it: at momentum 0.9 the decay is ten times as large.

    Args:
        l2: weight decay that is added to the gradient, `gradient + l2 * weight`.
        backbone_rate: factor on the learning rate of the encoder's weights.
        *args, **kwargs: arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, *args: Any, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient + self.l2 * variable, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


def make_optimizer(recipe, total_steps):
    """Returns the optimizer of a recipe for a training of `total_steps` steps."""
    schedule = PolySchedule(
        recipe.learning_rate,
        total_steps,
        recipe.end_learning_rate,
        # In a short training the warm-up must not be longer than a tenth of the steps.
        warmup_steps=min(recipe.warmup_steps, total_steps // 10),
    )
    common = {
        "learning_rate": schedule,
        "backbone_rate": getattr(recipe, "backbone_rate", 1.0),
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
        "use_ema": recipe.ema > 0,
        "ema_momentum": recipe.ema,
    }
    if recipe.optimizer == "sgd":
        return SGD(momentum=0.9, l2=recipe.weight_decay, **common)
    return AdamW(weight_decay=recipe.weight_decay, **common)
