"""The peers are the published networks: counts, published figures, and PyTorch's answers.

Structure: MichaelFan01/STDC-Seg, models/model_stages.py; PaddleSeg, paddleseg/models/pp_liteseg.py
and configs/pp_liteseg. Published parameters and FLOPs of STDC-Seg are those of PaddleSeg's model
zoo (docs/model_zoo_overview.md of release 2.3, 1024x512). Neither the paper nor PaddleSeg publishes
parameters or FLOPs of PP-LiteSeg; its counts are ours alone. DDRNet: ydhongHIT/DDRNet,
segmentation/DDRNet_23_slim.py, and the paper's table of Cityscapes.
"""

import doctest
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as nnf
from torch_reference import MEAN, STD, Reference

import keras_crosscbam as kc

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
PEERS = importlib.import_module("peers").PEERS
export_peers = importlib.import_module("export_peers")

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


@pytest.mark.parametrize("module", ["peers", "peers.stdc_seg", "peers.pp_liteseg", "peers.ddrnet"])
def test_examples(module):
    results = doctest.testmod(importlib.import_module(module))
    assert (results.failed, results.attempted > 0) == (0, True)


# --- counts, by hand: convolutions as (kernel, inputs, outputs, positions, normalized)


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
    yield 3, 3, 32, at(2), True
    yield 3, 32, 32, at(4), True
    yield from residual_stage(32, 32, at(4))
    yield from residual_stage(32, 64, at(8))
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
    for positions in (at(64), at(64), at(128), at(256), at(512), 1):
        yield from normalized_first(1, 512, 128, positions)
    for _ in range(4):
        yield from normalized_first(3, 128, 128, at(64))
    yield from normalized_first(1, 5 * 128, 128, at(64))
    yield from normalized_first(3, 128, 64, at(8))
    yield from normalized_first(1, 64, 19, at(8))
    yield 1, 1, 19, 0, False  # the classifier's biases, which multiply nothing


def residual_stage(inputs, filters, positions):
    yield 3, inputs, filters, positions, True
    for _ in range(3):
        yield 3, filters, filters, positions, True
    if inputs != filters:
        yield 1, inputs, filters, positions, True


def normalized_first(kernel, inputs, outputs, positions):
    yield 0, 0, inputs, positions, True  # no convolution, only what is normalized
    yield kernel, inputs, outputs, positions, False


def convolutions(name):
    if name == "ddrnet-23-slim":
        return [*ddrnet_convolutions()]
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


# --- what they compute


class PeerReference(Reference):
    """The peers in PyTorch, over the weights of a Keras model."""

    def normalized(self, pixels):
        mean, std = (torch.tensor(values).view(1, 3, 1, 1).double() for values in (MEAN, STD))
        return (pixels / 255 - mean) / std

    def encoder(self, pixels, blocks):
        x = self.conv_bn_relu(self.normalized(pixels), "stem_conv1", size=3, stride=2)
        x = self.conv_bn_relu(x, "stem_conv2", size=3, stride=2)
        stages = []
        for stage, count in zip((3, 4, 5), blocks, strict=True):
            for block in range(1, count + 1):
                x = self.stdc_block(x, f"stage{stage}_block{block}", stride=2 if block == 1 else 1)
            stages.append(x)
        return stages

    def head(self, x, pixels):
        x = self.conv(self.conv_bn_relu(x, "head", size=3), "classifier")
        return self.resize_like(x, pixels)

    def conv_bn(self, x, path, size, stride=1):
        return self.batch_norm(self.conv(x, f"{path}_conv", size, stride), f"{path}_bn")

    def stdc_seg(self, pixels, blocks):
        low, middle, high = self.encoder(pixels, blocks)
        context = self.conv_bn_relu(nnf.adaptive_avg_pool2d(high, 1), "context_mean", size=1)
        context = nnf.interpolate(context, high.shape[2:], mode="nearest")
        for stage, x, larger in ((5, high, middle), (4, middle, low)):
            x = self.conv_bn_relu(x, f"refine{stage}", size=3)
            gate = self.conv_bn(nnf.adaptive_avg_pool2d(x, 1), f"refine{stage}_gate", size=1)
            x = nnf.interpolate(x * gate.sigmoid() + context, larger.shape[2:], mode="nearest")
            context = self.conv_bn_relu(x, f"context{stage}_conv", size=3)
        x = self.conv_bn_relu(torch.cat([low, context], dim=1), "fusion", size=1)
        hidden = nnf.relu(self.conv(nnf.adaptive_avg_pool2d(x, 1), "fusion_reduce"))
        return self.head(x * self.conv(hidden, "fusion_expand").sigmoid() + x, pixels)

    def pp_liteseg(self, pixels, blocks):
        stages = self.encoder(pixels, blocks)
        x = 0
        for bins in (1, 2, 4):
            pooled = nnf.adaptive_avg_pool2d(stages[2], bins)
            pooled = self.conv_bn_relu(pooled, f"pool{bins}_conv", size=1)
            x = x + self.resize_like(pooled, stages[2])
        x = self.conv_bn_relu(x, "pool_conv", size=3)
        for stage in (5, 4, 3):
            low = self.conv_bn_relu(stages[stage - 3], f"fuse{stage}_lateral", size=3)
            high = self.resize_like(x, low)
            gate = [f(1, keepdim=True) for y in (low, high) for f in (y.mean, y.amax)]
            gate = self.conv_bn_relu(torch.cat(gate, dim=1), f"fuse{stage}_reduce", size=3)
            gate = self.conv_bn(gate, f"fuse{stage}_gate", size=3).sigmoid()
            x = self.conv_bn_relu(low * gate + high * (1 - gate), f"fuse{stage}", size=3)
        return self.head(x, pixels)

    def ddrnet(self, pixels):
        x = nnf.relu(self.conv_bn(self.normalized(pixels), "stem1", size=3, stride=2))
        x = nnf.relu(self.conv_bn(x, "stem2", size=3, stride=2))
        x = self.residual_stage(x, "stage1")
        x = nnf.relu(self.residual_stage(nnf.relu(x), "stage2", stride=2))

        low, high = self.residual_stage(x, "low3", stride=2), self.residual_stage(x, "high3")
        up = self.conv_bn(nnf.relu(low), "up3", size=1)
        down = self.conv_bn(nnf.relu(high), "down3", size=3, stride=2)
        low, high = nnf.relu(low + down), nnf.relu(high + self.resize_like(up, high))

        low, high = self.residual_stage(low, "low4", stride=2), self.residual_stage(high, "high4")
        up = self.conv_bn(nnf.relu(low), "up4", size=1)
        down = nnf.relu(self.conv_bn(nnf.relu(high), "down4_first", size=3, stride=2))
        down = self.conv_bn(down, "down4", size=3, stride=2)
        low, high = nnf.relu(low + down), nnf.relu(high + self.resize_like(up, high))

        high = self.bottleneck(high, "high5", stride=1)
        low = self.dappm(self.bottleneck(low, "low5", stride=2))
        x = self.bn_relu_conv(high + self.resize_like(low, high), "head", size=3)
        x = self.conv(nnf.relu(self.batch_norm(x, "classifier_bn")), "classifier")
        return self.resize_like(x, pixels)

    def residual_stage(self, x, path, stride=1):
        y = nnf.relu(self.conv_bn(x, f"{path}_block1_first", size=3, stride=stride))
        y = self.conv_bn(y, f"{path}_block1_second", size=3)
        if stride == 2:
            x = self.conv_bn(x, f"{path}_block1_shortcut", size=1, stride=2)
        x = nnf.relu(x + y)
        y = nnf.relu(self.conv_bn(x, f"{path}_block2_first", size=3))
        return x + self.conv_bn(y, f"{path}_block2_second", size=3)

    def bottleneck(self, x, path, stride):
        y = nnf.relu(self.conv_bn(x, f"{path}_first", size=1))
        y = nnf.relu(self.conv_bn(y, f"{path}_second", size=3, stride=stride))
        y = self.conv_bn(y, f"{path}_third", size=1)
        return y + self.conv_bn(x, f"{path}_shortcut", size=1, stride=stride)

    def dappm(self, x):
        pooled = [nnf.avg_pool2d(x, 2 * step + 1, step, padding=step) for step in (2, 4, 8)]
        scales = [self.bn_relu_conv(x, "scale0", size=1)]
        for number, y in enumerate([*pooled, nnf.adaptive_avg_pool2d(x, 1)], start=1):
            y = self.resize_like(self.bn_relu_conv(y, f"scale{number}", size=1), x)
            scales.append(self.bn_relu_conv(y + scales[-1], f"process{number}", size=3))
        together = self.bn_relu_conv(torch.cat(scales, dim=1), "compress", size=1)
        return together + self.bn_relu_conv(x, "past_scales", size=1)

    def bn_relu_conv(self, x, path, size):
        return self.conv(nnf.relu(self.batch_norm(x, f"{path}_bn")), f"{path}_conv", size)


# 90x120 becomes 12x15, 6x8 and 3x4: the nearest value is then not always every other one.
@pytest.mark.parametrize(
    ("name", "network", "size"),
    [
        ("stdc1-seg", "stdc_seg", (90, 120)),
        ("stdc2-seg", "stdc_seg", (64, 96)),
        ("pp-liteseg-t", "pp_liteseg", (128, 256)),
        ("pp-liteseg-b", "pp_liteseg", (128, 128)),
    ],
)
def test_forward_is_that_of_pytorch(rng, name, network, size):
    model = PEERS[name]((*size, 3), num_classes=5)
    images = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
    expected = PeerReference(model).run(network, images, blocks=BLOCKS[name])
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-3)


def test_forward_of_ddrnet_is_that_of_pytorch(rng):
    # The smallest map is 3x9 and has to become 17x66; from it 2x5, 1x3 and 1x2 are pooled.
    model = PEERS["ddrnet-23-slim"]((136, 528, 3), num_classes=5)
    images = rng.uniform(0, 255, (1, 136, 528, 3)).astype("float32")
    expected = PeerReference(model).run("ddrnet", images)
    assert 1 < expected.std() < 1000  # residual sums grow, but not beyond what float32 compares
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-3)


def test_pyramid_pooling_of_sizes_that_do_not_divide():
    # 720x960 becomes 23x30, which has no 4x4 equal parts.
    assert PEERS["pp-liteseg-t"]((720, 960, 3), num_classes=11).output_shape == (None, 720, 960, 11)


def test_weights_are_the_same_each_time():
    one, other = (PEERS["pp-liteseg-t"]((128, 128, 3)).get_weights() for _ in range(2))
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first, second)


def test_size_must_be_fixed():
    with pytest.raises(ValueError, match=r"built for one size.*Received: \(None, 128, 3\)"):
        PEERS["stdc1-seg"]((None, 128, 3))


# --- what is exported


@pytest.mark.parametrize(
    ("name", "nearest", "linear"),
    [("stdc1-seg", 2, 1), ("pp-liteseg-t", 0, 6), ("ddrnet-23-slim", 0, 7)],
)
def test_exported_graphs_are_clean(tmp_path, capsys, name, nearest, linear):
    options = ["--size", "128x256", "--networks", name, "--classes", "5", "--out", str(tmp_path)]
    export_peers.main(export_peers.parse(options))
    assert "argmax equal on" in capsys.readouterr().out

    graph = onnx.load(tmp_path / f"{name}.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert not {"Transpose", "BatchNormalization"} & set(operators)
    resizes = [
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in graph.node
        if node.op_type == "Resize"
    ]
    modes = [(r["mode"], r["coordinate_transformation_mode"]) for r in resizes]
    assert modes.count((b"nearest", b"asymmetric")) == nearest
    assert modes.count((b"linear", b"half_pixel")) == linear
    assert len(modes) == nearest + linear
    shapes = [
        [d.dim_value for d in tensor.type.tensor_type.shape.dim]
        for tensor in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 3, 128, 256], [1, 5, 128, 256]]


def test_cross_cbam_takes_the_same_way():
    model = export_peers.NETWORKS["cross-cbam-m"]((64, 96, 3), num_classes=5)
    assert model.output_shape == (None, 64, 96, 5)
    assert len(np.unique(model.get_layer("ccbam4").get_weights()[1])) > 1  # no bias is 0


def test_unknown_networks_are_named(capsys):
    with pytest.raises(SystemExit):
        export_peers.parse(["--out", "onnx", "--networks", "cross-cbam-m,bisenet"])
    assert "no ['bisenet'], only ['cross-cbam-m', " in capsys.readouterr().err
