"""Converts weights files of other implementations to files of this package."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_crosscbam.layers.conv import EPSILON
from keras_crosscbam.models.stdc import STAGE_BLOCKS
from keras_crosscbam.models.weights import Weights
from keras_crosscbam.variants import VARIANTS
from keras_crosscbam.weight_conversion.files import read_state_dict, whole_file
from keras_crosscbam.weight_conversion.mapping import MissingError, Source
from keras_crosscbam.weight_conversion.mmseg_config import epsilon_of
from keras_crosscbam.weight_conversion.networks import network_for, recognize
from keras_crosscbam.weight_conversion.to_torch import write_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_crosscbam.types import StrPath

TARGETS = (*STAGE_BLOCKS, *VARIANTS, "torch")
"""Targets of `convert_weights`: encoders, variants of Cross-CBAM, and PyTorch."""
SUFFIX = ".weights.h5"
# Names of container modules, which are prefixes of other names.
_CONTAINERS = ("module", "model", "cp", "backbone", "decode_head")


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion. Its text is a report.

    Attributes:
        source, out: the files.
        naming: the implementation whose names the file has.
        loaded: names of the arrays in `source` that are in `out`.
        left_out: names of the arrays in `source` that are not in `out`, except counters of batches.
        missing: layers of this package without arrays in the file; only allowed for the classifier
            of an encoder and for the auxiliary head.
        switches: arguments of the builder that are necessary for equal results. They are stored in
            `out`, and builders apply them.
        notes: sentences about the file.
    """

    source: str
    out: str
    naming: str
    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    switches: dict
    notes: tuple[str, ...]

    def __str__(self):
        lines = [
            f"{self.source} ({self.naming}) -> {self.out}",
            f"loaded: {len(self.loaded)} arrays",
        ]
        if self.left_out:
            groups = Counter(_group(name) for name in self.left_out)
            counted = ", ".join(f"{name} ({count})" for name, count in groups.items())
            lines.append(f"left out: {len(self.left_out)} arrays: {counted}")
        if self.missing:
            lines.append(f"not in the file: {', '.join(self.missing)}")
        lines += [f"switch: {name}={value!r}" for name, value in self.switches.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def convert_weights(
    source: StrPath,
    to: str,
    out: StrPath,
    *,
    count_include_pad: bool | None = None,
    epsilon: float | None = None,
    gate_activation: str | None = "relu",
    aspp_dilation_rates: Sequence[int] = (1, 3),
) -> Conversion:
    """Converts weights of STDC or Cross-CBAM from PyTorch or Paddle to Keras, or back to PyTorch.

        >>> import keras_crosscbam as kc
        >>> path = "STDCNet813M_73.91.tar"
        >>> print(kc.convert_weights(path, "stdc1", "stdc1.weights.h5"))  # doctest: +SKIP
        >>> model = kc.CrossCBAM_M(backbone_weights="stdc1.weights.h5")  # doctest: +SKIP

    The implementation is detected from the names in the file: STDC-Seg (the authors of STDC),
    MMSegmentation, super-gradients, PaddleSeg, or `benchmarks/torch_cross_cbam.py`. Names may have
    any prefix, such as `module.` or `cp.backbone.`. From a network with another decoder only the
    encoder can be converted. No code in the file is executed (`weight_conversion.files`).

    Args:
        source: the file: `.pth`, `.tar`, `.pdparams` or `.safetensors`; with `to="torch"` a
            `.weights.h5` file of Cross-CBAM.
        to: `"stdc1"` or `"stdc2"` for an encoder, with its classifier if the file has one; the name
            of a variant, such as `"M1"`, for Cross-CBAM; `"torch"` for a state dict.
        out: the file to write, `.weights.h5`; with `to="torch"` `.safetensors`, or `.pt` or `.pth`,
            which require PyTorch.
        count_include_pad: whether average pooling includes the padding; None for the behavior of
            the implementation, which is False for Paddle. Use True for weights that were converted
            from PyTorch to Paddle.
        epsilon: epsilon of batch normalization; None for the value in a checkpoint of
            MMSegmentation, or else 1e-5.
        gate_activation: activation before the gates of Cross-CBAM in the authors' configuration;
            None for no activation, as in the paper.
        aspp_dilation_rates: dilation rates of SE-ASPP in the authors' configuration.

    Returns:
        A `Conversion`, whose text is a report.

    Raises:
        ValueError: if the file may contain code, has other names, or lacks arrays that the network
            needs, or if shapes differ. No file is written.
        ImportError: if safetensors or PyTorch is required and not installed.
    """
    target = _target(to)
    out = Path(out)
    if target == "torch":
        loaded = write_torch(source, out)
        return Conversion(str(source), str(out), "Keras", loaded, (), (), {}, ())
    if not out.name.endswith(SUFFIX):
        raise ValueError(f"`out` must end in {SUFFIX}. Received: {out}")
    state = read_state_dict(source)
    try:
        encoder = recognize(state.arrays)
        network = network_for(
            state,
            encoder,
            target,
            {
                "count_include_pad": count_include_pad,
                "gate_activation": gate_activation,
                "aspp_dilation_rates": tuple(aspp_dilation_rates),
            },
        )
        epsilon = epsilon_of(state.meta, epsilon)
        arrays = Source(state.arrays, encoder.naming.statistics, epsilon, encoder.naming.is_paddle)
        variables = _variables(network, arrays)
    except ValueError as error:
        raise ValueError(f"{state.source}: {error}. Nothing was written.") from error
    weights = Weights(state.source, variables, {}, network.classes, network.switches)
    weights.load_into(network.model)
    with whole_file(out) as unfinished:
        network.model.save_weights(unfinished)
    return Conversion(
        source=state.source,
        out=str(out),
        naming=encoder.naming.source,
        loaded=tuple(name for name in state.arrays if name in arrays.used),
        left_out=tuple(
            name
            for name in state.arrays
            if name not in arrays.used and not name.endswith("num_batches_tracked")
        ),
        missing=network.missing,
        switches=network.switches,
        notes=_notes(state, network, arrays),
    )


def _target(to):
    name = str(to).removeprefix("CrossCBAM_")
    target = next((t for t in TARGETS if t.lower() == name.lower()), None)
    if target is None:
        raise ValueError(f"`to` must be one of {', '.join(TARGETS)}. Received: {to!r}")
    return target


def _variables(network, arrays):
    """Returns the arrays of all layers; raises a `ValueError` that lists the missing arrays."""
    found, missing, wrong = {}, [], []
    for path, shapes in network.shapes.items():
        try:
            found[path] = arrays.layer(path, network.names, shapes)
        except MissingError as error:
            missing.append(str(error))
        except ValueError as error:
            wrong.append(str(error))
    if missing:
        raise ValueError(f"{_some(missing)} of {len(network.shapes)} layers are missing")
    if wrong:
        raise ValueError(_some(wrong))
    return found


def _some(items, limit=4):
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{'; '.join(items[:limit])}{more}"


def _group(name):
    """Returns a name up to the first module that is not a container."""
    parts = name.split(".")
    telling = next((i for i, part in enumerate(parts) if part not in _CONTAINERS), 0)
    return ".".join(parts[: telling + 1])


def _notes(state, network, arrays):
    notes = list(network.notes)
    if state.wrapper:
        notes.append(f"the weights are from the entry {state.wrapper!r}")
    if arrays.without_normalization:
        notes.append(
            f"{', '.join(arrays.without_normalization)}: biases instead of batch normalization; "
            "they are converted to equivalent offsets of batch normalization"
        )
    if arrays.epsilon != EPSILON:
        notes.append(
            f"epsilon of batch normalization is {arrays.epsilon:g} in the file and {EPSILON:g} in "
            "this package; the difference is added to the variances"
        )
    return tuple(notes)
