"""Networks in PyTorch with weights as after a training, and files of them as others write them.

The names are written down here a second time, from the public sources of each implementation, so
that a slip in the package's table shows.
"""

import importlib
import pickle
import re
import struct
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as nnf
from torch.nn.utils.fusion import fuse_conv_bn_eval

import keras_crosscbam as kc
from keras_crosscbam.images import STREET, read_image

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
torch_cross_cbam = importlib.import_module("torch_cross_cbam")

BLOCKS = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}


def network(backbone="stdc1", change=None):
    """The PyTorch network with the weights trained on CamVid, and a random auxiliary head.

    In random networks of this depth rounding alone makes more difference than what is tested.
    """
    torch.manual_seed(3)
    ours = kc.CrossCBAM(backbone, (None, None, 3), weights="camvid")
    trained = torch_cross_cbam.CrossCBAM(backbone, num_classes=11)
    torch_cross_cbam.load_keras(trained, ours)
    module = torch_cross_cbam.CrossCBAM(backbone, num_classes=11, aux_head=True)
    module.load_state_dict(trained.state_dict(), strict=False)
    if change:
        change(module)
    return module.eval()


def pictures(count, size, seed):
    """Parts of a photograph of a street, float32 of shape `(count, *size, 3)`."""
    street, rng = np.asarray(read_image(STREET)), np.random.default_rng(seed)
    found = []
    for _ in range(count):
        top, left = (
            rng.integers(side - part) for side, part in zip(street.shape, size, strict=False)
        )
        found.append(street[top : top + size[0], left : left + size[1]])
    return np.stack(found).astype("float32")


def stir(module):
    """Scales and offsets of the size that trainings of these networks end with."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.4, 0.8)
                part.bias.normal_(0, 0.2)
            elif isinstance(part, nn.Conv2d) and part.bias is not None:
                part.bias.normal_(0, 0.2)


def calibrate(module, *inputs):
    """Statistics become those of the inputs, so that feature maps keep their size."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        module.train()(*inputs)
    module.eval()


class Classifier(nn.Module):
    """The published classifier on stage 5: squares before the global average."""

    def __init__(self, num_classes=7):
        super().__init__()
        torch.manual_seed(4)
        self.conv_last = torch_cross_cbam.ConvBNReLU(1024, 1024, 1)
        self.fc = nn.Linear(1024, 1024, bias=False)
        self.linear = nn.Linear(1024, num_classes, bias=False)
        stir(self)
        calibrate(self, torch.rand(2, 1024, 4, 5))

    def forward(self, stage5):
        x = self.conv_last(stage5) ** 2
        return self.linear(nnf.relu(self.fc(x.mean((2, 3)))))


def stages(module, pixels):
    """The outputs of every stage, channels last: taps, SE-ASPP, both CCBAMs, both heads' logits."""
    taps = {}
    handles = [
        getattr(module, name).register_forward_hook(
            lambda _, __, output, name=name: taps.__setitem__(name, output)
        )
        for name in ("stage3", "stage4", "stage5", "se_aspp", "ccbam4", "ccbam3")
    ]
    with torch.no_grad():
        outputs = module(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
    for handle in handles:
        handle.remove()
    return {k: v.numpy().transpose(0, 2, 3, 1) for k, v in {**taps, **outputs}.items()}


# Names


def published(name, backbone):
    """STDC-Seg: https://github.com/MichaelFan01/STDC-Seg, nets/stdcnet.py."""
    if match := re.match(r"stem_conv(\d)\.(.*)", name):
        return f"features.{int(match[1]) - 1}.{match[2]}"
    if match := re.match(r"stage(\d)\.(\d)\.(.*)", name):
        stage, block, rest = int(match[1]), int(match[2]), match[3]
        number = 2 + sum(BLOCKS[backbone][: stage - 3]) + block
        rest = rest.replace("down_conv", "avd_layer.0").replace("down_bn", "avd_layer.1")
        return f"features.{number}.{re.sub(r'^conv(.)', _conv_list, rest)}"
    return None


def _conv_list(match):
    return f"conv_list.{int(match[1]) - 1}"


def mmsegmentation(name, backbone):
    """MMSegmentation: mmseg/models/backbones/stdc.py."""
    if match := re.match(r"stem_conv(\d)\.(.*)", name):
        return f"stages.{int(match[1]) - 1}.{match[2]}"
    if match := re.match(r"stage(\d)\.(\d)\.(.*)", name):
        rest = match[3].replace("down_conv", "avg_pool.conv").replace("down_bn", "avg_pool.bn")
        rest = re.sub(r"^conv(.)", lambda m: f"layers.{int(m[1]) - 1}", rest)
        return f"stages.{int(match[1]) - 1}.{match[2]}.{rest}"
    return None


def super_gradients(name, backbone):
    """super-gradients: training/models/segmentation_models/stdc.py, with `ConvBNReLU.seq`."""
    if match := re.match(r"stem_conv(\d)\.(.*)", name):
        return f"stages.block_s{2 * int(match[1])}.0.seq.{match[2]}"
    if match := re.match(r"stage(\d)\.(\d)\.(.*)", name):
        stage, block, rest = match.groups()
        first = block == "0"
        if rest.startswith("down_"):
            rest = rest.replace("down_", "conv_list.1.0.seq.")
        elif first and rest.startswith("conv2."):
            rest = rest.replace("conv2.", "conv_list.1.1.seq.", 1)
        else:
            rest = re.sub(r"^conv(.)\.", lambda m: f"conv_list.{int(m[1]) - 1}.seq.", rest)
        return f"stages.block_s{2 ** int(stage)}.{block}.{rest}"
    return None


def paddle(name, backbone):
    """PaddleSeg: paddleseg/models/backbones/stdcnet.py."""
    name = published(name, backbone)
    if name is None or name.endswith("num_batches_tracked"):
        return None
    return name.replace("running_mean", "_mean").replace("running_var", "_variance")


def authors(name, backbone):
    """The authors' `CrosseCbamHead`, with an FCN head as the auxiliary one."""
    encoder = mmsegmentation(name, backbone)
    if encoder:
        return f"backbone.{encoder}"
    for ours, theirs in (
        (r"^se_aspp\.branch_rate1\.", "decode_head.lite_aspp.aspp_modules.0."),
        (r"^se_aspp\.branch_rate3\.", "decode_head.lite_aspp.aspp_modules.1."),
        (r"^se_aspp\.project\.", "decode_head.lite_aspp.bottleneck."),
        (r"^se_aspp\.reduce\.", "decode_head.lite_aspp.se_layer.conv1.conv."),
        (r"^se_aspp\.expand\.", "decode_head.lite_aspp.se_layer.conv2.conv."),
        (r"^ccbam4\.", "decode_head.last_crosse_cabm."),
        (r"^ccbam3\.", "decode_head.penultimate_crosse_cbam."),
        (r"(channel_attention)\.reduce\.", r"\1.mlp1.conv."),
        (r"(channel_attention)\.expand\.", r"\1.mlp2.conv."),
        (r"(spatial_attention)\.conv\.", r"\1.mlp.conv."),
        (r"^lateral4\.", "decode_head.penultimate_conv."),
        (r"^neck3\.", "decode_head.bottom_three_conv."),
        (r"^classifier\.", "decode_head.conv_seg."),
        (r"^aux_fcn\.", "auxiliary_head.convs.0."),
        (r"^aux_classifier\.", "auxiliary_head.conv_seg."),
    ):
        name = re.sub(ours, theirs, name)
    return name


def renamed(module, names, backbone="stdc1", prefix=""):
    """The state dict of a network under other names."""
    pairs = ((names(name, backbone), tensor) for name, tensor in module.state_dict().items())
    return {f"{prefix}{name}": tensor for name, tensor in pairs if name}


def as_arrays(state):
    return {name: tensor.numpy() for name, tensor in state.items()}


# The authors' network


def with_authors_differences(module):
    """Biases for the normalizations of SE-ASPP, a ReLU before each gate, another epsilon."""
    aspp = module.se_aspp
    for unit in (aspp.branch_rate1, aspp.branch_rate3, aspp.project):
        unit.conv = fuse_conv_bn_eval(unit.conv.eval(), unit.bn.eval())
        unit.bn = nn.Identity()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eps = 1e-3
        for name in ("expand", "conv"):
            is_gate = isinstance(part, torch_cross_cbam.SpatialAttention) or name == "expand"
            if is_gate and isinstance(getattr(part, name, None), nn.Conv2d):
                getattr(part, name).register_forward_hook(lambda _, __, output: nnf.relu(output))


# Files


def write_tar(path, state):
    """A state dict as the first versions of PyTorch stored it: a tar archive of three files."""
    keys = {name: 1000 + i for i, name in enumerate(state)}
    storages, tensors = BytesIO(), BytesIO()
    for file in (storages, tensors):
        pickle.dump(len(state), file, protocol=2)
    for name, tensor in state.items():
        key = keys[name]
        storages.write(_pickled(key, "cpu", ("torch", "FloatStorage")))
        storages.write(struct.pack("<q", tensor.numel()))
        storages.write(tensor.contiguous().numpy().tobytes())
        tensors.write(_pickled(key, key, ("torch", "FloatTensor")))
        rank = tensor.dim()
        sizes = (*tensor.shape, *tensor.contiguous().stride())
        tensors.write(struct.pack(f"<ii{2 * rank}qq", rank, 0, *sizes, 0))
    pickle.dump([], storages, protocol=2)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return next((keys[n] for n, tensor in state.items() if tensor is value), None)

    content = BytesIO()
    Pickler(content, protocol=2).dump({"state_dict": state})
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, file in (("storages", storages), ("tensors", tensors), ("pickle", content)):
            info = tarfile.TarInfo(name)
            info.size = len(file.getvalue())
            archive.addfile(info, BytesIO(file.getvalue()))
    return path


def _pickled(*values):
    """A pickle of a tuple of numbers, strings and pairs (module, name), which stand for globals."""
    content = b"\x80\x02("
    for value in values:
        if isinstance(value, int):
            content += b"J" + struct.pack("<i", value)
        elif isinstance(value, str):
            content += b"X" + struct.pack("<I", len(value)) + value.encode()
        else:
            content += f"c{value[0]}\n{value[1]}\n".encode()
    return content + b"t."


def write_paddle(path, state, protocol=4, as_pairs=False):
    """Arrays as `paddle.save` stores a layer's state dict; in pairs, as it stores other tensors."""
    arrays = {
        name: (f"param_{i}", array) if as_pairs else array
        for i, (name, array) in enumerate(as_arrays(state).items())
    }
    if not as_pairs:
        arrays["StructuredToParameterName@@"] = {name: f"param_{name}" for name in state}
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    return path


def difference(ours, theirs):
    return float(np.abs(np.asarray(ours, np.float64) - theirs).max())
