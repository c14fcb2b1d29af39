"""Cross-CBAM in plain PyTorch, for comparison in the training benchmark.

>>> from torch_cross_cbam import CrossCBAM
>>> network = CrossCBAM("stdc1", num_classes=19)
>>> sum(p.numel() for p in network.parameters())
11616895

It uses modules of `torch.nn`, the NCHW layout and no custom kernels. It computes the same results
as `keras_crosscbam.CrossCBAM`, whose weights `load_keras` copies.
"""

import re

import torch
from torch import nn
from torch.nn import functional as nnf

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
STAGE_BLOCKS = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}
HEAD_FILTERS = 128
# Keras' names of the parameters and statistics of a BatchNorm2d and of a Conv2d.
NORM_NAMES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
CONV_NAMES = {"weight": "kernel", "bias": "bias"}


class ConvBNReLU(nn.Sequential):
    """Convolution without bias and with symmetric padding, batch normalization, ReLU."""

    def __init__(self, inputs, filters, size, stride=1, dilation=1):
        super().__init__()
        padding = dilation * (size // 2)
        self.conv = nn.Conv2d(inputs, filters, size, stride, padding, dilation, bias=False)
        self.bn = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)


class STDCBlock(nn.Module):
    """Concatenates four convolutions of decreasing width; halves the size at stride 2."""

    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.conv1 = ConvBNReLU(inputs, filters // 2, 1)
        if stride == 2:
            half = filters // 2
            self.down_conv = nn.Conv2d(half, half, 3, 2, padding=1, groups=half, bias=False)
            self.down_bn = nn.BatchNorm2d(half)
            self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.stride = stride
        self.conv2 = ConvBNReLU(filters // 2, filters // 4, 3)
        self.conv3 = ConvBNReLU(filters // 4, filters // 8, 3)
        self.conv4 = ConvBNReLU(filters // 8, filters // 8, 3)

    def forward(self, x):
        first = y = self.conv1(x)
        if self.stride == 2:
            y = self.down_bn(self.down_conv(first))
            first = self.pool(first)
        second = self.conv2(y)
        third = self.conv3(second)
        return torch.cat([first, second, third, self.conv4(third)], dim=1)


class ChannelAttention(nn.Module):
    """Computes one gate per channel, from the maximum and the mean over all positions."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def mlp(self, pooled):
        return self.expand(nnf.relu(self.reduce(pooled)))

    def forward(self, x):
        strongest, mean = nnf.adaptive_max_pool2d(x, 1), nnf.adaptive_avg_pool2d(x, 1)
        return torch.sigmoid(self.mlp(strongest) + self.mlp(mean))


class SpatialAttention(nn.Module):
    """Computes one gate per position, from the maximum and the mean over all channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 1)

    def forward(self, x):
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv(pooled))


class CCBAM(nn.Module):
    """Fuses two feature maps, each weighted by attention computed from the other one."""

    def __init__(self, channels):
        super().__init__()
        self.low_channel_attention = ChannelAttention(channels)
        self.high_channel_attention = ChannelAttention(channels)
        self.low_spatial_attention = SpatialAttention()
        self.high_spatial_attention = SpatialAttention()

    def forward(self, low, high):
        from_low = high * self.low_channel_attention(low)
        from_high = low * self.high_channel_attention(high)
        low_gate = self.low_spatial_attention(from_low)
        high_gate = self.high_spatial_attention(from_high)
        return from_high * low_gate + from_low * high_gate


class SEASPP(nn.Module):
    """Concatenates the sum of a 1x1 and a dilated convolution with the gated input."""

    def __init__(self, inputs, filters):
        super().__init__()
        self.branch_rate1 = ConvBNReLU(inputs, filters, 1)
        self.branch_rate3 = ConvBNReLU(inputs, filters, 3, dilation=3)
        self.reduce = nn.Conv2d(inputs, filters, 1)
        self.expand = nn.Conv2d(filters, inputs, 1)
        self.project = ConvBNReLU(inputs + filters, filters, 3)

    def forward(self, x):
        atrous = self.branch_rate1(x) + self.branch_rate3(x)
        squeezed = nnf.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.expand(nnf.relu(self.reduce(squeezed))))
        return self.project(torch.cat([x * gate, atrous], dim=1))


class CrossCBAM(nn.Module):
    """Cross-CBAM with width 256 and dilation rates (1, 3).

    Args:
        backbone: `"stdc1"` (Cross-CBAM-M) or `"stdc2"` (Cross-CBAM-L).
        num_classes: number of channels of the logits.
        aux_head: whether to add the auxiliary head on stage 4.
        dropout: share of channels that are dropped before each classifier in training.

    Call arguments:
        pixels: float images of 0..255, shape `(batch, 3, height, width)`.

    Returns:
        A dict of logits `(batch, num_classes, height, width)`: `"main"`, and `"aux"` with the
        auxiliary head.
    """

    def __init__(self, backbone="stdc1", num_classes=19, aux_head=False, dropout=0.1):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)
        self.stem_conv1 = ConvBNReLU(3, 32, 3, stride=2)
        self.stem_conv2 = ConvBNReLU(32, 64, 3, stride=2)
        blocks = STAGE_BLOCKS[backbone]
        self.stage3 = self._stage(64, 256, blocks[0])
        self.stage4 = self._stage(256, 512, blocks[1])
        self.stage5 = self._stage(512, 1024, blocks[2])
        self.se_aspp = SEASPP(1024, 256)
        self.lateral4 = ConvBNReLU(512, 256, 1)
        self.ccbam4 = CCBAM(256)
        self.ccbam3 = CCBAM(256)
        self.neck3 = ConvBNReLU(256, HEAD_FILTERS, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(HEAD_FILTERS, num_classes, 1)
        self.aux_head = aux_head
        if aux_head:
            self.aux_fcn = ConvBNReLU(512, HEAD_FILTERS, 3)
            self.aux_classifier = nn.Conv2d(HEAD_FILTERS, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @staticmethod
    def _stage(inputs, filters, blocks):
        rest = [STDCBlock(filters, filters, stride=1) for _ in range(blocks - 1)]
        return nn.Sequential(STDCBlock(inputs, filters, stride=2), *rest)

    def forward(self, pixels):
        x = self.stem_conv2(self.stem_conv1((pixels - self.mean) / self.std))
        stage3 = self.stage3(x)
        stage4 = self.stage4(stage3)
        x = self.se_aspp(self.stage5(stage4))
        x = self.ccbam4(self.lateral4(stage4), resize_like(x, stage4))
        x = self.ccbam3(stage3, resize_like(x, stage3))
        x = self.classifier(self.dropout(self.neck3(x)))
        outputs = {"main": resize_like(x, pixels)}
        if self.aux_head:
            x = self.aux_classifier(self.dropout(self.aux_fcn(stage4)))
            outputs["aux"] = resize_like(x, pixels)
        return outputs


def resize_like(x, reference):
    """Resizes bilinearly, at half-pixel centers, to the height and width of a reference."""
    return nnf.interpolate(x, reference.shape[2:], mode="bilinear", align_corners=False)


def load_keras(module, keras_model):
    """Copies all weights and statistics of a Keras model of the same architecture.

        >>> import keras_crosscbam
        >>> from torch_cross_cbam import CrossCBAM, load_keras
        >>> keras_model = keras_crosscbam.CrossCBAM(num_classes=4, input_shape=(None, None, 3))
        >>> load_keras(CrossCBAM(num_classes=4), keras_model)

    Args:
        module: a `CrossCBAM` of this file; changed in place.
        keras_model: a `keras_crosscbam.CrossCBAM` with the same backbone, classes and heads.

    Raises:
        ValueError: if the weights of the two networks have different names or shapes.
    """
    # Imported here, because training in plain PyTorch does not need Keras.
    import keras

    arrays = {v.path: keras.ops.convert_to_numpy(v) for v in keras_model.weights}
    state = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    paths = {name: _keras_path(name) for name in state}
    if set(paths.values()) != set(arrays):
        differing = sorted(set(paths.values()) ^ set(arrays))
        raise ValueError(
            "The two networks must have the same layers: the same backbone, and both or none with "
            f"the auxiliary head. Received: {len(differing)} weights in only one of them, such as "
            f"{differing[0]}"
        )
    converted = {name: _from_keras(arrays[path], name) for name, path in paths.items()}
    for name, array in converted.items():
        if array.shape != state[name].shape:
            raise ValueError(
                f"The two networks must have weights of the same shapes. Received: {name} of shape "
                f"{tuple(state[name].shape)}, in Keras {tuple(array.shape)}"
            )
    for name, array in converted.items():
        state[name].copy_(array)


def _from_keras(array, name):
    """Transposes Keras' kernels (height, width, in, out), or (height, width, channels, 1)."""
    tensor = torch.from_numpy(array)
    if tensor.ndim != 4:
        return tensor
    return tensor.permute((2, 3, 0, 1) if "down_conv" in name else (3, 2, 0, 1))


def _keras_path(name):
    """Returns Keras' path: `stage3_block1_conv1/bn/gamma` for `stage3.0.conv1.bn.weight`."""
    name = re.sub(r"^(stage\d)\.(\d+)\.", lambda part: f"{part[1]}_block{int(part[2]) + 1}_", name)
    layer, kind = name.rsplit(".", 1)
    names = NORM_NAMES if layer.endswith("bn") else CONV_NAMES
    return f"{layer.replace('.', '/')}/{names[kind]}"
