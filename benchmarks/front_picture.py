"""The picture of `front.py`."""

import math
import sys
from pathlib import Path

from front_networks import NETWORKS, REFERENCE
from front_table import fronts, points_of, read_manifest, scores_of, shipped, starts
from front_timing import RUNTIMES

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from plot_models import Axes
from svg import FILL_AND_STROKE, Drawing

OURS, PEER = FILL_AND_STROKE["encoder"][1], FILL_AND_STROKE["attention"][1]
COLUMNS, PANEL = 2, (350, 250)
"""The number of panels in a row, and the width and height of a panel."""


def draw(found, manifest=None):
    """Returns the picture as the text of an SVG file, with a panel for each runtime.

    Args:
        found: the dict that `front.collect` returns.
        manifest: the content of `weights/manifest.json`; None to read it.
    """
    manifest = read_manifest() if manifest is None else manifest
    size = next(iter(found["times"]), None)
    keys = [key for key in found["times"].get(size, {}) if points_of(found, size, key)]
    rows = math.ceil(len(keys) / COLUMNS)
    drawing = Drawing(
        COLUMNS * (PANEL[0] + 90) + 20,
        max(rows, 1) * (PANEL[1] + 110) + 80,
        "Accuracy on held-out drives against time of networks trained alike",
    )
    _legend(drawing, size)
    everything = {key: points_of(found, size, key) for key in keys}
    full = {name: 100 * entry["test_mean_iou"] for name, entry in shipped(manifest).items()}
    heights = [*full.values()]
    for points in everything.values():
        heights += [score for name in points for score in scores_of(found, name)]
    for number, key in enumerate(keys):
        row, column = divmod(number, COLUMNS)
        times = found["times"][size][key]
        axes = Axes(
            drawing,
            70 + column * (PANEL[0] + 90),
            ticks([0, *(interval.median for interval in times.values())], 0.25),
            ticks(heights, 5),
            (RUNTIMES[key].title, f"time relative to {NETWORKS[REFERENCE].title}", "mean IoU, %"),
            top=110 + row * (PANEL[1] + 110),
            title_offset=-10,
            size=PANEL,
        )
        _panel(
            axes,
            found,
            everything[key],
            {n: (times[n].median, full[n]) for n in full if n in times},
        )
    return drawing.svg()


def ticks(values, step):
    """Returns multiples of a step that enclose the values.

    >>> from front_picture import ticks
    >>> ticks([41.2, 48], 5)
    [40, 45, 50]
    """
    first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _legend(drawing, size):
    drawing.text(20, 28, f"CamVid, drives held out; time at {size}", bold=True, size=14)
    entries = (("Cross-CBAM", OURS, False), ("other networks", PEER, False))
    entries += (("filled: from encoder weights", PEER, False), ("hollow: random start", PEER, True))
    x = 24
    for text, color, hollow in entries:
        drawing.dot(x, 48, color, radius=5, hollow=hollow)
        drawing.text(x + 9, 52, text)
        x += 30 + 6.5 * len(text)
    text = (
        "Areas: parameters. Bars: the drives, dots: their mean. Lines: fronts, dashed for random "
    )
    text += (
        "starts. Diamonds: shipped weights after full training, on test frames (not comparable)."
    )
    drawing.text(20, 72, text, size=11)


def _panel(axes, found, points, full):
    """Draws the fronts, a dot for each network, a diamond for shipped weights, and labels."""
    for front, dashed in zip(fronts(points), (False, True), strict=True):
        if len(front) > 1:
            line = [(axes.x(points[name][0]), axes.y(points[name][1])) for name in front]
            axes.drawing.line(*line, color="#64748b", dashed=dashed)
    taken, labels = [], []
    for name, (time, accuracy) in points.items():
        facts = next(iter(found["accuracy"][name].values()))
        radius = 2.2 * math.sqrt(facts["parameters"] / 1e6)
        x, y, color = axes.x(time), axes.y(accuracy), OURS if NETWORKS[name].ours else PEER
        lowest, *_, highest = sorted([*scores_of(found, name), accuracy])
        axes.drawing.line((x, axes.y(lowest)), (x, axes.y(highest)), color=color, width=1)
        axes.drawing.dot(x, y, color, radius=radius, hollow=not starts(name))
        taken.append((x - radius, y - radius, x + radius, y + radius))
        labels.append((x, y, radius, NETWORKS[name].title, color))
    for name, (time, accuracy) in full.items():
        x, y, r = axes.x(time), axes.y(accuracy), 6
        corners = ((x, y - r), (x + r, y), (x, y + r), (x - r, y), (x, y - r))
        axes.drawing.line(*corners, color=OURS, width=2)
        taken.append((x - r, y - r, x + r, y + r))
        labels.append((x, y, r, NETWORKS[name].title, OURS))
    for x, y, radius, text, color in labels:
        edges = axes.left, axes.left + axes.width
        box, (at_x, at_y, anchor) = _free_place(taken, x, y, radius, 6 * len(text), edges)
        taken.append(box)
        axes.drawing.text(at_x, at_y, text, anchor, size=11, color=color)


def _free_place(taken, x, y, radius, width, edges):
    """Returns the box and the position of a label between edges that covers nothing, if any."""
    right, left, gap = x + radius + 3, x - radius - 3, radius + 3
    places = [
        ((right, y - 7, right + width, y + 5), (right, y + 4, "start")),
        ((left - width, y - 7, left, y + 5), (left, y + 4, "end")),
        ((x - width / 2, y - gap - 11, x + width / 2, y - gap), (x, y - gap - 2, "middle")),
        ((x - width / 2, y + gap, x + width / 2, y + gap + 11), (x, y + gap + 9, "middle")),
    ]
    for box, place in places:
        inside = edges[0] <= box[0] and box[2] <= edges[1]
        if inside and not any(_overlap(box, other) for other in taken):
            return box, place
    return places[0]


def _overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
