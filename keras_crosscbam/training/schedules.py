"""The poly learning rate schedule (paper, section 4.2)."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_crosscbam")
class PolySchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Decays the learning rate by `(1 - step / steps) ** power`, with a linear warm-up.

        >>> from keras_crosscbam.training import PolySchedule
        >>> schedule = PolySchedule(0.01, decay_steps=10_000, end_learning_rate=1e-4)
        >>> round(float(schedule(5_000)), 6)
        0.005405

    Args:
        initial_learning_rate: first rate of the decay.
        decay_steps: number of steps until the last rate is reached. It is constant after that.
        end_learning_rate: last rate of the decay.
        power: exponent (paper: 0.9).
        warmup_steps: number of first steps in which the rate is multiplied by a factor that rises
            linearly to 1; 0 for no warm-up.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0,
        power: float = 0.9,
        warmup_steps: int = 0,
    ) -> None:
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        left = 1 - ops.minimum(step / self.decay_steps, 1.0)
        span = self.initial_learning_rate - self.end_learning_rate
        rate = span * left**self.power + self.end_learning_rate
        if not self.warmup_steps:
            return rate
        return rate * ops.minimum((step + 1) / self.warmup_steps, 1.0)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "warmup_steps": self.warmup_steps,
        }
