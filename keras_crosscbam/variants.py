"""The named variants, and what the paper reports for its own six: one table, read everywhere.

>>> from keras_crosscbam.variants import VARIANTS
>>> VARIANTS["M1"].input_size
(512, 1024)
>>> VARIANTS["S1"].architecture
'cross_cbam_stdc1_050'
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A backbone at an input size: a row of the paper's Tables 2 and 3, or a network of ours.

    Attributes:
        name: what follows `CrossCBAM_` in the builder's name.
        backbone: `"stdc1"` or `"stdc2"`.
        input_size: `(height, width)` in pixels that the paper runs the network at.
        dataset: the data set that size and classes come from.
        num_classes: evaluated classes of that data set.
        paper_val_miou: mean IoU in percent on Cityscapes val (CamVid has none).
        paper_test_miou: mean IoU in percent on the test split; None where the network is ours.
        paper_fps: frames per second on a GTX 1080 Ti, TensorRT 8.2, FP32, batch 1; None likewise.
        alpha: width multiplier.
    """

    name: str
    backbone: str
    input_size: tuple[int, int]
    dataset: str
    num_classes: int
    paper_val_miou: float | None
    paper_test_miou: float | None
    paper_fps: float | None
    alpha: float = 1.0

    @property
    def architecture(self):
        """What weights files and their manifest call the network, whatever its input size."""
        return f"cross_cbam_{encoder_name(self.backbone, self.alpha)}"


def encoder_name(backbone, alpha):
    """What weights files and their manifest call an encoder.

    >>> from keras_crosscbam.variants import encoder_name
    >>> encoder_name("stdc1", 1.0), encoder_name("stdc1", 0.5)
    ('stdc1', 'stdc1_050')
    """
    return backbone if alpha == 1 else f"{backbone}_{round(100 * alpha):03d}"


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("M1", "stdc1", (512, 1024), "cityscapes", 19, 74.19, 73.4, 240.9),
        Variant("L1", "stdc2", (512, 1024), "cityscapes", 19, 76.04, 75.1, 187.9),
        Variant("M2", "stdc1", (768, 1536), "cityscapes", 19, 76.14, 75.5, 119.7),
        Variant("L2", "stdc2", (768, 1536), "cityscapes", 19, 78.35, 77.2, 88.6),
        Variant("M", "stdc1", (720, 960), "camvid", 11, None, 73.8, 185.3),
        Variant("L", "stdc2", (720, 960), "camvid", 11, None, 75.6, 146.8),
        # Not the paper's.
        Variant("S1", "stdc1", (512, 1024), "cityscapes", 19, None, None, None, alpha=0.5),
        Variant("S2", "stdc1", (768, 1536), "cityscapes", 19, None, None, None, alpha=0.5),
        Variant("S", "stdc1", (720, 960), "camvid", 11, None, None, None, alpha=0.5),
    )
}


def list_models() -> list[str]:
    """Names of the variants' builders, all of them functions of `keras_crosscbam`.

    >>> import keras_crosscbam as kc
    >>> kc.list_models()[:2]
    ['CrossCBAM_M1', 'CrossCBAM_L1']
    """
    return [f"CrossCBAM_{name}" for name in VARIANTS]
