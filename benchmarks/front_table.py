"""The table of `front.py`, and the Pareto fronts.

The functions take the dict that `front.collect` returns, which they call `found`.
"""

import json
import math
import statistics
from pathlib import Path

from front_networks import NETWORKS
from front_timing import RUNTIMES, shape_text

from keras_crosscbam.variants import VARIANTS

MANIFEST = Path(__file__).parents[1] / "weights" / "manifest.json"
EMPTY = "\N{EN DASH}"


def pareto(points):
    """Returns the names of the points that no other point dominates, the fastest first.

        >>> from front_table import pareto
        >>> pareto({"a": (0.5, 40), "b": (1.0, 45), "c": (0.7, 39), "d": (1.0, 44)})
        ['a', 'b']

    A point dominates another one if it is not slower and not less accurate, and better in one.

    Args:
        points: dict from a name to its time and its accuracy.
    """

    def dominated(time, accuracy):
        return any(
            t <= time and a >= accuracy and (t, a) != (time, accuracy) for t, a in points.values()
        )

    return sorted((name for name in points if not dominated(*points[name])), key=points.get)


def fronts(points):
    """Returns the Pareto front of each kind of start, encoder weights first, as lists of names.

    Networks that start from random weights have their own front: the others were trained longer.
    """
    return [
        pareto({name: point for name, point in points.items() if starts(name) is pretrained})
        for pretrained in (True, False)
    ]


def starts(name):
    """Returns whether a network starts from encoder weights."""
    return NETWORKS[name].encoder is not None


def accuracy_of(found):
    """Returns the mean over the groups of the mean IoU in percent, by network.

    Networks without a result for each group are left out.
    """
    return {
        name: statistics.mean(scores_of(found, name))
        for name, results in found["accuracy"].items()
        if set(found["groups"]) <= set(results)
    }


def scores_of(found, name):
    """Returns the mean IoU of a network in percent on each group, in their order."""
    return [100 * found["accuracy"][name][group]["mean_iou"] for group in found["groups"]]


def shipped(manifest):
    """Returns the manifest entries of the shipped CamVid weights, by the key of the network."""
    keys = {VARIANTS[letter].architecture: f"cross-cbam-{letter.lower()}" for letter in "SML"}
    return {
        keys[entry["architecture"]]: entry
        for entry in manifest["weights"]
        if entry["name"] == "camvid" and entry.get("test_mean_iou") is not None
    }


def read_manifest():
    """Returns the content of `weights/manifest.json`."""
    return json.loads(MANIFEST.read_text("utf-8"))


def points_of(found, size, key):
    """Returns the median time and the accuracy of each network that has both."""
    accuracy, times = accuracy_of(found), found["times"].get(size, {}).get(key, {})
    return {name: (times[name].median, accuracy[name]) for name in accuracy if name in times}


def table(found, manifest=None):
    """Returns the tables as Markdown: the first size, times at other sizes, shipped weights."""
    manifest = read_manifest() if manifest is None else manifest
    sizes = list(found["times"]) or [None]
    parts = [_caption(found), _main_table(found, sizes[0])]
    for size in sizes[1:]:
        parts.append(f"Time at {size}, networks of the same trainings:")
        parts.append(_lines(["network", *_time_titles(found, size)], _time_rows(found, size)))
    if entries := shipped(manifest):
        parts.append(_shipped_table(entries))
    return "\n\n".join(parts) + "\n"


def _caption(found):
    sentences = [
        "Mean IoU in percent on each held-out drive; time relative to STDC1-Seg's in the same "
        "runtime, with 95 % intervals.",
        "Bold: on the front of the runtime among the networks with the same kind of start.",
    ]
    losses = [
        result
        for by_runtime in found["int8"].values()
        for by_group in by_runtime.values()
        for result in by_group.values()
    ]
    if losses:
        sizes = ", ".join(sorted({shape_text(result["size"]) for result in losses}))
        sentences.append(f"Loss: points of mean IoU lost in INT8 at {sizes}, mean of the drives.")
    if settings := found["settings"]:
        sentences.append(
            f"Trained for {settings['epochs']} epochs of {settings['steps_per_epoch']} steps with "
            f"{settings['batch_size']} crops of {shape_text(settings['crop'])}; encoder weights: "
            f"`{settings['encoder_weights']}`."
        )
        if settings["set"]:
            sentences.append(f"Changed settings: {', '.join(settings['set'])}.")
    if found["machine"]:
        sentences.append(f"Times on {found['machine']}.")
    return " ".join(sentences)


def _main_table(found, size):
    accuracy = accuracy_of(found)
    header = ["network", "start", "parameters, M", "GMACs at 512x1024"]
    header += [*found["groups"], "mean", *_time_titles(found, size)]
    times = {row[0]: row[1:] for row in _time_rows(found, size)}
    rows = []
    ranked = sorted(found["accuracy"], key=lambda name: -accuracy.get(name, -math.inf))
    for name in ranked:
        results = found["accuracy"][name]
        facts = next(iter(results.values()))
        title = NETWORKS[name].title
        mean = f"{accuracy[name]:.2f}" if name in accuracy else EMPTY
        rows.append(
            [
                title,
                "encoder weights" if starts(name) else "random",
                f"{facts['parameters'] / 1e6:.2f}",
                f"{facts['macs'] / 1e9:.2f}",
                *(_percent(results.get(group)) for group in found["groups"]),
                mean,
                *times.get(title, []),
            ]
        )
    return _lines(header, rows)


def _percent(result):
    return EMPTY if result is None else f"{100 * result['mean_iou']:.2f}"


def _time_titles(found, size):
    titles = []
    for key in found["times"].get(size, {}):
        titles.append(RUNTIMES[key].title)
        if RUNTIMES[key].int8:
            titles.append("loss")
    return titles


def _time_rows(found, size):
    """Returns the cells of the networks in one of the runtimes: title, times, and losses."""
    times = found["times"].get(size, {})
    best = {key: set().union(*fronts(points_of(found, size, key))) for key in times}
    rows = []
    for name, network in NETWORKS.items():
        row = [network.title]
        for key, intervals in times.items():
            row.append(_interval(intervals.get(name), name in best[key]))
            if RUNTIMES[key].int8:
                row.append(_loss(found["int8"].get(name, {}).get(key, {}), found["groups"]))
        if any(cell != EMPTY for cell in row[1:]) or name in found["accuracy"]:
            rows.append(row)
    return rows


def _interval(interval, bold):
    if interval is None:
        return EMPTY
    median = f"**{interval.median:.2f}**" if bold else f"{interval.median:.2f}"
    if interval.low == interval.high:
        return median
    return f"{median} ({interval.low:.2f}..{interval.high:.2f})"


def _loss(results, groups):
    if not set(groups) <= set(results):
        return EMPTY
    losses = [100 * (results[group]["fp32"] - results[group]["int8"]) for group in groups]
    return f"{statistics.mean(losses):.2f}"


def _shipped_table(entries):
    header = ["shipped weights", "evaluated at", "validation mean IoU", "test mean IoU"]
    rows = [
        [
            f"{NETWORKS[name].title}, `{entry['name']}`",
            "x".join(map(str, entry["input_size"])),
            f"{100 * entry['val_mean_iou']:.2f}",
            f"{100 * entry['test_mean_iou']:.2f}",
        ]
        for name, entry in entries.items()
    ]
    text = "The shipped weights had their full training, on all drives of the train split. Their "
    text += "accuracy on other frames is not comparable with that of the short trainings:"
    return f"{text}\n\n{_lines(header, rows)}"


def _lines(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
