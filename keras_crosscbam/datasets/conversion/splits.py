"""Which images are trained on and which ones judge: the source's own splits, or new ones."""

import re

import numpy as np

from keras_crosscbam.datasets.listing import shorten_list


def groups_of(places, pattern):
    """The group of each image, which no split divides: what a pattern finds in its path.

    >>> from keras_crosscbam.datasets.conversion.splits import groups_of
    >>> groups_of(["drive1/a.jpg", "drive1/b.jpg", "drive2/a.jpg"], r"drive\\d")
    ['drive1', 'drive1', 'drive2']

    Args:
        places: paths with slashes, all different.
        pattern: a regular expression, whose first group counts if it has one; None makes each
            image a group of its own.

    Raises:
        ValueError: for a pattern that is no regular expression, or that some path lacks.
    """
    if pattern is None:
        return list(places)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"`group` must be a regular expression ({error}). Received: {pattern!r}"
        ) from error
    matches = {place: compiled.search(place) for place in places}
    without = [place for place, match in matches.items() if match is None]
    if without:
        raise ValueError(
            f"`group` must be found in each image's path. Received: {pattern!r}, which is not in "
            f"{len(without)} of them: {shorten_list(without)}"
        )
    return [(m[1] if compiled.groups else m[0]) or "" for m in matches.values()]


def assign(said, present, groups, val_share, seed):
    """The split of each image.

    Splits stay as they are where the source has both train and val; images without one are then
    trained on. Otherwise all images but those of test are divided anew.

    Args:
        said: `"train"`, `"val"`, `"test"` or None for each image.
        present: which classes each image holds, bool `(images, classes)`.
        groups: name of the group of each image.
        val_share: share of the images to judge by, between 0 and 1.
        seed: of the choice.

    Returns:
        splits: a list of names.
        made: whether train and val were made.

    Raises:
        ValueError: if there are fewer than two groups to divide.
    """
    if {"train", "val"} <= set(said):
        return [split or "train" for split in said], False
    rest = [i for i, split in enumerate(said) if split != "test"]
    is_val = divide(np.asarray(present)[rest], [groups[i] for i in rest], val_share, seed)
    splits = ["test"] * len(said)
    for i, judge in zip(rest, is_val, strict=True):
        splits[i] = "val" if judge else "train"
    return splits, True


def divide(present, groups, val_share, seed):
    """Divides images so that each class has its share of images in both parts.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011) of whole groups: the class
    with the fewest images left is dealt out first, its largest groups first, each to the part that
    lacks most of it. A class that is in two groups or more is wanted in both parts.

    Args:
        present, groups, val_share, seed: as in `assign`.

    Returns:
        Whether each image is to judge by, bool `(images,)`.
    """
    names, of_image = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"train and val need at least two images, or groups of images. Received: {len(names)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.bincount(of_image)
    held = np.zeros((len(names), present.shape[1]), np.int64)
    np.add.at(held, of_image, present)
    shares = np.array([[1 - val_share], [val_share]])
    wanted, wanted_images = shares * held.sum(axis=0), shares[:, 0] * len(of_image)
    wanted[1] = np.where((held > 0).sum(axis=0) > 1, np.maximum(wanted[1], 1), wanted[1])
    part, left = np.full(len(names), -1), list(order)
    while left:
        counts = held[left].sum(axis=0)
        if counts.any():
            rarest = np.where(counts > 0, counts, np.inf).argmin()
            chosen = sorted((g for g in left if held[g, rarest]), key=lambda g: -held[g, rarest])
        else:
            rarest, chosen = None, sorted(left, key=lambda g: -sizes[g])
        for group in chosen:
            lack = wanted_images if rarest is None else wanted[:, rarest]
            part[group] = max((0, 1), key=lambda side: (lack[side], wanted_images[side]))
            wanted[part[group]] -= held[group]
            wanted_images[part[group]] -= sizes[group]
        left = [group for group in left if part[group] < 0]
    for side in (0, 1):
        if not (part == side).any():
            part[min(order, key=lambda group: sizes[group])] = side
    return part[of_image] == 1


def divided_groups(groups, splits):
    """The groups that have images in several splits, a sorted list."""
    seen = {}
    for group, split in zip(groups, splits, strict=True):
        seen.setdefault(group, set()).add(split)
    return sorted(group for group, of_group in seen.items() if len(of_group) > 1)
