"""Changes fields of a recipe by settings such as `seed=1` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from types import UnionType
from typing import TypeVar

from keras_crosscbam.training.recipe import Optimization, Phase

RecipeT = TypeVar("RecipeT", bound=Optimization)


def with_settings(recipe: RecipeT, settings: Iterable[str]) -> RecipeT:
    """Returns a recipe with fields replaced by settings from the command line.

        >>> from keras_crosscbam.training import RECIPES, with_settings
        >>> changed = with_settings(RECIPES["camvid-m"], ["seed=1", "phases=2x64x96,1x128x192"])
        >>> changed.epochs
        3

    Args:
        recipe: the recipe.
        settings: texts `FIELD=VALUE`. A value is a number, `true`, `false`, `null`, a word, a list
            such as `[0.5,2.0]` or `["a","b"]`, or for phases `EPOCHSxHEIGHTxWIDTH,...`.

    Raises:
        ValueError: for an unknown field or a value of another type.
    """
    kinds = {f.name: f.type for f in fields(recipe)}
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in kinds or not equals:
            raise ValueError(f"--set takes FIELD=VALUE of {', '.join(kinds)}; got {setting!r}")
        try:
            values[name] = _phases(text) if name == "phases" else _value(text, kinds[name])
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"--set {name} takes {_kind_name(kinds[name])}; got {text!r}"
            ) from error
    return replace(recipe, **values)


def _phases(text):
    numbers = [tuple(map(int, phase.split("x"))) for phase in text.split(",")]
    return tuple(Phase(epochs, tuple(crop)) for epochs, *crop in numbers)


def _value(text, kind):
    """Converts a text to a type of an annotation. It is read as JSON, otherwise as a word."""
    kinds = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    names = tuple[str, ...] in kinds
    kinds = [getattr(k, "__origin__", k) for k in kinds]
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(value, list) and names:
        if not value or any(type(name) is not str for name in value):
            raise ValueError(value)
        return tuple(value)
    if isinstance(value, list) and tuple in kinds:
        if len(value) != 2 or any(type(number) not in (int, float) for number in value):
            raise ValueError(value)
        return tuple(value)
    if str in kinds and type(value) not in kinds and not isinstance(value, list | dict):
        return text
    if type(value) is int and int not in kinds and float in kinds:
        return float(value)
    if type(value) not in kinds:
        raise ValueError(value)
    return value


def _kind_name(kind):
    if kind == tuple[Phase, ...]:
        return "EPOCHSxHEIGHTxWIDTH,..."
    return getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind)
