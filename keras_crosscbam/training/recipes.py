"""Training recipes: every number of a training in one frozen table.

>>> from keras_crosscbam.training import RECIPES
>>> RECIPES["camvid-m"].epochs
104
"""

from dataclasses import dataclass

from keras_crosscbam.variants import VARIANTS


@dataclass(frozen=True)
class Phase:
    """Some epochs at one crop size, `(height, width)` in pixels."""

    epochs: int
    crop_size: tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """All that determines a training, but for the data.

    Attributes:
        name: what `crosscbam train --recipe` calls it.
        variant: name of a row of `keras_crosscbam.variants.VARIANTS`.
        phases: epochs and crop sizes, one after the other under one learning rate schedule;
            small crops first give more steps for the same time.
        batch_size: crops a step.
        scale_range: random scale of the frames.
        photometric: whether brightness, contrast, saturation and hue vary.
        learning_rate, end_learning_rate, warmup_steps: of the poly schedule (power 0.9).
        weight_decay: AdamW's, decoupled from the gradient.
        class_balance: exponent b of the class weights `share ** -b`, 0 for none; the weights are
            scaled so that the mean over the labelled pixels is 1.
        aux_weight: weight of the auxiliary head's loss beside the main one's 1.
        dtype_policy: Keras dtype policy in training; weights and losses are float32 in each.
        seed: of initialisation, order and augmentation.
    """

    name: str
    variant: str
    phases: tuple[Phase, ...]
    batch_size: int = 8
    scale_range: tuple[float, float] = (0.5, 2.0)
    photometric: bool = True
    learning_rate: float = 1e-3
    end_learning_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 0.05
    class_balance: float = 0.5
    aux_weight: float = 0.4
    dtype_policy: str = "float32"
    seed: int = 0

    def __post_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(
                f"`variant` must be one of {sorted(VARIANTS)}. Received: {self.variant!r}"
            )
        if not self.phases or any(phase.epochs < 1 for phase in self.phases):
            raise ValueError(f"`phases` must hold epochs to train. Received: {self.phases!r}")

    @property
    def epochs(self):
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.phases)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # From scratch on 367 frames and a CPU: bfloat16 is what makes it a matter of hours.
        Recipe(
            name="camvid-m",
            variant="M",
            phases=(Phase(80, (256, 320)), Phase(24, (360, 480))),
            dtype_policy="mixed_bfloat16",
        ),
    )
}
