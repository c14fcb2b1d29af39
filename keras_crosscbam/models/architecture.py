"""Finds the architecture of a network from its weights."""

import re

from keras_crosscbam.models.stdc import STEM_FILTERS


def architecture_of(weights):
    """Finds the arguments of `CrossCBAM` that build the network of some weights.

        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.models.weights import find_weights
        >>> from keras_crosscbam.models.architecture import architecture_of
        >>> weights = find_weights("camvid", "cross_cbam_stdc2")  # doctest: +SKIP
        >>> model = kc.CrossCBAM(**architecture_of(weights))  # doctest: +SKIP
        >>> weights.load_into(model)  # doctest: +SKIP

    The arguments follow from the names of the layers and the shapes of their arrays. Switches that
    do not change the weights are stored separately in the file, but files of version 0.1 do not
    contain `gate_activation`. `dropout_rate` cannot be found.

    Args:
        weights: `Weights` of a segmentation network.

    Returns:
        A dict with `backbone`, `alpha`, `num_classes`, `use_se_aspp` and `fusion`, and, if they
        can be found, `aspp_filters`, `aspp_dilation_rates`, `gate_activation` and
        `count_include_pad`.

    Raises:
        ValueError: for weights of another kind of network, such as an encoder.
    """
    paths = weights.variables

    def has(*prefixes):
        return any(path.startswith(prefixes) for path in paths)

    if "stem_conv1/conv" not in paths or "classifier" not in paths:
        raise ValueError(
            f"{weights.source} does not contain a segmentation network: it has no layers "
            "`stem_conv1` and `classifier`"
        )
    alpha = paths["stem_conv1/conv"][0].shape[-1] / STEM_FILTERS[0]
    fused = has("lateral", "neck3", "neck4")
    found = {
        "backbone": "stdc2" if has("stage3_block3_") else "stdc1",
        "alpha": alpha,
        "num_classes": weights.num_classes,
        "use_se_aspp": has("se_aspp/"),
        "fusion": "ccbam" if has("ccbam") else "sum" if fused else None,
    }
    for context in ("se_aspp/project/conv", "neck/conv"):
        if context in paths:
            found["aspp_filters"] = round(paths[context][0].shape[-1] / alpha)
    rates = [re.fullmatch(r"se_aspp/branch_rate(\d+)/conv", path) for path in paths]
    if any(rates):
        found["aspp_dilation_rates"] = tuple(sorted(int(rate[1]) for rate in rates if rate))
    return found | {name: v for name, v in weights.switches.items() if name != "square_top"}
