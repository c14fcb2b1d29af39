"""Splits the images into train, val and test, or keeps the splits of the source."""

import re

import numpy as np

from keras_crosscbam.datasets.listing import shorten_list


def groups_of(places, pattern):
    """Returns the group of each image: the match of a pattern in its path.

    >>> from keras_crosscbam.datasets.conversion.splits import groups_of
    >>> groups_of(["drive1/a.jpg", "drive1/b.jpg", "drive2/a.jpg"], r"drive\\d")
    ['drive1', 'drive1', 'drive2']

    Args:
        places: paths with slashes, all different.
        pattern: a regular expression. If it has groups, the first group of the match is used. With
            None each image is a separate group.

    Raises:
        ValueError: for an invalid regular expression, or if it has no match in a path.
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
            f"`group` must have a match in the path of each image. Received: {pattern!r}, which "
            f"has no match in {len(without)} of them: {shorten_list(without)}"
        )
    return [(m[1] if compiled.groups else m[0]) or "" for m in matches.values()]


def assign(said, present, groups, val_share, seed):
    """Returns the split of each image.

    If the source has both train and val, its splits are kept, and images without a split are in
    train. Otherwise all images except those in test are split again.

    Args:
        said: split in the source for each image: `"train"`, `"val"`, `"test"` or None.
        present: which classes each image contains, bool `(images, classes)`.
        groups: name of the group of each image.
        val_share: fraction of the images in val, between 0 and 1.
        seed: seed of the split.

    Returns:
        splits: a list of names.
        made: whether train and val are new splits.

    Raises:
        ValueError: if there are fewer than two groups to split.
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
    """Splits images so that both parts have the same fraction of the images of each class.

    This is iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011) of complete groups:
    the class with the fewest remaining images is assigned first. Its groups are assigned in order
    of decreasing size, each to the part that needs the most images of the class. A class that is in
    two or more groups should be in both parts.

    Args:
        present, groups, val_share, seed: as in `assign`.

    Returns:
        Whether each image is in val, bool `(images,)`.
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
    """Returns the groups with images in several splits, a sorted list."""
    seen = {}
    for group, split in zip(groups, splits, strict=True):
        seen.setdefault(group, set()).add(split)
    return sorted(group for group, of_group in seen.items() if len(of_group) > 1)
