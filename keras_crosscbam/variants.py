"""The six named variants and what the paper reports for them: one table, read everywhere.

>>> from keras_crosscbam.variants import VARIANTS
>>> VARIANTS["M1"].input_size
(512, 1024)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One row of the paper's Tables 2 and 3: a backbone at an input size.

    Attributes:
        name: what follows `CrossCBAM_` in the builder's name.
        backbone: `"stdc1"` or `"stdc2"`.
        input_size: `(height, width)` in pixels that the paper runs the network at.
        dataset: the data set of the paper's figures.
        num_classes: evaluated classes of that data set.
        paper_val_miou: mean IoU in percent on Cityscapes val (CamVid has none).
        paper_test_miou: mean IoU in percent on the test split.
        paper_fps: frames per second on a GTX 1080 Ti, TensorRT 8.2, FP32, batch 1.
    """

    name: str
    backbone: str
    input_size: tuple[int, int]
    dataset: str
    num_classes: int
    paper_val_miou: float | None
    paper_test_miou: float
    paper_fps: float


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("M1", "stdc1", (512, 1024), "cityscapes", 19, 74.19, 73.4, 240.9),
        Variant("L1", "stdc2", (512, 1024), "cityscapes", 19, 76.04, 75.1, 187.9),
        Variant("M2", "stdc1", (768, 1536), "cityscapes", 19, 76.14, 75.5, 119.7),
        Variant("L2", "stdc2", (768, 1536), "cityscapes", 19, 78.35, 77.2, 88.6),
        Variant("M", "stdc1", (720, 960), "camvid", 11, None, 73.8, 185.3),
        Variant("L", "stdc2", (720, 960), "camvid", 11, None, 75.6, 146.8),
    )
}
