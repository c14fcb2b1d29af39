"""What the rules have in common: patterns and replacements of `onnxscript.rewriter`."""

from onnxscript.rewriter.pattern import RewriteRuleClassBase

CHANNELS = 1
"""The axis of channels in NCHW maps."""


class Rule(RewriteRuleClassBase):
    """A rule whose checks answer by truth values."""

    def check(self, context, **values):
        return self.fits(**values)


def array_of(value):
    """The constant behind a value, or None."""
    constant = value.const_value
    return None if constant is None else constant.numpy()


def attribute(value, name, default=None):
    """An attribute of the node that makes a value."""
    found = value.producer().attributes.get(name)
    return default if found is None else found.value


def is_sized(value):
    """Whether height and width of NCHW maps are known; the batch need not be."""
    return value.shape is not None and all(isinstance(side, int) for side in value.shape[2:])


def reduces_channels(x, reduced):
    """Whether a value is `x` reduced over its channels alone, of which the number is known."""
    known = x.shape is not None and isinstance(x.shape[CHANNELS], int)
    return known and list(attribute(reduced, "axes", ())) == [CHANNELS]
