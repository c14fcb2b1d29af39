"""Prepares a training that is evaluated on a held-out group of frames."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from keras_crosscbam.datasets import load_dataset, load_held_out
from keras_crosscbam.datasets.pipeline import steps_per_epoch
from keras_crosscbam.manifest import list_weights
from keras_crosscbam.training.recipe import STARTS
from keras_crosscbam.training.resumable import DESCRIPTION


def hold_out(root, group, recipe):
    """Splits a data set for a training without one group of frames, such as a drive.

        >>> from keras_crosscbam.training import RECIPES, train
        >>> from keras_crosscbam.training.hold_out import hold_out
        >>> train_set, held_out, recipe = hold_out(
        ...     "CamVid", "0006R0", RECIPES["camvid-m"])  # doctest: +SKIP
        >>> train(train_set, held_out, recipe, "runs/without-0006R0")  # doctest: +SKIP

    The training has the same number of steps for every group: an epoch has the steps of a pass over
    all frames of the train split. The weights of the last epoch are kept. Weights chosen by their
    score on the held-out frames would make the result too optimistic.

    Args:
        root: folder of the data set.
        group: name of the group, see `keras_crosscbam.datasets.load_held_out`.
        recipe: a `Recipe`.

    Returns:
        A tuple of the `SegmentationDataset` to train on, the `SegmentationDataset` to evaluate on,
        and the `Recipe` to use.

    Raises:
        ValueError: for an unknown group, for a recipe with starting weights or a teacher that were
            trained on frames of the group, and for every error of `load_dataset`.
    """
    everything = load_dataset(root, "train")
    held_out = load_held_out(root, group)
    if seen := _seen_by_source(asdict(recipe), held_out.name, group):
        raise ValueError(
            f"{seen}, which the recipe {recipe.name} uses, was trained on frames of {group}, so "
            "they cannot be held out. Use starting weights and teachers that were trained without "
            "these frames."
        )
    steps = recipe.steps_per_epoch or steps_per_epoch(everything, recipe.batch_size)
    train_set = load_dataset(root, "train", without=[group])
    return train_set, held_out, replace(recipe, steps_per_epoch=steps, keep="last")


def has_seen(weights, dataset, group):
    """Returns whether weights are known to have been trained on frames of a group.

        >>> from keras_crosscbam.training.hold_out import has_seen
        >>> has_seen("camvid", "camvid", "0006R0")
        True

    Args:
        weights: name of shipped weights, whose manifest entry lists their `drives`, or path of a
            file next to the `run.json` of its training. The result is False for other weights.
        dataset: name of the data set that contains the group.
        group: name of the group.
    """
    weights = Path(str(weights).partition("#")[0])
    for name, entries in list_weights().items():
        for entry in entries:
            is_this_one = str(weights) == name or weights.name == entry["file"]
            seen = entry.get("classes") == dataset and group in entry.get("drives", [])
            if is_this_one and seen:
                return True
    file = weights.parent / DESCRIPTION
    if not file.is_file():
        return False
    run = json.loads(file.read_text())
    trained_on = run["data"]["name"] == dataset and group not in run["data"].get("left_out", [])
    return trained_on or bool(_seen_by_source(run["recipe"], dataset, group))


def _seen_by_source(recipe, dataset, group):
    """Returns the first weights in a recipe that were trained on frames of the group, or None.

    These are the starting weights and the teachers of the recipe, which is given as a dict.
    """
    teachers = recipe.get("teacher") or []
    sources = [teachers] if isinstance(teachers, str) else list(teachers)
    sources += [recipe[name] for name in STARTS if recipe.get(name)]
    return next((source for source in sources if has_seen(source, dataset, group)), None)
