"""Switches that leave no weights, such as an activation: how a weights file tells them."""

import json

import numpy as np

DEFAULTS = {"count_include_pad": True, "square_top": False, "gate_activation": None}
"""The switches of `STDC` and `CrossCBAM` that change what a network computes from its weights."""
# The layer's entry in a weights file: a dict as JSON in UTF-8, an array of bytes.
_ENTRY = "switches"


class Switched:
    """Base of layers without variables of their own that write their switches into weights files.

    >>> import numpy as np
    >>> from keras_crosscbam.layers import CCBAM
    >>> CCBAM(gate_activation="relu").switches
    {'gate_activation': 'relu'}

    Loading a file that says something else raises a `ValueError`.
    """

    @property
    def switches(self):
        """The switches that differ from their defaults, by the names of the builders' arguments."""
        raise NotImplementedError

    def save_own_variables(self, store):
        if self.switches:
            store[_ENTRY] = np.frombuffer(json.dumps(self.switches).encode(), np.uint8)

    def load_own_variables(self, store):
        for name, value in read_switches(store).items():
            own = self.switches.get(name, DEFAULTS.get(name))
            if value != own:
                raise ValueError(
                    f"The file's weights are of a network with {name}={value!r}, the layer "
                    f"{self.name!r} has {own!r}. Build the model with {name}={value!r}."
                )


def read_switches(store):
    """The switches that a layer put into its group of a weights file, as a dict."""
    if _ENTRY not in store:
        return {}
    try:
        switches = json.loads(np.asarray(store[_ENTRY], np.uint8).tobytes())
        unknown = sorted(switches.keys() - DEFAULTS.keys())
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"its switches are not readable ({error})") from error
    if unknown:
        raise ValueError(f"it has switches of a newer version of this package: {unknown}")
    return switches
