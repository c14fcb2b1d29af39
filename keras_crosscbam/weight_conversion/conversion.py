"""From a file of weights of another implementation to one of this package."""

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
"""What `convert_weights` writes: encoders, networks by the names of the variants, PyTorch."""
SUFFIX = ".weights.h5"
# Modules that hold the others, in front of their names.
_CONTAINERS = ("module", "model", "cp", "backbone", "decode_head")


@dataclass(frozen=True)
class Conversion:
    """What became of the arrays of a file; printed, it is a report.

    Attributes:
        source, out: the files.
        naming: whose names the file has.
        loaded: names of arrays in `source` that are in `out`.
        left_out: names of those that are not. Counters of batches are not listed.
        missing: our layers that the file has nothing for, which is only allowed for the classifier
            of an encoder and for the auxiliary head.
        switches: arguments of the builder that the network needs to compute the same; they are in
            `out`, and builders follow them.
        notes: sentences on what is to be known about the file.
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

    The names in the file tell the implementation: STDC-Seg (the authors of STDC), MMSegmentation,
    super-gradients, PaddleSeg, or `benchmarks/torch_cross_cbam.py`; anything may stand before them,
    such as `module.` or `cp.backbone.`. Of a network with another decoder the encoder is taken.
    Nothing in the file is executed (`weight_conversion.files`).

    Args:
        source: the file: `.pth`, `.tar`, `.pdparams`, `.safetensors`; with `to="torch"` a
            `.weights.h5` file of Cross-CBAM.
        to: `"stdc1"` or `"stdc2"` for an encoder, with its classifier if the file has one; the name
            of a variant, such as `"M1"`, for Cross-CBAM; `"torch"` for a state dict.
        out: the file to write, `.weights.h5`; with `to="torch"` `.safetensors`, or `.pt` or `.pth`,
            which takes PyTorch.
        count_include_pad: whether average poolings count the padding; None for what the
            implementation does: Paddle's do not. Weights that were brought to Paddle from PyTorch
            need True.
        epsilon: what batch normalization adds to the variance; None for what a checkpoint of
            MMSegmentation says of it, else 1e-5.
        gate_activation: what stands before the gates of Cross-CBAM in the authors' configuration;
            None for nothing, as in the paper.
        aspp_dilation_rates: the rates of its SE-ASPP.

    Returns:
        A `Conversion`, whose text is a report.

    Raises:
        ValueError: if the file is refused, has other names, or lacks anything that the network
            needs, or if shapes differ; nothing is written.
        ImportError: where safetensors or PyTorch is needed and missing.
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
    """The arrays of every layer of the network; raises a `ValueError` for all that are missing."""
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
    """The beginning of a name, down to the first module that tells something."""
    parts = name.split(".")
    telling = next((i for i, part in enumerate(parts) if part not in _CONTAINERS), 0)
    return ".".join(parts[: telling + 1])


def _notes(state, network, arrays):
    notes = list(network.notes)
    if state.wrapper:
        notes.append(f"the weights are those of the entry {state.wrapper!r}")
    if arrays.without_normalization:
        notes.append(
            f"{', '.join(arrays.without_normalization)}: biases in the place of batch "
            "normalization, which here become its offsets and compute the same"
        )
    if arrays.epsilon != EPSILON:
        notes.append(
            f"batch normalization adds {arrays.epsilon:g} to the variance there and {EPSILON:g} "
            "here; the difference is in the variances"
        )
    return tuple(notes)
