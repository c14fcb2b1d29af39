"""Checks of arguments, whose messages are shorter than the errors of a traced function."""

import math
from numbers import Integral, Real


def check_size(name, size):
    """Raises a `ValueError` if `size` is not `(height, width)` in pixels.

    >>> from keras_crosscbam.datasets.argument_checks import check_size
    >>> check_size("crop_size", (360, 480))
    """
    if not all(_is_whole(side) and side >= 1 for side in _pair(size)):
        raise ValueError(
            f"`{name}` must be (height, width), two positive whole numbers. Received: {size!r}"
        )


def check_range(name, limits, positive=False, most=math.inf):
    """Raises a `ValueError` if `limits` is not a pair of a smaller and a larger number from 0.

    >>> from keras_crosscbam.datasets.argument_checks import check_range
    >>> check_range("scale_range", (0.5, 2.0), positive=True)
    """
    first, last = _pair(limits)
    if not (_is_number(first) and _is_number(last) and 0 <= first <= last <= most) or (
        positive and first == 0
    ):
        raise ValueError(
            f"`{name}` must be a smaller and a larger number, {_limits(positive, most)}. "
            f"Received: {limits!r}"
        )


def check_number(name, value, most=math.inf):
    """Raises a `ValueError` if `value` is not a finite number of at least 0.

    >>> from keras_crosscbam.datasets.argument_checks import check_number
    >>> check_number("hue", 0.05, most=0.5)
    """
    if not (_is_number(value) and 0 <= value <= most):
        raise ValueError(f"`{name}` must be a number, {_limits(False, most)}. Received: {value!r}")


def check_whole(name, value, least):
    """Raises a `ValueError` if `value` is not an integer of at least `least`.

    >>> from keras_crosscbam.datasets.argument_checks import check_whole
    >>> check_whole("batch_size", 8, least=1)
    """
    if not (_is_whole(value) and value >= least):
        raise ValueError(
            f"`{name}` must be a whole number of at least {least}. Received: {value!r}"
        )


def check_list(name, values):
    """Raises a `ValueError` if `values` is not a list or tuple.

    >>> from keras_crosscbam.datasets.argument_checks import check_list
    >>> check_list("augmentations", [])
    """
    if not isinstance(values, list | tuple):
        raise ValueError(f"`{name}` must be a list. Received: {values!r}")


def _pair(values):
    """Returns the two values of a pair, or `(None, None)`, which no check accepts."""
    try:
        first, last = values
    except (TypeError, ValueError):
        return None, None
    return first, last


def _is_whole(value):
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _limits(positive, most):
    limits = "above 0" if positive else "at least 0"
    return limits if most == math.inf else f"{limits} and at most {most}"


def check_choice(name, value, choices):
    """Raises a `ValueError` if the value is not one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}")
