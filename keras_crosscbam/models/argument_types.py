"""Types of the arguments of the model builders."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from keras_crosscbam.classes import ClassTable

Activation: TypeAlias = str | Callable[[Any], Any] | None
Classes: TypeAlias = ClassTable | Sequence[str] | None
Fusion: TypeAlias = Literal["ccbam", "sum"] | None
InputShape: TypeAlias = tuple[int | None, int | None, int]
WeightsSource: TypeAlias = str | os.PathLike[str] | None
