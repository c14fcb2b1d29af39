"""Writes weights of Cross-CBAM as a state dict for PyTorch."""

import re

import numpy as np

from keras_crosscbam.models.architecture import architecture_of
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.weight_conversion.files import whole_file

_NORM = ("weight", "bias", "running_mean", "running_var")
# The network of benchmarks/torch_cross_cbam.py.
_TWIN = {
    "alpha": 1.0,
    "use_se_aspp": True,
    "fusion": "ccbam",
    "aspp_filters": 256,
    "aspp_dilation_rates": (1, 3),
}


def state_dict(weights):
    """Converts `Weights` to the names and layout of `benchmarks/torch_cross_cbam.py`.

    Args:
        weights: `Weights` of a Cross-CBAM of width 256 and dilation rates (1, 3).

    Returns:
        A dict from name to contiguous float32 array.

    Raises:
        ValueError: for weights of an architecture that this PyTorch network does not support.
    """
    architecture = architecture_of(weights)
    differing = sorted(
        f"{name}={value!r}"
        for name, value in architecture.items()
        if name not in ("backbone", "num_classes") and _TWIN.get(name) != value
    )
    if differing:
        raise ValueError(
            f"{weights.source} has an architecture that benchmarks/torch_cross_cbam.py does not "
            f"support: {', '.join(differing)}. No file was written."
        )
    arrays = {}
    for path, variables in weights.variables.items():
        module = _module(path)
        kinds = _NORM if len(variables) == 4 else ("weight", "bias")[: len(variables)]
        for kind, array in zip(kinds, variables, strict=True):
            arrays[f"{module}.{kind}"] = np.ascontiguousarray(_in_torch(array, path), np.float32)
    return arrays


def write_torch(source, out):
    """Writes a weights file of Cross-CBAM as a state dict.

    Args:
        source: the `.weights.h5` file.
        out: a `pathlib.Path` that ends in `.safetensors`, `.pt` or `.pth`.

    Returns:
        The names of the arrays.
    """
    writers = {".safetensors": _write_safetensors, ".pt": _write_pickle, ".pth": _write_pickle}
    if out.suffix not in writers:
        raise ValueError(f"`out` must end in one of {', '.join(writers)}. Received: {out}")
    arrays = state_dict(find_weights(source, ""))
    with whole_file(out) as unfinished:
        writers[out.suffix](arrays, unfinished)
    return tuple(arrays)


def _module(path):
    """Converts a layer path to a module name: `stage3_block1_conv1/bn` to `stage3.0.conv1.bn`."""
    path = re.sub(r"^(stage\d)_block(\d+)_", lambda part: f"{part[1]}.{int(part[2]) - 1}.", path)
    return path.replace("/", ".")


def _in_torch(array, path):
    if array.ndim != 4:
        return array
    return array.transpose((2, 3, 0, 1) if path.endswith("_down_conv") else (3, 2, 0, 1))


def _write_safetensors(arrays, path):
    try:
        from safetensors.numpy import save_file
    except ModuleNotFoundError as error:
        raise ImportError(
            ".safetensors files need safetensors: pip install 'keras-crosscbam[convert]'"
        ) from error
    save_file(arrays, path)


def _write_pickle(arrays, path):
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path.suffix} files need PyTorch, which is not installed. Install it, or write "
            ".safetensors instead."
        ) from error
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
