"""Converts labels between class tables by the names of the classes."""

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.listing import shorten_list


def relabeling(source, target, source_name, target_name):
    """Returns a lookup table from the labels of one class table to those of another.

        >>> from keras_crosscbam.classes import class_table
        >>> from keras_crosscbam.datasets.class_mapping import relabeling
        >>> ours, theirs = class_table(["road", "car", "sky"]), class_table(["sky", "road", "car"])
        >>> relabeling(ours, theirs, "the model", "the data set")[:3].tolist()
        [1, 2, 0]

    Labels are not changed if one of the tables is None or has numbered classes.

    Args:
        source, target: `ClassTable`s, or None.
        source_name, target_name: names of their owners, for the error message.

    Returns:
        uint8 `(256,)`, the label of `target` for each label of `source`.

    Raises:
        ValueError: if both tables are known and have different names.
    """
    lookup = np.arange(256, dtype=np.uint8)
    if not (source and target and source.is_named and target.is_named):
        return lookup
    if difference(source, target):
        raise ValueError(
            f"{source_name} and {target_name} have different classes: "
            f"{difference(source, target, source_name, target_name)}"
        )
    lookup[: len(source)] = [target.names.index(name) for name in source.names]
    return lookup


def agreed_classes(carried, given, name):
    """Combines the class table of a network and the one that a user passes.

    The result has the order of the network and the colors of `given`.

    Args:
        carried: the `ClassTable` of the network, or None.
        given: the `ClassTable` that the user passes, or None.
        name: name of the network, for the error message.

    Returns:
        A `ClassTable`, or None if both are None.

    Raises:
        ValueError: if both have class names and these differ.
    """
    if given is None or (carried is not None and not given.is_named):
        return carried
    if carried is None or not carried.is_named:
        return given
    order = relabeling(carried, given, name, "the class table given")[: len(carried)]
    return ClassTable(carried.names, tuple(given.colors[label] for label in order))


def difference(source, target, source_name="one", target_name="the other"):
    """Returns a sentence about the names that only one table has, or ""."""
    sides = ((source, target, source_name), (target, source, target_name))
    alone = [
        (name, [n for n in table.names if n not in other.names]) for table, other, name in sides
    ]
    return "; ".join(f"only {name} has {shorten_list(names)}" for name, names in alone if names)
