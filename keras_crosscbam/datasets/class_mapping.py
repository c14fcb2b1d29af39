"""From the labels of one class table to those of another, by the names of the classes."""

import numpy as np

from keras_crosscbam.classes import ClassTable
from keras_crosscbam.datasets.listing import shorten_list


def relabeling(source, target, source_name, target_name):
    """Which label of one table each label of another one stands for.

        >>> from keras_crosscbam.classes import class_table
        >>> from keras_crosscbam.datasets.class_mapping import relabeling
        >>> ours, theirs = class_table(["road", "car", "sky"]), class_table(["sky", "road", "car"])
        >>> relabeling(ours, theirs, "the model", "the data set")[:3].tolist()
        [1, 2, 0]

    Labels stay as they are where a table is unknown: None, or of numbered classes.

    Args:
        source, target: `ClassTable`s, or None.
        source_name, target_name: what they belong to, for the message.

    Returns:
        uint8 `(256,)`, the label of `target` for each label of `source`.

    Raises:
        ValueError: if both are known and do not hold the same names.
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
    """The classes of a network, from the table that it carries and the one that somebody gives.

    They are in the network's order, and in the colors given.

    Args:
        carried, given: `ClassTable`s, or None.
        name: of the network, for the message.

    Returns:
        A `ClassTable`, or None without either.

    Raises:
        ValueError: if both name their classes, and differently.
    """
    if given is None or (carried is not None and not given.is_named):
        return carried
    if carried is None or not carried.is_named:
        return given
    order = relabeling(carried, given, name, "the class table given")[: len(carried)]
    return ClassTable(carried.names, tuple(given.colors[label] for label in order))


def difference(source, target, source_name="one", target_name="the other"):
    """The names that stand in one table alone, as a sentence; empty if there are none."""
    sides = ((source, target, source_name), (target, source, target_name))
    alone = [
        (name, [n for n in table.names if n not in other.names]) for table, other, name in sides
    ]
    return "; ".join(f"only {name} has {shorten_list(names)}" for name, names in alone if names)
