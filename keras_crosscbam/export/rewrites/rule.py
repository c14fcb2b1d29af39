"""Base class and helper functions of the rewrite rules, for `onnxscript.rewriter`."""

from onnxscript.rewriter.pattern import RewriteRuleClassBase

CHANNELS = 1
"""The channel axis of NCHW feature maps."""


class Rule(RewriteRuleClassBase):
    """A rewrite rule whose condition is a method `fits` that returns a bool."""

    def check(self, context, **values):
        return self.fits(**values)


def array_of(value):
    """Returns the array of a constant value, or None for other values."""
    constant = value.const_value
    return None if constant is None else constant.numpy()


def attribute(value, name, default=None):
    """Returns an attribute of the node that computes a value."""
    found = value.producer().attributes.get(name)
    return default if found is None else found.value


def is_sized(value):
    """Returns whether the height and width of NCHW maps are known; the batch may be dynamic."""
    return value.shape is not None and all(isinstance(side, int) for side in value.shape[2:])


def reduces_channels(x, reduced):
    """Returns whether a value is `x` reduced over its channels only, a known number of them."""
    known = x.shape is not None and isinstance(x.shape[CHANNELS], int)
    return known and list(attribute(reduced, "axes", ())) == [CHANNELS]
