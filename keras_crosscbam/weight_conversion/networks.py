"""Detects the network in a file of another implementation, and builds the same Keras network."""

from dataclasses import dataclass, field

import keras

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.stdc import STDC, STEM_FILTERS
from keras_crosscbam.models.surgery import is_backbone
from keras_crosscbam.models.weights import switches_of, variables_of
from keras_crosscbam.variants import VARIANTS
from keras_crosscbam.weight_conversion.decoders import (
    authors_decoder,
    has_authors_decoder,
    twin_decoder,
)
from keras_crosscbam.weight_conversion.mmseg_config import classes_of, pixel_notes
from keras_crosscbam.weight_conversion.naming import MMSEG, NAMINGS, TWIN, Naming


@dataclass(frozen=True)
class Encoder:
    """The STDC encoder in a file.

    Attributes:
        naming: the names of its modules.
        prefix: prefix of these names, such as `"module.cp.backbone."`.
        backbone: `"stdc1"` or `"stdc2"`.
        alpha: width multiplier.
        channels: number of channels of the image.
    """

    naming: Naming
    prefix: str
    backbone: str
    alpha: float
    channels: int

    @property
    def root(self):
        """Prefix of all names of the network."""
        return self.prefix.removesuffix("backbone.").removesuffix("cp.")


@dataclass(frozen=True)
class Network:
    """The Keras network for the arrays of a file.

    Attributes:
        model: the Keras model.
        names: dict from layer path to the name of the module in the file.
        missing: layers without arrays in the file.
        classes: the `ClassTable` in the file, or None.
        notes: sentences for the report.
    """

    model: keras.Model
    names: dict[str, str] = field(repr=False)
    missing: tuple[str, ...] = ()
    classes: ClassTable | None = None
    notes: tuple[str, ...] = ()

    @property
    def shapes(self):
        """Dict from layer path to the shapes of its arrays, in Keras' order."""
        layers = variables_of(self.model)
        return {path: [tuple(v.shape) for v in variables] for path, variables in layers.items()}

    @property
    def switches(self):
        """Arguments of the builder, as in `Weights`."""
        return switches_of(self.model)


def recognize(arrays):
    """Finds the STDC encoder in the arrays of a file.

    >>> import numpy as np
    >>> from keras_crosscbam.weight_conversion.networks import recognize
    >>> encoder = recognize({"module.features.0.conv.weight": np.zeros((32, 3, 3, 3))})
    >>> encoder.naming.source, encoder.prefix, encoder.backbone
    ('STDC-Seg', 'module.', 'stdc1')

    Args:
        arrays: dict from name to array.

    Returns:
        An `Encoder`.

    Raises:
        ValueError: if there is no encoder, more than one, or another kind of STDC.
    """
    found = [
        (naming, name.removesuffix(naming.first))
        for naming in NAMINGS
        for name, array in arrays.items()
        if f".{name}".endswith(f".{naming.first}") and array.ndim == 4 and _is_of(naming, arrays)
    ]
    if len(found) != 1:
        expected = ", ".join(f"{naming.first} ({naming.source})" for naming in NAMINGS)
        received = ", ".join(list(arrays)[:3])
        several = ", ".join(prefix + naming.first for naming, prefix in found)
        raise ValueError(
            f"it contains several encoders: {several}. Save only one of them"
            if found
            else f"it contains no STDC: expected one of the names {expected}, with any prefix. "
            f"Received: {received}, ..."
        )
    ((naming, prefix),) = found
    blocks = prefix + naming.block.split(".")[0]
    foreign = [
        name
        for name in arrays
        if name.startswith(f"{blocks}.") and any(part in name for part in naming.foreign_parts)
    ]
    if foreign:
        raise ValueError(
            f"{foreign[0]} belongs to another kind of STDC, which adds the parts of a block or "
            "downsamples with convolutions; this package concatenates them and downsamples with "
            "average pooling"
        )
    stem = arrays[prefix + naming.first]
    last = naming.encoder("stdc2")["stage5_block3_conv1/conv"]
    backbone = "stdc2" if f"{prefix}{last}.weight" in arrays else "stdc1"
    return Encoder(naming, prefix, backbone, stem.shape[0] / STEM_FILTERS[0], stem.shape[1])


def _is_of(naming, arrays):
    """Returns whether the names of normalization statistics match; they identify Paddle."""
    return naming.is_paddle == any(name.endswith("._mean") for name in arrays)


def network_for(state, encoder, target, options):
    """Builds the Keras network that a file is converted to.

    Args:
        state: the `StateDict`.
        encoder: the `Encoder` that `recognize` found in it.
        target: `"stdc1"`, `"stdc2"` or the name of a variant.
        options: `count_include_pad`, `gate_activation` and `aspp_dilation_rates` of
            `convert_weights`.

    Returns:
        A `Network`.

    Raises:
        ValueError: if the file contains another network than the target.
    """
    variant = VARIANTS.get(target)
    backbone, alpha = (variant.backbone, variant.alpha) if variant else (target, 1.0)
    if encoder.backbone != backbone:
        raise ValueError(
            f"its encoder is {encoder.backbone.upper()}, but {target} needs {backbone.upper()}"
        )
    if encoder.alpha != alpha and variant:
        raise ValueError(f"its encoder has the width alpha={encoder.alpha:g}, {target} {alpha:g}")
    count_include_pad = options["count_include_pad"]
    if count_include_pad is None:
        count_include_pad = encoder.naming.count_include_pad
    common = {
        "backbone": backbone,
        "input_shape": (None, None, encoder.channels),
        "alpha": encoder.alpha,
        "count_include_pad": count_include_pad,
        "classifier_activation": None,
    }
    names = _prefixed(encoder.naming.encoder(backbone), encoder.prefix)
    notes = pixel_notes(state.meta)
    if encoder.naming.is_paddle:
        notes = (
            "PaddleSeg's configurations normalize pixels with mean 0.5 and deviation 0.5, this "
            "package with ImageNet's; the normalization in training is not in the file",
        )
    if variant is None:
        return _classifier(state.arrays, encoder, names, common, notes)
    if has_authors_decoder([n.removeprefix(encoder.root) for n in state.arrays]):
        return _authors_network(state, encoder, names, common, options, notes)
    if encoder.naming is TWIN and f"{encoder.prefix}classifier.weight" in state.arrays:
        return _twin_network(state, encoder, names, common)
    raise ValueError(
        f"it contains an encoder, but no decoder of Cross-CBAM. Convert it with --to {backbone}, "
        "and pass the result as `backbone_weights`"
    )


def _classifier(arrays, encoder, names, common, notes):
    top = _prefixed(encoder.naming.classifier(), _top_prefix(encoder))
    kernels = [arrays.get(f"{name}.weight") for name in top.values()]
    has_top = bool(top) and all(kernel is not None for kernel in kernels)
    if not has_top:
        model = STDC(**common, include_top=False)
        return Network(model, names, ("top_conv", "top_dense", "predictions"), notes=notes)
    classes = arrays[f"{top['predictions']}.weight"].shape[0]
    model = STDC(**common, num_classes=classes, square_top=encoder.naming.square_top)
    return Network(model, names | top, notes=notes)


def _top_prefix(encoder):
    """Returns the prefix of the classifier, which is outside the encoder in super-gradients."""
    if encoder.naming.source == "super-gradients":
        return encoder.prefix.removesuffix("backbone.")
    return encoder.prefix


def _twin_network(state, encoder, names, common):
    arrays, prefix = state.arrays, encoder.prefix
    has_aux = f"{prefix}aux_classifier.weight" in arrays
    model = CrossCBAM(
        **common,
        num_classes=arrays[f"{prefix}classifier.weight"].shape[0],
        aux_head=has_aux,
    )
    decoder = [path for path in variables_of(model) if not is_backbone(path)]
    names |= _prefixed(twin_decoder(decoder), prefix)
    return Network(model, names, _missing_aux(has_aux))


def _authors_network(state, encoder, names, common, options, notes):
    if encoder.naming is not MMSEG:
        raise ValueError("its decoder has names of MMSegmentation, but its encoder has not")
    root, rates = encoder.root, options["aspp_dilation_rates"]
    arrays = {name.removeprefix(root): array for name, array in state.arrays.items()}
    decoder, filters = authors_decoder(arrays, rates)
    has_aux = "aux_classifier" in decoder
    head = arrays.get("decode_head.conv_seg.weight")
    if head is None:
        raise ValueError("decode_head.conv_seg.weight is missing")
    model = CrossCBAM(
        **common,
        num_classes=head.shape[0],
        aspp_filters=filters,
        aspp_dilation_rates=rates,
        gate_activation=options["gate_activation"],
        aux_head=has_aux,
    )
    gate = ", ".join(decoder[f"se_aspp/{part}"] for part in ("reduce", "expand"))
    notes += (
        f"the convolutions of the gate in SE-ASPP were found by their shapes: {gate}",
        f"SE-ASPP's rates {rates} and gate_activation={options['gate_activation']!r} are not in "
        "the file; the defaults are those of the authors' configuration",
    )
    names |= _prefixed(decoder, root)
    classes = classes_of(state.meta, head.shape[0])
    return Network(model, names, _missing_aux(has_aux), classes, notes)


def _missing_aux(has_aux):
    return () if has_aux else ("aux_fcn", "aux_classifier")


def _prefixed(names, prefix):
    return {ours: prefix + theirs for ours, theirs in names.items()}
