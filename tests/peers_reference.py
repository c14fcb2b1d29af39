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
        x = self.residual_stage(self.stem(pixels), "stage1")
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
        return self.residual_head(high + self.resize_like(low, high), pixels)

    def pidnet(self, pixels):
        x = nnf.relu(self.residual_stage(self.stem(pixels), "stage1"))
        x = nnf.relu(self.residual_stage(x, "stage2", stride=2))

        i = nnf.relu(self.residual_stage(x, "context3", stride=2, blocks=3))
        p = self.pag(self.residual_stage(x, "detail3"), i, number=3)
        d = self.basic_block(x, "boundary3", stride=1)
        d = d + self.resize_like(self.conv_bn(i, "difference3", size=3), d)

        i = nnf.relu(self.residual_stage(i, "context4", stride=2, blocks=3))
        p = self.pag(self.residual_stage(nnf.relu(p), "detail4"), i, number=4)
        d = self.bottleneck(nnf.relu(d), "boundary4", stride=1)
        d = d + self.resize_like(self.conv_bn(i, "difference4", size=3), d)

        p = self.bottleneck(nnf.relu(p), "detail5", stride=1)
        d = self.bottleneck(nnf.relu(d), "boundary5", stride=1)
        i = self.bottleneck(i, "context5_block1", stride=2)
        i = self.resize_like(self.pappm(self.bottleneck(i, "context5_block2", stride=1)), p)

        edge = torch.sigmoid(d)
        of_details = self.conv_bn((1 - edge) * i + p, "fuse_detail", size=1)
        of_context = self.conv_bn(i + edge * p, "fuse_context", size=1)
        return self.residual_head(of_details + of_context, pixels)

    def pag(self, p, i, number):
        i = self.conv_bn(i, f"compress{number}", size=1)
        query = self.resize_like(self.conv_bn(i, f"attend{number}_context", size=1), p)
        key = self.conv_bn(p, f"attend{number}_detail", size=1)
        share = torch.sigmoid((key * query).sum(1, keepdim=True))
        return torch.lerp(p, self.resize_like(i, p), share)

    def sctnet(self, pixels):
        x = self.residual_stage(self.stem(pixels), "stage1")
        early = self.residual_stage(nnf.relu(x), "stage2", stride=2)
        x = self.residual_stage(nnf.relu(early), "stage3", stride=2)
        x = self.conv_former(nnf.relu(x), "former3")
        x = nnf.relu(self.conv_bn(x, "halve4", size=3, stride=2))
        x = self.conv_former(nnf.relu(self.conv_former(x, "former4")), "former5")
        x = torch.cat([nnf.relu(early), self.resize_like(self.dappm(x), early)], dim=1)
        return self.head(x, pixels)

    def conv_former(self, x, path):
        y = self.batch_norm(x, f"{path}_attention_bn")
        x = x + sum(self.attention(y, f"{path}_{way}") for way in ("vertical", "horizontal"))
        y = self.conv(self.batch_norm(x, f"{path}_bn"), f"{path}_conv1", size=3)
        return x + self.conv(nnf.gelu(y), f"{path}_conv2", size=3)

    def attention(self, x, path):
        keys = self.weights[f"{path}/keys/kernel"].permute(3, 2, 0, 1)
        padding = [side // 2 for side in keys.shape[2:]]
        scores = nnf.conv2d(x, keys, padding=padding)
        shares = scores.flatten(2).softmax(-1).unflatten(1, (8, 8))
        shares = shares / (shares.sum(2, keepdim=True) + 1e-6)
        return nnf.conv2d(shares.reshape(scores.shape), keys.transpose(0, 1), padding=padding)

    def stem(self, pixels):
        x = nnf.relu(self.conv_bn(self.normalized(pixels), "stem1", size=3, stride=2))
        return nnf.relu(self.conv_bn(x, "stem2", size=3, stride=2))

    def residual_head(self, x, pixels):
        x = self.bn_relu_conv(x, "head", size=3)
        x = self.conv(nnf.relu(self.batch_norm(x, "classifier_bn")), "classifier")
        return self.resize_like(x, pixels)

    def residual_stage(self, x, path, stride=1, blocks=2):
        x = self.basic_block(x, f"{path}_block1", stride)
        for block in range(1, blocks):
            x = self.basic_block(nnf.relu(x), f"{path}_block{block + 1}", stride=1)
        return x

    def basic_block(self, x, path, stride):
        y = nnf.relu(self.conv_bn(x, f"{path}_first", size=3, stride=stride))
        return self.conv_bn(y, f"{path}_second", size=3) + self.shortcut(x, path, stride)

    def bottleneck(self, x, path, stride):
        y = nnf.relu(self.conv_bn(x, f"{path}_first", size=1))
        y = nnf.relu(self.conv_bn(y, f"{path}_second", size=3, stride=stride))
        return self.conv_bn(y, f"{path}_third", size=1) + self.shortcut(x, path, stride)

    def shortcut(self, x, path, stride):
        if f"{path}_shortcut_conv/kernel" not in self.weights:
            return x
        return self.conv_bn(x, f"{path}_shortcut", size=1, stride=stride)

    def scales(self, x):
        pooled = [nnf.avg_pool2d(x, 2 * step + 1, step, padding=step) for step in (2, 4, 8)]
        yield self.bn_relu_conv(x, "scale0", size=1)
        for number, y in enumerate([*pooled, nnf.adaptive_avg_pool2d(x, 1)], start=1):
            yield self.resize_like(self.bn_relu_conv(y, f"scale{number}", size=1), x)

    def dappm(self, x):
        first, *scales = self.scales(x)
        processed = [first]
        for number, y in enumerate(scales, start=1):
            y = self.bn_relu_conv(y + processed[-1], f"process{number}", size=3)
            processed.append(y)
        together = self.bn_relu_conv(torch.cat(processed, dim=1), "compress", size=1)
        return together + self.bn_relu_conv(x, "past_scales", size=1)

    def pappm(self, x):
        first, *scales = self.scales(x)
        y = [self.batch_norm(y + first, f"process{i}_bn") for i, y in enumerate(scales, start=1)]
        kernels = [self.weights[f"process{i}_conv/kernel"] for i in (1, 2, 3, 4)]
        kernel = torch.cat([kernel.permute(3, 2, 0, 1) for kernel in kernels])
        y = nnf.conv2d(nnf.relu(torch.cat(y, dim=1)), kernel, padding=1, groups=4)
        together = self.bn_relu_conv(torch.cat([first, y], dim=1), "compress", size=1)
        return together + self.bn_relu_conv(x, "past_scales", size=1)

    def bn_relu_conv(self, x, path, size):
        return self.conv(nnf.relu(self.batch_norm(x, f"{path}_bn")), f"{path}_conv", size)
