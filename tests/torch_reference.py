"""Cross-CBAM a second time, in plain `torch.nn.functional`: what the Keras layers must compute.

It follows the paper and not the package: NCHW, padding inside the convolutions, poolings and
resizing by PyTorch's own functions, and float64, so that what differs is Keras' rounding alone.
"""

import keras
import numpy as np
import torch
from torch.nn import functional as nnf

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def randomize(source, rng):
    """Draws all weights and statistics of a Keras layer or model, outputs staying around 1."""

    def draw(variable):
        if variable.name == "kernel":
            height, width, channels, _ = variable.shape
            fan_in = height * width * (1 if "down_conv" in variable.path else channels)
            return rng.normal(0, np.sqrt(2 / fan_in), variable.shape)
        if variable.name in ("gamma", "moving_variance"):
            return rng.uniform(0.5, 1.5, variable.shape)
        return rng.normal(0, 0.3, variable.shape)

    for variable in source.weights:
        variable.assign(draw(variable).astype("float32"))


class Reference:
    """The blocks of the network over the weights of a Keras layer or model.

    Args:
        source: a built Keras layer or model. Weights are looked up by their Keras paths.
    """

    def __init__(self, source):
        self.weights = {
            variable.path: torch.from_numpy(keras.ops.convert_to_numpy(variable)).double()
            for variable in source.weights
        }

    def run(self, block, *images, **kwargs):
        """Calls one of the methods below on NHWC arrays and returns an NHWC array."""
        tensors = [torch.from_numpy(x).double().permute(0, 3, 1, 2) for x in images]
        outputs = getattr(self, block)(*tensors, **kwargs)
        if isinstance(outputs, dict):
            return {name: x.permute(0, 2, 3, 1).numpy() for name, x in outputs.items()}
        return outputs.permute(0, 2, 3, 1).numpy()

    def conv(self, x, path, size=1, stride=1, dilation=1):
        kernel = self.weights[f"{path}/kernel"].permute(3, 2, 0, 1)
        assert kernel.shape[2:] == (size, size), path
        bias = self.weights.get(f"{path}/bias")
        return nnf.conv2d(x, kernel, bias, stride, dilation * (size // 2), dilation)

    def batch_norm(self, x, path):
        names = ("moving_mean", "moving_variance", "gamma", "beta")
        return nnf.batch_norm(x, *(self.weights[f"{path}/{name}"] for name in names), eps=1e-5)

    def conv_bn_relu(self, x, path, size, stride=1, dilation=1):
        x = self.conv(x, f"{path}/conv", size, stride, dilation)
        return nnf.relu(self.batch_norm(x, f"{path}/bn"))

    def stdc_block(self, x, path, stride):
        first = y = self.conv_bn_relu(x, f"{path}_conv1", size=1)
        if stride == 2:
            kernel = self.weights[f"{path}_down_conv/kernel"].permute(2, 3, 0, 1)
            y = nnf.conv2d(first, kernel, None, stride=2, padding=1, groups=len(kernel))
            y = self.batch_norm(y, f"{path}_down_bn")
            first = nnf.avg_pool2d(first, 3, stride=2, padding=1, count_include_pad=True)
        second = self.conv_bn_relu(y, f"{path}_conv2", size=3)
        third = self.conv_bn_relu(second, f"{path}_conv3", size=3)
        fourth = self.conv_bn_relu(third, f"{path}_conv4", size=3)
        return torch.cat([first, second, third, fourth], dim=1)

    def gate(self, x, path, relu):
        """The convolution before a sigmoid, with or without a ReLU behind it."""
        x = self.conv(x, path)
        return nnf.relu(x) if relu else x

    def channel_attention(self, x, path, relu=False):
        def mlp(pooled):
            hidden = nnf.relu(self.conv(pooled, f"{path}/reduce"))
            return self.gate(hidden, f"{path}/expand", relu)

        return torch.sigmoid(mlp(nnf.adaptive_max_pool2d(x, 1)) + mlp(x.mean((2, 3), True)))

    def spatial_attention(self, x, path, relu=False):
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return torch.sigmoid(self.gate(pooled, f"{path}/conv", relu))

    def ccbam(self, low, high, path, relu=False):
        f_low = high * self.channel_attention(low, f"{path}/low_channel_attention", relu)
        f_high = low * self.channel_attention(high, f"{path}/high_channel_attention", relu)
        s_low = self.spatial_attention(f_low, f"{path}/low_spatial_attention", relu)
        s_high = self.spatial_attention(f_high, f"{path}/high_spatial_attention", relu)
        return f_high * s_low + f_low * s_high

    def se_aspp(self, x, path, rates, relu=False):
        branches = [
            self.conv_bn_relu(x, f"{path}/branch_rate{r}", size=1 if r == 1 else 3, dilation=r)
            for r in rates
        ]
        hidden = nnf.relu(self.conv(x.mean((2, 3), True), f"{path}/reduce"))
        excited = x * torch.sigmoid(self.gate(hidden, f"{path}/expand", relu))
        both = torch.cat([excited, sum(branches)], dim=1)
        return self.conv_bn_relu(both, f"{path}/project", size=3)

    def resize_like(self, x, reference):
        return nnf.interpolate(x, reference.shape[2:], mode="bilinear", align_corners=False)

    def cross_cbam(self, pixels, blocks=(2, 2, 2), rates=(1, 3)):
        """The whole network, from pixels of 0..255 to both heads' logits; `aspp_filters` 256."""
        mean, std = (torch.tensor(values).view(1, 3, 1, 1).double() for values in (MEAN, STD))
        x = (pixels / 255 - mean) / std
        x = self.conv_bn_relu(x, "stem_conv1", size=3, stride=2)
        x = self.conv_bn_relu(x, "stem_conv2", size=3, stride=2)
        stages = {}
        for stage, count in zip((3, 4, 5), blocks, strict=True):
            for block in range(1, count + 1):
                x = self.stdc_block(x, f"stage{stage}_block{block}", stride=2 if block == 1 else 1)
            stages[stage] = x
        x = self.se_aspp(x, "se_aspp", rates)
        low = self.conv_bn_relu(stages[4], "lateral4", size=1)
        x = self.ccbam(low, self.resize_like(x, low), "ccbam4")
        x = self.ccbam(stages[3], self.resize_like(x, stages[3]), "ccbam3")
        x = self.conv(self.conv_bn_relu(x, "neck3", size=1), "classifier")
        aux = self.conv(self.conv_bn_relu(stages[4], "aux_fcn", size=3), "aux_classifier")
        return {"main": self.resize_like(x, pixels), "aux": self.resize_like(aux, pixels)}
