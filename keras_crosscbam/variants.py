"""Table of the named model variants, with the paper's results for its six variants.

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
    """A backbone at an input size: a row of the paper's Tables 2 and 3, or a variant added here.

    Attributes:
        name: the part of the builder's name after `CrossCBAM_`.
        backbone: `"stdc1"` or `"stdc2"`.
        input_size: the paper's `(height, width)` of the input, in pixels.
        dataset: the data set of the size and the classes.
        num_classes: number of evaluated classes of that data set.
        paper_val_miou: mean IoU in percent on Cityscapes val; None for CamVid, and for variants
            that are not in the paper.
        paper_test_miou: mean IoU in percent on the test split; None for variants that are not in
            the paper.
        paper_fps: frames per second on a GTX 1080 Ti, TensorRT 8.2, FP32, batch 1; None for
            variants that are not in the paper.
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
        """Name of the network in weights files and their manifest, for every input size."""
        return f"cross_cbam_{encoder_name(self.backbone, self.alpha)}"


def encoder_name(backbone, alpha):
    """Returns the name of an encoder in weights files and their manifest.

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
        # These variants are not in the paper.
        Variant("S1", "stdc1", (512, 1024), "cityscapes", 19, None, None, None, alpha=0.5),
        Variant("S2", "stdc1", (768, 1536), "cityscapes", 19, None, None, None, alpha=0.5),
        Variant("S", "stdc1", (720, 960), "camvid", 11, None, None, None, alpha=0.5),
    )
}


def list_models() -> list[str]:
    """Returns the names of the variants' builders, which are functions of `keras_crosscbam`.

    >>> import keras_crosscbam as kc
    >>> kc.list_models()[:2]
    ['CrossCBAM_M1', 'CrossCBAM_L1']
    """
    return [f"CrossCBAM_{name}" for name in VARIANTS]
