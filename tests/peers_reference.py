"""The peers in PyTorch expressions, written apart from Keras."""

import torch
import torch.nn.functional as nnf
from torch_reference import MEAN, STD, Reference


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
