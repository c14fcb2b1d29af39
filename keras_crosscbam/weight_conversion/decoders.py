"""Names of the decoder layers of Cross-CBAM in other implementations."""

import re

# Names in the authors' `CrosseCbamHead` for MMSegmentation, in its spelling.
_LAST, _PENULTIMATE = "decode_head.last_crosse_cabm", "decode_head.penultimate_crosse_cbam"
_SE_ASPP = "decode_head.lite_aspp"
_BRANCHES, _PROJECT = f"{_SE_ASPP}.aspp_modules", f"{_SE_ASPP}.bottleneck"


def twin_decoder(paths):
    """Returns a dict from layer path to module name in `benchmarks/torch_cross_cbam.py`."""
    return {path: path.replace("/", ".") for path in paths}


def has_authors_decoder(names):
    """Returns whether a file contains the authors' decoder."""
    return any(name.startswith(f"{_LAST}.") for name in names)


def authors_decoder(arrays, aspp_dilation_rates):
    """Returns the module names of the decoder in the authors' MMSegmentation configuration.

    Their SE-ASPP head is not public. Branches and projection are expected to have the names of
    MMSegmentation's ASPP head, and the two convolutions of the gate are found by their shapes.

    Args:
        arrays: dict from name to array, of all arrays in the file.
        aspp_dilation_rates: dilation rates of the branches in order, which are not in the file.

    Returns:
        A dict from layer path to module name, and the width of SE-ASPP.

    Raises:
        ValueError: for a decoder of another structure.
    """
    project = arrays.get(f"{_PROJECT}.conv.weight")
    last = arrays.get(f"{_LAST}.low_channel_attention.mlp2.conv.weight")
    if project is None or last is None or project.ndim != 4:
        raise ValueError(
            f"its decoder has no {_PROJECT}.conv.weight, or no {_LAST} of the known structure, so "
            "it is not the authors' CrosseCbamHead"
        )
    filters = project.shape[0]
    branches = {
        f"se_aspp/branch_rate{rate}": f"{_BRANCHES}.{index}"
        for index, rate in enumerate(aspp_dilation_rates)
    }
    _check_branches(arrays, branches)
    # At a width of 512, stage 4 is the input of CCBAM without a convolution, and the output of
    # CCBAM is reduced.
    narrowing = "neck4" if last.shape[0] == 512 else "lateral4"
    units = branches | {
        "se_aspp/project": _PROJECT,
        narrowing: "decode_head.penultimate_conv",
        "neck3": "decode_head.bottom_three_conv",
    }
    names = {"classifier": "decode_head.conv_seg", **_gate(arrays, project, branches)}
    for ours, theirs in (("ccbam4", _LAST), ("ccbam3", _PENULTIMATE)):
        for side in ("low", "high"):
            channel, spatial = (f"{side}_{kind}_attention" for kind in ("channel", "spatial"))
            names[f"{ours}/{channel}/reduce"] = f"{theirs}.{channel}.mlp1.conv"
            names[f"{ours}/{channel}/expand"] = f"{theirs}.{channel}.mlp2.conv"
            names[f"{ours}/{spatial}/conv"] = f"{theirs}.{spatial}.mlp.conv"
    if any(name.startswith("auxiliary_head.") for name in arrays):
        units["aux_fcn"] = "auxiliary_head.convs.0"
        names["aux_classifier"] = "auxiliary_head.conv_seg"
    for ours, theirs in units.items():
        names |= {f"{ours}/conv": f"{theirs}.conv", f"{ours}/bn": f"{theirs}.bn"}
    return names, filters


def _check_branches(arrays, branches):
    pattern = re.compile(rf"{re.escape(_BRANCHES)}\.(\d+)\.conv\.weight")
    found = {
        match[1]: arrays[match[0]].shape[2:] for match in map(pattern.fullmatch, arrays) if match
    }
    wanted = {
        name.rsplit(".", 1)[1]: (1, 1) if ours.endswith("_rate1") else (3, 3)
        for ours, name in branches.items()
    }
    if found != wanted:
        raise ValueError(
            f"its {_BRANCHES} have kernels of {sorted(found.items())}, which do not match "
            f"aspp_dilation_rates={tuple(int(ours.rsplit('rate')[1]) for ours in branches)}. Pass "
            "the `dilations` of the configuration"
        )


def _gate(arrays, project, branches):
    """Returns the names of the gate's two 1x1 convolutions, found by shape in SE-ASPP."""
    known = (*(f"{name}." for name in branches.values()), f"{_PROJECT}.", f"{_SE_ASPP}.conv_seg.")
    filters, channels = project.shape[0], project.shape[1] - project.shape[0]
    left = {
        name: array.shape
        for name, array in arrays.items()
        if name.startswith(f"{_SE_ASPP}.")
        and name.endswith(".weight")
        and not name.startswith(known)
    }
    names = {}
    for ours, shape in (
        ("reduce", (filters, channels, 1, 1)),
        ("expand", (channels, filters, 1, 1)),
    ):
        fitting = [name for name, own in left.items() if own == shape]
        if len(fitting) != 1:
            raise ValueError(
                f"expected one array in {_SE_ASPP} with the shape {shape} of the gate's "
                f"convolution, found {len(fitting)}. Arrays besides the branches: {left or 'none'}"
            )
        names[f"se_aspp/{ours}"] = fitting[0].removesuffix(".weight")
    return names
