"""The peers have the published parameters and FLOPs, and those counted by hand.

Structure: MichaelFan01/STDC-Seg, models/model_stages.py; PaddleSeg, paddleseg/models/pp_liteseg.py
and configs/pp_liteseg. Published parameters and FLOPs of STDC-Seg are those of PaddleSeg's model
zoo (docs/model_zoo_overview.md of release 2.3, 1024x512). Neither the paper nor PaddleSeg publishes
parameters or FLOPs of PP-LiteSeg; its counts are ours alone. DDRNet: ydhongHIT/DDRNet,
segmentation/DDRNet_23_slim.py, and the paper's table of Cityscapes. PIDNet: XuJiacong/PIDNet,
models/pidnet.py, and the paper's table of Cityscapes. SCTNet: the paper's section 3 and its table
of Cityscapes, with the parameters of SCTNet-S and SCTNet-B.

By hand, a convolution is (kernel, inputs, outputs, positions, normalized).
"""

import functools
import importlib
import math
import sys
from pathlib import Path

import pytest

import keras_crosscbam as kc

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
PEERS = importlib.import_module("peers").PEERS

BLOCKS = {
    "stdc1-seg": (2, 2, 2),
    "stdc2-seg": (4, 5, 3),
    "pp-liteseg-t": (2, 2, 2),
    "pp-liteseg-b": (4, 5, 3),
}
# Widths after the fusions with stages 5, 4 and 3, and of the head.
LITE_FILTERS = {"pp-liteseg-t": ((128, 64, 32), 32), "pp-liteseg-b": ((128, 96, 64), 64)}


@pytest.fixture(scope="module")
def built():
    """All peers for 512x1024 pixels and 19 classes."""
    return {name: build((512, 1024, 3)) for name, build in PEERS.items()}


def at(scale):
    """Positions of a map at 1/scale of 512x1024 pixels."""
    return 512 * 1024 // scale**2


def encoder_convolutions(name):
    yield 3, 3, 32, at(2), True
    yield 3, 32, 64, at(4), True
    inputs, scale = 64, 4
    for filters, blocks in zip((256, 512, 1024), BLOCKS[name], strict=True):
        for block in range(blocks):
            yield 1, inputs, filters // 2, at(scale), True
            if block == 0:
                scale *= 2
                yield 3, 1, filters // 2, at(scale), True  # depthwise
            yield 3, filters // 2, filters // 4, at(scale), True
            yield 3, filters // 4, filters // 8, at(scale), True
            yield 3, filters // 8, filters // 8, at(scale), True
            inputs = filters


def stdc_decoder_convolutions():
    yield 1, 1024, 128, 1, True
    for inputs, scale in ((1024, 32), (512, 16)):
        yield 3, inputs, 128, at(scale), True
        yield 1, 128, 128, 1, True
        yield 3, 128, 128, at(scale // 2), True
    yield 1, 256 + 128, 256, at(8), True
    yield 1, 256, 64, 1, False
    yield 1, 64, 256, 1, False
    yield 3, 256, 256, at(8), True
    yield 1, 256, 19, at(8), False


def lite_decoder_convolutions(widths, head):
    for bins in (1, 2, 4):
        yield 1, 1024, 128, bins**2, True
    yield 3, 128, 128, at(32), True
    high = 128
    for low, width, scale in zip((1024, 512, 256), widths, (32, 16, 8), strict=True):
        yield 3, low, high, at(scale), True
        yield 3, 4, 2, at(scale), True
        yield 3, 2, 1, at(scale), True
        yield 3, high, width, at(scale), True
        high = width
    yield 3, high, head, at(8), True
    yield 1, head, 19, at(8), False


def ddrnet_convolutions():
    yield from stem(32)
    for low, scale in ((128, 16), (256, 32)):
        yield from residual_stage(low // 2, low, at(scale))
        yield from residual_stage(64, 64, at(8))
        yield 1, low, 64, at(scale), True
        yield 3, 64, 128, at(16), True  # down, half of the way for the second fusion
    yield 3, 128, 256, at(32), True
    for inputs, before, after in ((64, 8, 8), (256, 32, 64)):
        yield 1, inputs, inputs, at(before), True
        yield 3, inputs, inputs, at(after), True
        yield 1, inputs, 2 * inputs, at(after), True
        yield 1, inputs, 2 * inputs, at(after), True  # shortcut
    yield from deep_pooling(512, 128, 128, 64)
    yield from residual_head(128, 64)


def pidnet_convolutions():
    yield from stem(32)
    yield from residual_stage(64, 128, at(16), blocks=3)
    yield from residual_stage(128, 256, at(32), blocks=3)
    yield from bottleneck(256, 256, at(32), at(64))
    yield from bottleneck(512, 256, at(64), at(64))
    yield from scales(512, 96, 64)
    yield from normalized_first(3, 4 * 96, 4 * 96, at(64), groups=4)
    yield from normalized_first(1, 5 * 96, 128, at(64))
    yield from normalized_first(1, 512, 128, at(64))

    for context, scale in ((128, 16), (256, 32)):
        yield from residual_stage(64, 64, at(8))
        yield 1, context, 64, at(scale), True
        yield 1, 64, 32, at(scale), True
        yield 1, 64, 32, at(8), True
    yield from bottleneck(64, 64, at(8), at(8))

    yield 3, 64, 32, at(8), True
    yield 3, 32, 32, at(8), True
    yield 1, 64, 32, at(8), True
    yield 3, 128, 32, at(16), True
    yield from bottleneck(32, 32, at(8), at(8))
    yield 3, 256, 64, at(32), True
    yield from bottleneck(64, 64, at(8), at(8))

    for _ in range(2):
        yield 1, 128, 128, at(8), True
    yield from residual_head(128, 128)


def sctnet_convolutions(width, pooling):
    yield from stem(width)
    yield from residual_stage(2 * width, 4 * width, at(16))
    yield from conv_former(4 * width, at(16))
    yield 3, 4 * width, 8 * width, at(32), True
    for _ in range(2):
        yield from conv_former(8 * width, at(32))
    yield from deep_pooling(8 * width, pooling, 2 * width, 32)
    yield 3, 4 * width, 4 * width, at(8), True
    yield 1, 4 * width, 19, at(8), False
    yield 1, 1, 19, 0, False


def conv_former(filters, positions):
    yield 0, 0, filters, positions, True
    for _ in range(2):  # directions: 7 positions of a kernel of 64 keys, which is used twice
        yield 1, 7 * filters, 64, 2 * positions, False
    yield 0, 0, filters, positions, True
    for _ in range(2):
        yield 3, filters, filters, positions, False
        yield 1, 1, filters, 0, False


def stem(width):
    yield 3, 3, width, at(2), True
    yield 3, width, width, at(4), True
    yield from residual_stage(width, width, at(4))
    yield from residual_stage(width, 2 * width, at(8))


def residual_stage(inputs, filters, positions, blocks=2):
    yield 3, inputs, filters, positions, True
    for _ in range(2 * blocks - 1):
        yield 3, filters, filters, positions, True
    if inputs != filters:
        yield 1, inputs, filters, positions, True


def bottleneck(inputs, filters, before, after):
    yield 1, inputs, filters, before, True
    yield 3, filters, filters, after, True
    yield 1, filters, 2 * filters, after, True
    if inputs != 2 * filters:
        yield 1, inputs, 2 * filters, after, True


def scales(inputs, filters, scale):
    for positions in (at(scale), at(2 * scale), at(4 * scale), at(8 * scale), 1):
        yield from normalized_first(1, inputs, filters, positions)


def deep_pooling(inputs, filters, outputs, scale):
    yield from scales(inputs, filters, scale)
    for _ in range(4):
        yield from normalized_first(3, filters, filters, at(scale))
    yield from normalized_first(1, 5 * filters, outputs, at(scale))
    yield from normalized_first(1, inputs, outputs, at(scale))


def residual_head(inputs, filters):
    yield from normalized_first(3, inputs, filters, at(8))
    yield from normalized_first(1, filters, 19, at(8))
    yield 1, 1, 19, 0, False  # the classifier's biases, which multiply nothing


def normalized_first(kernel, inputs, outputs, positions, groups=1):
    yield 0, 0, inputs, positions, True  # no convolution, only what is normalized
    yield kernel, inputs // groups, outputs, positions, False


RESIDUAL = {
    "ddrnet-23-slim": ddrnet_convolutions,
    "pidnet-s": pidnet_convolutions,
    "sctnet-s": functools.partial(sctnet_convolutions, 32, 64),
    "sctnet-b": functools.partial(sctnet_convolutions, 64, 128),
}


def convolutions(name):
    if name in RESIDUAL:
        return [*RESIDUAL[name]()]
    if name.startswith("stdc"):
        return [*encoder_convolutions(name), *stdc_decoder_convolutions()]
    return [*encoder_convolutions(name), *lite_decoder_convolutions(*LITE_FILTERS[name])]


def macs(convolutions):
    return sum(k * k * i * o * positions for k, i, o, positions, _ in convolutions)


@pytest.mark.parametrize(
    ("name", "parameters", "conv_macs"),
    [
        ("stdc1-seg", 8_275_104, 16_863_133_696),
        ("stdc2-seg", 12_305_568, 23_456_579_584),
        ("pp-liteseg-t", 8_027_808, 11_421_139_968),
        ("pp-liteseg-b", 12_234_240, 19_227_526_144),
        ("ddrnet-23-slim", 5_695_923, 9_070_379_008),
        ("pidnet-s", 7_625_651, 11_798_593_536),
        ("sctnet-s", 4_652_147, 8_006_549_504),
        ("sctnet-b", 17_432_787, 29_880_811_520),
    ],
)
def test_counts(built, name, parameters, conv_macs):
    by_hand = convolutions(name)
    assert sum(k * k * i * o + 2 * o * norm for k, i, o, _, norm in by_hand) == parameters
    assert macs(by_hand) == conv_macs
    model = built[name]
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters
    assert kc.flops.count_macs(model, convention="conv") == conv_macs


@pytest.mark.parametrize(("name", "millions"), [("stdc1-seg", 8.29), ("stdc2-seg", 12.33)])
def test_published_parameters_of_stdc_seg(built, name, millions):
    """Paddle's parameters contain the statistics; its decoder has biases in all convolutions."""
    values = sum(math.prod(weight.shape) for weight in built[name].weights)
    values += sum(outputs for _, _, outputs, _, _ in stdc_decoder_convolutions())
    assert round(values / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "billions"), [("stdc1-seg", 24.83), ("stdc2-seg", 38.05)])
def test_published_flops_of_stdc_seg(name, billions):
    """They are met with the encoder counted twice: in PaddleSeg it registers each block twice.

    Added are one for every bias of the decoder and two for every value normalized.
    """
    encoder, decoder = [*encoder_convolutions(name)], [*stdc_decoder_convolutions()]
    flops = macs(2 * encoder + decoder)
    flops += sum(2 * o * positions * norm for _, _, o, positions, norm in 2 * encoder + decoder)
    flops += sum(o * positions for _, _, o, positions, _ in decoder)
    assert round(flops / 1e9, 2) == billions


def test_published_figures_of_ddrnet(built):
    """5.7 M parameters without statistics and the auxiliary head, 36.3 GFLOPs, which are MACs.

    The published stem has a bias for each of its 2 x 32 filters besides. The FLOPs are those of
    1024x2048, four times the pixels.
    """
    model = built["ddrnet-23-slim"]
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights) + 2 * 32
    assert round(parameters / 1e6, 1) == 5.7
    assert round(4 * kc.flops.count_macs(model, convention="conv") / 1e9, 1) == 36.3


def test_published_figures_of_pidnet(built):
    """7.6 M parameters, and 47.6 GFLOPs at 1024x2048, four times the pixels.

    The MACs of the convolutions are 47.19 G, 0.9 % fewer. With two for each value normalized and
    one for the ReLU after it, as some counters have it, they are 47.6 G.
    """
    model = built["pidnet-s"]
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights) + 2 * 32
    assert round(parameters / 1e6, 1) == 7.6
    flops = 4 * kc.flops.count_macs(model, convention="conv")
    assert round(flops / 1e9, 2) == 47.19
    by_hand = convolutions("pidnet-s")
    flops += 4 * sum(3 * o * positions * norm for _, _, o, positions, norm in by_hand)
    assert round(flops / 1e9, 1) == 47.6


@pytest.mark.parametrize(("name", "millions"), [("sctnet-s", 4.6), ("sctnet-b", 17.4)])
def test_published_parameters_of_sctnet(built, name, millions):
    """SCTNet-S has 4.65 M, of which the paper gives one digit without rounding."""
    parameters = sum(math.prod(weight.shape) for weight in built[name].trainable_weights)
    assert math.floor(parameters / 1e5) / 10 == millions
