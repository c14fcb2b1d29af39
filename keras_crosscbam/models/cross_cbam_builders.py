"""Builders of the named Cross-CBAM variants, one for each row of `VARIANTS`."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_crosscbam.models.class_names import SegmentationModel
from keras_crosscbam.models.cross_cbam import BASE_DOCSTRING, CrossCBAM
from keras_crosscbam.types import (
    Activation,
    Classes,
    Fusion,
    InputShape,
    StrPath,
)
from keras_crosscbam.variants import VARIANTS, Variant


def list_models():
    """Returns the names of the builders of the variants, all functions of `keras_crosscbam`."""
    return [f"CrossCBAM_{name}" for name in VARIANTS]


def _build(variant: Variant, arguments: dict[str, Any]) -> SegmentationModel:
    """Calls `CrossCBAM` with the given arguments and the defaults of a variant."""
    if arguments["input_shape"] is None:
        arguments["input_shape"] = (*variant.input_size, 3)
    if all(arguments[name] is None for name in ("num_classes", "classes", "weights")):
        arguments["num_classes"] = variant.num_classes
    return CrossCBAM(variant.backbone, **arguments)


def _docstring(variant: Variant) -> str:
    height, width = variant.input_size
    encoder = variant.backbone.upper()
    if variant.paper_test_miou is None:
        encoder += f" with `alpha={variant.alpha}`"
        source = "A small network that this package adds. The paper reports no results for it."
    else:
        source = f"""Paper, Tables 2 and 3, {variant.dataset}: test mIoU {variant.paper_test_miou},
    {variant.paper_fps} FPS on a GTX 1080 Ti with TensorRT 8.2, FP32, batch 1."""
    return BASE_DOCSTRING.format(
        summary=f"Builds Cross-CBAM-{variant.name}: {encoder} at {height}x{width}.",
        example=f""">>> import keras_crosscbam
        >>> keras_crosscbam.CrossCBAM_{variant.name}(num_classes=7).output_shape
        (None, {height}, {width}, 7)

    {source}""",
        backbone="",
        default_shape=f". None for ({height}, {width}, 3)",
        default_classes=variant.num_classes,
        default_alpha="",
    )


def CrossCBAM_M1(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_m1",
) -> SegmentationModel:
    return _build(VARIANTS["M1"], locals())


def CrossCBAM_L1(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_l1",
) -> SegmentationModel:
    return _build(VARIANTS["L1"], locals())


def CrossCBAM_M2(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_m2",
) -> SegmentationModel:
    return _build(VARIANTS["M2"], locals())


def CrossCBAM_L2(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_l2",
) -> SegmentationModel:
    return _build(VARIANTS["L2"], locals())


def CrossCBAM_M(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_m",
) -> SegmentationModel:
    return _build(VARIANTS["M"], locals())


def CrossCBAM_L(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 1.0,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_l",
) -> SegmentationModel:
    return _build(VARIANTS["L"], locals())


def CrossCBAM_S1(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 0.5,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_s1",
) -> SegmentationModel:
    return _build(VARIANTS["S1"], locals())


def CrossCBAM_S2(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 0.5,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_s2",
) -> SegmentationModel:
    return _build(VARIANTS["S2"], locals())


def CrossCBAM_S(
    input_shape: InputShape | None = None,
    num_classes: int | None = None,
    classes: Classes | None = None,
    aspp_filters: int = 256,
    aspp_dilation_rates: Sequence[int] = (1, 3),
    use_se_aspp: bool = True,
    fusion: Fusion = "ccbam",
    gate_activation: str | None = None,
    aux_head: bool = False,
    weights: StrPath | None = None,
    backbone_weights: StrPath | None = None,
    include_preprocessing: bool = True,
    classifier_activation: Activation = None,
    dropout_rate: float = 0.1,
    input_tensor: keras.KerasTensor | None = None,
    alpha: float = 0.5,
    count_include_pad: bool | None = None,
    name: str = "cross_cbam_s",
) -> SegmentationModel:
    return _build(VARIANTS["S"], locals())


CrossCBAM_M1.__doc__ = _docstring(VARIANTS["M1"])
CrossCBAM_L1.__doc__ = _docstring(VARIANTS["L1"])
CrossCBAM_M2.__doc__ = _docstring(VARIANTS["M2"])
CrossCBAM_L2.__doc__ = _docstring(VARIANTS["L2"])
CrossCBAM_M.__doc__ = _docstring(VARIANTS["M"])
CrossCBAM_L.__doc__ = _docstring(VARIANTS["L"])
CrossCBAM_S1.__doc__ = _docstring(VARIANTS["S1"])
CrossCBAM_S2.__doc__ = _docstring(VARIANTS["S2"])
CrossCBAM_S.__doc__ = _docstring(VARIANTS["S"])
