"""Names of the layers of STDC in other implementations."""

from dataclasses import dataclass
from typing import Any

from keras_crosscbam.models.stdc import STAGE_BLOCKS, STAGE_FILTERS


@dataclass(frozen=True)
class Naming:
    """The names of the modules of STDC in one implementation.

    Names of blocks are templates with the fields `{stage}` (3 to 5), `{ratio}` (8 to 32, the
    downsampling of the stage), `{index}` (2 to 4), `{block}` (from 0, in its stage) and `{number}`
    (from 2, in the network). Names of convolutions have the fields `{conv}` (from 0) and
    `{conv_number}` (from 1).

    Attributes:
        source: name of the implementation.
        stem: names of the first two units.
        block: name of a block.
        conv: name of one of its four units.
        down: names of the depthwise convolution and its normalization.
        second_conv: name of the second unit at stride 2, if it differs from `conv`.
        unit: names of the convolution and of the normalization in a unit.
        statistics: names of the mean and the variance in a normalization.
        top: names of the classifier's unit and its two dense layers; () if unknown.
        square_top: whether the classifier squares the feature maps.
        count_include_pad: whether average pooling includes the padding.
        foreign_parts: parts of names that only occur in other kinds of STDC.
    """

    source: str
    stem: tuple[str, str]
    block: str
    conv: str
    down: tuple[str, str]
    second_conv: str | None = None
    unit: tuple[str, str] = ("conv", "bn")
    statistics: tuple[str, str] = ("running_mean", "running_var")
    top: tuple[str, ...] = ()
    square_top: bool = False
    count_include_pad: bool = True
    foreign_parts: tuple[str, ...] = ()

    @property
    def first(self):
        """Name of the first weight."""
        return f"{self.stem[0]}.{self.unit[0]}.weight"

    @property
    def is_paddle(self):
        """Whether dense kernels are `(in, out)`."""
        return self.statistics[0] == "_mean"

    def encoder(self, backbone):
        """Returns a dict from layer path to module name: `{"stem_conv1/conv": ...}`."""
        names = {}
        for index, stem in enumerate(self.stem, start=1):
            names |= self._unit(f"stem_conv{index}", stem)
        number = 2
        for index, (stage, blocks) in enumerate(
            zip(STAGE_FILTERS, STAGE_BLOCKS[backbone], strict=True), start=2
        ):
            for block in range(blocks):
                place = {"stage": index + 1, "ratio": 2 ** (index + 1), "index": index}
                there = self.block.format(**place, block=block, number=number)
                names |= self._block(f"{stage}_block{block + 1}", there, strided=block == 0)
                number += 1
        return names

    def classifier(self):
        """Returns the same dict for the classifier; empty if its names are unknown."""
        if not self.top:
            return {}
        unit, hidden, last = self.top
        return self._unit("top_conv", unit) | {"top_dense": hidden, "predictions": last}

    def _block(self, ours, theirs, strided):
        names = {}
        for conv in range(4):
            template = self.second_conv if strided and conv == 1 else None
            name = (template or self.conv).format(conv=conv, conv_number=conv + 1)
            names |= self._unit(f"{ours}_conv{conv + 1}", f"{theirs}.{name}")
        if strided:
            names[f"{ours}_down_conv"], names[f"{ours}_down_bn"] = (
                f"{theirs}.{name}" for name in self.down
            )
        return names

    def _unit(self, ours, theirs):
        conv, norm = self.unit
        return {f"{ours}/conv": f"{theirs}.{conv}", f"{ours}/bn": f"{theirs}.{norm}"}


_PUBLISHED: dict[str, Any] = {
    "stem": ("features.0", "features.1"),
    "block": "features.{number}",
    "conv": "conv_list.{conv}",
    "down": ("avd_layer.0", "avd_layer.1"),
    "foreign_parts": (".skip.0.",),
}
TWIN = Naming(
    "keras_crosscbam's PyTorch network",
    stem=("stem_conv1", "stem_conv2"),
    block="stage{stage}.{block}",
    conv="conv{conv_number}",
    down=("down_conv", "down_bn"),
)
"""Names in `benchmarks/torch_cross_cbam.py`, whose decoder has the names of this package."""
MMSEG = Naming(
    "MMSegmentation",
    stem=("stages.0", "stages.1"),
    block="stages.{index}.{block}",
    conv="layers.{conv}",
    down=("avg_pool.conv", "avg_pool.bn"),
    foreign_parts=(".skip.0.",),
)
NAMINGS = (
    Naming(
        "PaddleSeg",
        **_PUBLISHED,
        statistics=("_mean", "_variance"),
        count_include_pad=False,
    ),
    Naming("STDC-Seg", **_PUBLISHED, top=("conv_last", "fc", "linear"), square_top=True),
    MMSEG,
    Naming(
        "super-gradients",
        stem=("stages.block_s2.0", "stages.block_s4.0"),
        block="stages.block_s{ratio}.{block}",
        conv="conv_list.{conv}",
        second_conv="conv_list.1.1",
        down=("conv_list.1.0.seq.conv", "conv_list.1.0.seq.bn"),
        unit=("seq.conv", "seq.bn"),
        top=("conv_last", "fc", "linear"),
        square_top=True,
        foreign_parts=(".skip_step1.seq.",),
    ),
    TWIN,
)
"""All known namings. Paddle's differs from the published one only in normalizations."""
