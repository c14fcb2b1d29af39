"""Reads the configuration in MMSegmentation's checkpoints."""

import re

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.layers.conv import EPSILON
from keras_crosscbam.models.inputs import MEAN, STD


def epsilon_of(meta, given):
    """Returns the epsilon of batch normalization.

    >>> from keras_crosscbam.weight_conversion.mmseg_config import epsilon_of
    >>> epsilon_of({"config": "norm_cfg = dict(type='BN', eps=0.001)"}, None)
    0.001

    Args:
        meta: the metadata of MMSegmentation, including the configuration.
        given: the user's value, or None.

    Raises:
        ValueError: for a value out of range, and if the configuration has several values.
    """
    if given is not None:
        if not 0 < given < 1:
            raise ValueError(f"`epsilon` must be a small positive number. Received: {given!r}")
        return given
    norms = re.findall(r"norm_cfg\s*=\s*dict\(([^()]*)\)", _configuration(meta))
    told = [re.search(r"\beps\s*=\s*([\d.eE+-]+)", norm) for norm in norms]
    found = {float(number[1]) if number else EPSILON for number in told} or {EPSILON}
    if len(found) > 1:
        raise ValueError(
            f"its configuration has normalizations with several epsilons, {sorted(found)}; pass "
            "the right one as `epsilon`"
        )
    return found.pop()


def pixel_notes(meta):
    """Returns notes for the report, if the pixels are normalized in another way than here.

    >>> from keras_crosscbam.weight_conversion.mmseg_config import pixel_notes
    >>> pixel_notes({"config": "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]"})
    ()
    >>> pixel_notes({"config": "mean=[127.5, 127.5, 127.5]"})[0].partition(";")[0]
    'its configuration normalizes pixels with mean=[127.5, 127.5, 127.5]'
    """
    config, notes = _configuration(meta), []
    for name, ours in (("mean", MEAN), ("std", STD)):
        for found in re.findall(rf"\b{name}\s*=\s*\[([\d.,\s]+)\]", config):
            theirs = [float(number) for number in found.split(",") if number.strip()]
            if len(theirs) != 3 or not np.allclose(theirs, np.multiply(ours, 255), atol=0.5):
                notes.append(
                    f"its configuration normalizes pixels with {name}=[{found.strip()}]; this "
                    "package with ImageNet's"
                )
    if re.search(r"to_rgb\s*=\s*False", config):
        notes.append("its configuration takes images as BGR; this package takes RGB")
    return tuple(dict.fromkeys(notes))


def classes_of(meta, number):
    """Returns the `ClassTable` in MMSegmentation's metadata, if it matches the head, or None."""
    told = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else meta
    names, colors = (told.get(key) or told.get(key.lower()) or () for key in ("CLASSES", "PALETTE"))
    if not len(names) == len(colors) == number:
        return None
    return ClassTable(tuple(map(str, names)), tuple(tuple(map(int, c)) for c in colors))


def _configuration(meta):
    config = meta.get("config") or meta.get("cfg")
    return config if isinstance(config, str) else ""
