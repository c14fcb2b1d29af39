"""Which network a file of another implementation holds, and the same one of ours."""

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
    """The STDC in a file.

    Attributes:
        naming: the names of its modules.
        prefix: what stands before them, such as `"module.cp.backbone."`.
        backbone: `"stdc1"` or `"stdc2"`.
        alpha: its width.
        channels: of the image.
    """

    naming: Naming
    prefix: str
    backbone: str
    alpha: float
    channels: int

    @property
    def root(self):
        """What stands before the names of the whole network."""
        return self.prefix.removesuffix("backbone.").removesuffix("cp.")


@dataclass(frozen=True)
class Network:
    """A network of ours that a file's arrays fit into.

    Attributes:
        model: the Keras model.
        names: our layer paths to the modules' names in the file.
        missing: our layers that the file has nothing for.
        classes: the `ClassTable` that the file tells, or None.
        notes: sentences for the report.
    """

    model: keras.Model
    names: dict[str, str] = field(repr=False)
    missing: tuple[str, ...] = ()
    classes: ClassTable | None = None
    notes: tuple[str, ...] = ()

    @property
    def shapes(self):
        """Our layer paths to the shapes of their arrays, in Keras' order."""
        layers = variables_of(self.model)
        return {path: [tuple(v.shape) for v in variables] for path, variables in layers.items()}

    @property
    def switches(self):
        """As in `Weights`."""
        return switches_of(self.model)


def recognize(arrays):
    """Finds the STDC among the arrays of a file.

    >>> import numpy as np
    >>> from keras_crosscbam.weight_conversion.networks import recognize
    >>> encoder = recognize({"module.features.0.conv.weight": np.zeros((32, 3, 3, 3))})
    >>> encoder.naming.source, encoder.prefix, encoder.backbone
    ('STDC-Seg', 'module.', 'stdc1')

    Args:
        arrays: name to array.

    Returns:
        An `Encoder`.

    Raises:
        ValueError: if there is none, more than one, or another kind of STDC.
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
            f"it holds several encoders: {several}. Save one of them alone"
            if found
            else f"it holds no STDC: expected one of the names {expected}, with anything before "
            f"it. Received: {received}, ..."
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
            f"{foreign[0]} is part of an STDC of another kind, which adds the blocks' parts or "
            "shrinks them by convolutions; ours concatenates them and shrinks by average pooling"
        )
    stem = arrays[prefix + naming.first]
    last = naming.encoder("stdc2")["stage5_block3_conv1/conv"]
    backbone = "stdc2" if f"{prefix}{last}.weight" in arrays else "stdc1"
    return Encoder(naming, prefix, backbone, stem.shape[0] / STEM_FILTERS[0], stem.shape[1])


def _is_of(naming, arrays):
    """Whether the statistics of normalizations are called as in a naming, which tells Paddle."""
    return naming.is_paddle == any(name.endswith("._mean") for name in arrays)


def network_for(state, encoder, target, options):
    """Builds the network of ours that a file is converted to.

    Args:
        state: the `StateDict`.
        encoder: what `recognize` found in it.
        target: `"stdc1"`, `"stdc2"` or the name of a variant.
        options: `count_include_pad`, `gate_activation` and `aspp_dilation_rates` of
            `convert_weights`.

    Returns:
        A `Network`.

    Raises:
        ValueError: if the file holds another network than the target.
    """
    variant = VARIANTS.get(target)
    backbone, alpha = (variant.backbone, variant.alpha) if variant else (target, 1.0)
    if encoder.backbone != backbone:
        raise ValueError(f"it holds an {encoder.backbone.upper()}, and {target} takes another one")
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
            "PaddleSeg's configurations normalize pixels by mean 0.5 and deviation 0.5, this "
            "package by ImageNet's; what the weights were trained with is not in the file",
        )
    if variant is None:
        return _classifier(state.arrays, encoder, names, common, notes)
    if has_authors_decoder([n.removeprefix(encoder.root) for n in state.arrays]):
        return _authors_network(state, encoder, names, common, options, notes)
    if encoder.naming is TWIN and f"{encoder.prefix}classifier.weight" in state.arrays:
        return _twin_network(state, encoder, names, common)
    raise ValueError(
        f"it holds an encoder, but no decoder of Cross-CBAM. Convert it by --to {backbone}, and "
        "pass the result as `backbone_weights`"
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
    """Super-gradients' classifier stands beside the encoder, the others' in it."""
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
        raise ValueError("its decoder is of MMSegmentation, its encoder is not")
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
        "the file: they are those of the authors' configuration unless given",
    )
    names |= _prefixed(decoder, root)
    classes = classes_of(state.meta, head.shape[0])
    return Network(model, names, _missing_aux(has_aux), classes, notes)


def _missing_aux(has_aux):
    return () if has_aux else ("aux_fcn", "aux_classifier")


def _prefixed(names, prefix):
    return {ours: prefix + theirs for ours, theirs in names.items()}
