"""Stores builder arguments that have no weights, such as an activation, in weights files."""

import json

import numpy as np

DEFAULTS = {"count_include_pad": True, "square_top": False, "gate_activation": None}
"""The default of each argument of `STDC` and `CrossCBAM` that changes the output of a network
but not its weights."""
# The layer's entry in a weights file: a dict as JSON in UTF-8, a uint8 array.
_ENTRY = "switches"


class Switched:
    """Base class of layers that write their switches into weights files.

    Such a layer must have no variables except those of its sublayers.

    >>> import numpy as np
    >>> from keras_crosscbam.layers import CCBAM
    >>> CCBAM(gate_activation="relu").switches
    {'gate_activation': 'relu'}

    Loading a file with other values raises a `ValueError`.
    """

    @property
    def switches(self):
        """The switches that differ from their defaults: a dict from argument name to value."""
        raise NotImplementedError

    def save_own_variables(self, store):
        if self.switches:
            store[_ENTRY] = np.frombuffer(json.dumps(self.switches).encode(), np.uint8)

    def load_own_variables(self, store):
        for name, value in read_switches(store).items():
            own = self.switches.get(name, DEFAULTS.get(name))
            if value != own:
                raise ValueError(
                    f"The weights in the file are of a network with {name}={value!r}, but the "
                    f"layer {self.name!r} has {own!r}. Build the model with {name}={value!r}."
                )


def read_switches(store):
    """Returns the switches that a layer wrote into a weights file's group, as a dict."""
    if _ENTRY not in store:
        return {}
    try:
        switches = json.loads(np.asarray(store[_ENTRY], np.uint8).tobytes())
        unknown = sorted(switches.keys() - DEFAULTS.keys())
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"the switches in it cannot be read ({error})") from error
    if unknown:
        raise ValueError(
            f"it has switches that this version of the package does not know: {unknown}"
        )
    return switches
