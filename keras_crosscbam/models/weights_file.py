"""Reads files in Keras' weights format."""

import h5py

from keras_crosscbam.layers.scores import read_classes
from keras_crosscbam.layers.switches import read_switches


def read_weights(path):
    """Reads a file in Keras' weights format.

    Keras stores each layer as a group `.../vars` with the layer's name and datasets "0", "1", ...
    The groups of optimizers, metrics and random seeds are ignored. The layer `Scores` stores the
    class names in its group, and layers with switches store those.

    Returns:
        A tuple of the arrays by layer path, the `ClassTable` or None, and the switches.
    """
    try:
        with h5py.File(path, "r") as file:
            if "layers" not in file:
                raise ValueError(
                    "not a Keras weights file (it has no group 'layers'). Expected a file written "
                    "by `model.save_weights('NAME.weights.h5')`."
                )
            found, tables, switches = {}, [], {}
            _walk(file["layers"], (), found, tables, switches)
            return found, tables[0] if tables else None, switches
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path}: the weights file cannot be read and may be incomplete ({error}). No weights "
            "were changed."
        ) from error


def _walk(group, path, found, tables, switches):
    for name, child in group.items():
        if name == "vars" or not isinstance(child, h5py.Group) or name == "seed_generator":
            continue
        inner = path
        own = child.get("vars")
        if own is not None and "name" in own.attrs:
            inner = (*path, own.attrs["name"])
            table, told = read_classes(own), read_switches(own)
            switches |= told
            if table is not None:
                tables.append(table)
            elif len(own) and not told:
                found["/".join(inner)] = [own[str(i)][()] for i in range(len(own))]
        _walk(child, inner, found, tables, switches)
