"""A training that is judged by roads it never sees."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from keras_crosscbam.datasets import load_dataset, load_held_out
from keras_crosscbam.datasets.pipeline import steps_per_epoch
from keras_crosscbam.manifest import list_weights
from keras_crosscbam.training.recipe import STARTS
from keras_crosscbam.training.resumable import DESCRIPTION


def hold_out(root, group, recipe):
    """Divides a data set for a training without one group of frames, such as a drive.

        >>> from keras_crosscbam.training import RECIPES, train
        >>> from keras_crosscbam.training.hold_out import hold_out
        >>> train_set, held_out, recipe = hold_out(
        ...     "CamVid", "0006R0", RECIPES["camvid-m"])  # doctest: +SKIP
        >>> train(train_set, held_out, recipe, "runs/without-0006R0")  # doctest: +SKIP

    The training is as long as one on all frames of the train split, whichever group is left out:
    an epoch keeps the steps of a pass over them all. Its weights are those of the last epoch; to
    choose among the epochs by the held-out frames would flatter the figure.

    Args:
        root: folder of the data set.
        group: name of the group, see `keras_crosscbam.datasets.load_held_out`.
        recipe: a `Recipe`.

    Returns:
        The `SegmentationDataset`s to train on and to judge by, and the `Recipe` to train by.

    Raises:
        ValueError: for an unknown group, a recipe that starts from weights or has a teacher which
            were trained on frames of the group, and what `load_dataset` raises it for.
    """
    everything = load_dataset(root, "train")
    held_out = load_held_out(root, group)
    if seen := _seen_by_source(asdict(recipe), held_out.name, group):
        raise ValueError(
            f"{seen}, from which the recipe {recipe.name} learns, was trained on frames of "
            f"{group}: what it has seen cannot be held out. Take weights to start from, and "
            "teachers, that were trained without them."
        )
    steps = recipe.steps_per_epoch or steps_per_epoch(everything, recipe.batch_size)
    train_set = load_dataset(root, "train", without=[group])
    return train_set, held_out, replace(recipe, steps_per_epoch=steps, keep="last")


def has_seen(weights, dataset, group):
    """Whether weights are known to have been trained on frames of a group.

        >>> from keras_crosscbam.training.hold_out import has_seen
        >>> has_seen("camvid", "camvid", "0006R0")
        True

    Args:
        weights: name of shipped weights, whose manifest entry lists their `drives`, or the path of
            a file beside the `run.json` of its training. Nothing is known of others.
        dataset: name of the data set that the group is of.
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
    """The first weights that a recipe, a dict, learns from and that have seen the group, or None.

    A training learns from the weights that it starts from, and from its teachers.
    """
    teachers = recipe.get("teacher") or []
    sources = [teachers] if isinstance(teachers, str) else list(teachers)
    sources += [recipe[name] for name in STARTS if recipe.get(name)]
    return next((source for source in sources if has_seen(source, dataset, group)), None)
