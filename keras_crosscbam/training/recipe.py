"""Dataclasses of training recipes, which contain all settings of a training."""

import math
from dataclasses import dataclass, field
from typing import Any

from keras_crosscbam.datasets.argument_checks import (
    check_choice,
    check_number,
    check_range,
    check_size,
    check_whole,
)
from keras_crosscbam.models.stdc import STAGE_BLOCKS
from keras_crosscbam.training.losses.specification import make_loss
from keras_crosscbam.variants import VARIANTS

SWITCHES = {
    "aspp_filters",
    "aspp_dilation_rates",
    "use_se_aspp",
    "fusion",
    "gate_activation",
    "alpha",
    "count_include_pad",
}
"""The arguments of `CrossCBAM` that a recipe may set."""
STARTS = ("weights", "deepened_from", "narrowed_from")
"""The fields of a recipe that specify weights to start from."""


@dataclass(frozen=True)
class Phase:
    """A number of epochs with the same crop size, `(height, width)` in pixels."""

    epochs: int
    crop_size: tuple[int, int]

    def __post_init__(self) -> None:
        check_whole("epochs", self.epochs, least=1)
        check_size("crop_size", self.crop_size)


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """Settings that trainings of encoders and of segmentation networks have in common.

    Attributes:
        name: name of the recipe on the command line.
        phases: the phases of the training, in order, with one learning rate schedule for all of
            them. Phases with small crops first allow more steps in the same time.
        batch_size: number of crops in a step, for all workers together.
        steps_per_epoch: number of steps between two checkpoints; None for one pass over the frames.
            A training of N iterations has `epochs * steps_per_epoch = N`.
        validation_freq: number of epochs between two validations. The last epoch is always
            validated.
        keep: `"best"` to keep the weights with the best validation score, or `"last"` to keep those
            of the last epoch, which do not depend on validation.
        optimizer: `"adamw"`, or `"sgd"` with momentum 0.9.
        learning_rate, end_learning_rate: first and last rate of the poly schedule (power 0.9).
        warmup_steps: number of steps of the linear warm-up, at most a tenth of all steps.
        weight_decay: weight decay. It is decoupled from the gradient in AdamW and added to the
            gradient in SGD.
        accumulate: number of steps whose gradients are averaged for one update.
        ema: momentum of the exponential moving average of the weights, which is then validated and
            kept; 0 for no average.
        average_epochs: number of last epochs whose weights are averaged after the last one. The
            mean is then validated and kept; 0 for no average.
        freeze_batch_norm_epochs: number of last epochs in which BatchNormalization normalizes by
            its moving statistics and does not update them; 0 for none.
        early_stopping: number of consecutive validations without a new best score after which the
            training ends; 0 to train all epochs.
        label_smoothing: fraction of the target that is spread over all classes, in 0..1.
        dtype_policy: Keras dtype policy in training. Weights and losses are always float32.
        jit_compile: whether XLA compiles the step. With `"auto"` Keras decides (on TensorFlow only
            with a GPU).
        weights: name, path or URL of weights to start from.
        deepened_from: name, path or URL of weights with STDC1, for a network with STDC2 to start
            from; see `keras_crosscbam.models.deepen`.
        narrowed_from: name, path or URL of weights of the full width, for a narrower network or
            encoder to start from; see `keras_crosscbam.models.narrow`.
        cache: whether to keep decoded frames in memory, as far as memory is available.
        seed: seed of initialization, order and augmentation.
    """

    name: str
    phases: tuple[Phase, ...]
    batch_size: int = 8
    steps_per_epoch: int | None = None
    validation_freq: int = 5
    keep: str = "best"
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    end_learning_rate: float = 1e-5
    warmup_steps: int = 200
    weight_decay: float = 0.05
    accumulate: int = 1
    ema: float = 0.0
    average_epochs: int = 0
    freeze_batch_norm_epochs: int = 0
    early_stopping: int = 0
    label_smoothing: float = 0.0
    dtype_policy: str = "float32"
    jit_compile: bool | str = "auto"
    weights: str | None = None
    deepened_from: str | None = None
    narrowed_from: str | None = None
    cache: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("`phases` must contain at least one phase. Received: ()")
        for name in ("batch_size", "accumulate", "validation_freq", "steps_per_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        for name in ("ema", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1). Received: {getattr(self, name)}")
        for name in ("learning_rate", "end_learning_rate", "warmup_steps", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"`{name}` must be finite and not negative. Received: {value}")
        starts = [name for name in STARTS if getattr(self, name)]
        if len(starts) > 1:
            raise ValueError(
                f"Set at most one of {', '.join(f'`{name}`' for name in STARTS)}. "
                f"Received: {' and '.join(starts)}"
            )
        for name in ("average_epochs", "freeze_batch_norm_epochs"):
            if not 0 <= getattr(self, name) <= self.epochs:
                raise ValueError(
                    f"`{name}` must be in 0..{self.epochs}, the number of epochs. "
                    f"Received: {getattr(self, name)}"
                )
        check_whole("early_stopping", self.early_stopping, least=0)
        if self.early_stopping and self.keep == "last":
            raise ValueError(
                "`early_stopping` ends a training by its validation scores, and `keep='last'` "
                "keeps weights that do not depend on validation: set one of them."
            )
        for name in ("average_epochs", "freeze_batch_norm_epochs"):
            if self.early_stopping and getattr(self, name):
                raise ValueError(
                    f"`{name}` applies to the last epochs, which a training with `early_stopping` "
                    "may not reach: set one of them."
                )
        if self.ema and self.average_epochs:
            raise ValueError("`ema` and `average_epochs` both average weights: set one of them.")
        check_choice("keep", self.keep, ("best", "last"))
        check_choice("optimizer", self.optimizer, ("adamw", "sgd"))
        check_choice("jit_compile", self.jit_compile, (True, False, "auto"))
        check_choice(
            "dtype_policy", self.dtype_policy, ("float32", "mixed_float16", "mixed_bfloat16")
        )

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)


@dataclass(frozen=True, kw_only=True)
class Recipe(Optimization):
    """The training of a segmentation network; see `Optimization` for the other fields.

    Attributes:
        variant: name of a row of `keras_crosscbam.variants.VARIANTS`.
        architecture: arguments of `CrossCBAM` that differ from the variant, for ablations. The
            names must be in `SWITCHES`.
        backbone_weights: name, path or URL of weights for the encoder alone.
        backbone_rate: factor on the encoder's learning rate. 0 freezes the encoder, including its
            BatchNormalization statistics.
        dropout_rate: fraction of the channels that are dropped before the classifier of each head.
        scale_range: smallest and largest random scale of the frames.
        photometric: whether to vary brightness, contrast, saturation and hue.
        appearance: strength, in 0..1, of augmentations of light and camera: shade, low light, color
            temperature, blur, noise, gamma, contrast, JPEG; see
            `keras_crosscbam.datasets.augment.appearance`. 0 for none.
        rotation: largest rotation angle of the crops, in degrees.
        erasing: fraction of the crops in which a rectangle is erased, including its labels, in
            0..1.
        class_mix: fraction of the crops over which classes of another frame are pasted, in 0..1.
        balanced_sampling: whether to draw frames with rare classes more often.
        loss: loss of the main head, a specification for `keras_crosscbam.training.make_loss`.
        aux_loss: loss of the auxiliary head, given like `loss`.
        aux_weight: weight of the loss of the auxiliary head. That of the main head has weight 1. 0
            trains as without an auxiliary head.
        focal_gamma: exponent of the focal loss (paper, Eq. 6).
        class_balance: exponent b of the class weights `share ** -b`; 0 for none. The weights are
            scaled so that their mean over the labeled pixels is 1.
        validation_size: `(height, width)` that frames are resized to for validation; the logits are
            resized back. None to keep the size of the frames.
        teacher: name, path or URL of the weights of a network for distillation (Hinton et al.,
            2015), or a tuple of several, whose probabilities are averaged; None for no teacher.
            Distillation applies only to the main head.
        teacher_variant: variant of the shipped weights that a name in `teacher` refers to. For a
            file, the network is found from its contents.
        teacher_architecture: arguments of `CrossCBAM` that a teacher's file does not contain. The
            names must be in `SWITCHES`. Only needed for `gate_activation` of files of version 0.1.
        distillation_weight: weight of the distillation loss. The loss of the main head has weight
            1.
        temperature: temperature of the distillation loss; see `SegmentationDistillation`.
    """

    variant: str
    architecture: dict = field(default_factory=dict)
    backbone_weights: str | None = None
    backbone_rate: float = 1.0
    dropout_rate: float = 0.1
    scale_range: tuple[float, float] = (0.5, 2.0)
    photometric: bool = True
    appearance: float = 0.0
    rotation: float = 0.0
    erasing: float = 0.0
    class_mix: float = 0.0
    balanced_sampling: bool = False
    loss: str = "ce"
    aux_loss: str = "ce"
    aux_weight: float = 0.4
    focal_gamma: float = 2.0
    class_balance: float = 0.0
    validation_size: tuple[int, int] | None = None
    teacher: str | tuple[str, ...] | None = None
    teacher_variant: str = "L"
    teacher_architecture: dict = field(default_factory=dict)
    distillation_weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, tuple(VARIANTS))
        check_choice("teacher_variant", self.teacher_variant, tuple(VARIANTS))
        for name in ("architecture", "teacher_architecture"):
            if unknown := getattr(self, name).keys() - SWITCHES:
                raise ValueError(
                    f"`{name}` may contain {sorted(SWITCHES)}. Received: {sorted(unknown)}"
                )
        if self.backbone_weights and any(getattr(self, name) for name in STARTS):
            raise ValueError(
                f"{', '.join(f'`{name}`' for name in STARTS)} already contain an encoder: leave "
                "out `backbone_weights`."
            )
        check_range("scale_range", self.scale_range, positive=True)
        for name in ("class_mix", "appearance", "erasing"):
            check_number(name, getattr(self, name), most=1)
        check_number("rotation", self.rotation, most=180)
        if self.validation_size is not None:
            check_size("validation_size", self.validation_size)
        for loss in (self.loss, self.aux_loss):
            make_loss(loss, focal_gamma=self.focal_gamma, label_smoothing=self.label_smoothing)
        for name in ("distillation_weight", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"`{name}` must be positive and finite. Received: {getattr(self, name)}"
                )

    @property
    def network(self) -> dict[str, Any]:
        """Arguments of `CrossCBAM`: those of the variant, updated by `architecture`."""
        variant = VARIANTS[self.variant]
        return {"backbone": variant.backbone, "alpha": variant.alpha, **self.architecture}


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe(Optimization):
    """The training of an encoder as a classifier; see `Optimization` for the other fields.

    Attributes:
        backbone: `"stdc1"` or `"stdc2"`.
        alpha: width multiplier of the encoder.
        area_range: smallest and largest area of a random crop, as a fraction of the image's area.
        validation_size: side in pixels of the central crops on which top-1 accuracy is measured.
        dropout_rate: fraction of the classifier's hidden units that are dropped in training.
        rand_augment: strength, in 0..1, of two random augmentations of each image; see
            `keras_crosscbam.datasets.augment.rand_augment`. 0 for none.
        mixup: alpha of `keras_crosscbam.datasets.augment.MixUp`, which mixes each image with
            another one; 0 for none.
        cutmix: alpha of `CutMix`; 0 for none. If both are set, each of the two is applied to half
            of the images on average.
    """

    backbone: str
    alpha: float = 1.0
    area_range: tuple[float, float] = (0.25, 1.0)
    validation_size: int = 224
    dropout_rate: float = 0.2
    rand_augment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("backbone", self.backbone, tuple(STAGE_BLOCKS))
        check_range("area_range", self.area_range, positive=True, most=1)
        check_whole("validation_size", self.validation_size, least=1)
        check_number("rand_augment", self.rand_augment, most=1)
        check_number("mixup", self.mixup)
        check_number("cutmix", self.cutmix)
