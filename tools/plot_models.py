"""Plots accuracy against speed for the documentation.

    $ crosscbam benchmark s.onnx m.onnx l.onnx --against stdc1-seg.onnx --scopes network \\
          --json benchmarks/measured/onnxruntime.json
    $ python tools/plot_models.py

Writes `docs/figures/models.svg`. The accuracy is the test mean IoU in `weights/manifest.json`, the
time is the ratio in the reports of `crosscbam benchmark` in `benchmarks/measured/`, and the paper's
figures are from the table of variants.
"""

import json
from pathlib import Path

from svg import FILL_AND_STROKE, Drawing

from keras_crosscbam.variants import VARIANTS

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs" / "figures" / "models.svg"
MANIFEST = ROOT / "weights" / "manifest.json"
REPORTS = {
    "ONNX Runtime": ROOT / "benchmarks" / "measured" / "onnxruntime.json",
    "OpenVINO": ROOT / "benchmarks" / "measured" / "openvino.json",
}
COLORS = [FILL_AND_STROKE["encoder"][1], FILL_AND_STROKE["attention"][1]]
GRID = "#cbd5e1"


class Axes:
    """The axes of one plot in a drawing."""

    def __init__(
        self, drawing, left, x_ticks, y_ticks, titles, top=70, title_offset=-40, size=(350, 230)
    ):
        self.drawing, self.left, self.top, (self.width, self.height) = drawing, left, top, size
        self.x_range, self.y_range = (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1])
        bottom = self.top + self.height
        title, x_title, y_title = titles
        drawing.text(left, top + title_offset, title, bold=True, size=14)
        for value in x_ticks:
            x = self.x(value)
            drawing.line((x, self.top), (x, bottom), color=GRID, width=0.7)
            drawing.text(x, bottom + 17, f"{value:g}", "middle")
        for value in y_ticks:
            y = self.y(value)
            drawing.line((left, y), (left + self.width, y), color=GRID, width=0.7)
            drawing.text(left - 6, y + 4, f"{value:g}", "end")
        drawing.text(left + self.width / 2, bottom + 38, x_title, "middle")
        drawing.text(left - 38, self.top + self.height / 2, y_title, "middle", rotated=True)

    def x(self, value):
        first, last = self.x_range
        return self.left + self.width * (value - first) / (last - first)

    def y(self, value):
        first, last = self.y_range
        return self.top + self.height * (last - value) / (last - first)

    def point(self, x, y, label, color, interval=None, below=False):
        """Draws a point with its label, and a bar for the interval of `x` on the label's side."""
        side = 1 if below else -1
        if interval:
            low, high = (self.x(min(value, self.x_range[1])) for value in interval)
            bar = self.y(y) + 3 * side
            self.drawing.line((low, bar), (high, bar), color=color, width=2)
        self.drawing.dot(self.x(x), self.y(y), color)
        self.drawing.text(
            self.x(x), self.y(y) + (20 if below else -10), label, "middle", bold=True, color=color
        )

    def mark(self, x, label, color):
        """Draws a vertical line at `x`, for a network without a value of `y`."""
        bottom = self.top + self.height
        self.drawing.line((self.x(x), self.top), (self.x(x), bottom), color=color, dashed=True)
        self.drawing.text(self.x(x) - 6, bottom - 8, label, "end", bold=True)


def plot(manifest, reports):
    """Returns the plot as the text of an SVG file.

    Args:
        manifest: the content of `weights/manifest.json`.
        reports: dict from runtime to the content of a report of `crosscbam benchmark --json`. Its
            contenders must have names such as `cross-cbam-m.onnx`.
    """
    drawing = Drawing(920, 400, "Accuracy against speed of the shipped weights and of the paper")
    _measured(drawing, manifest, reports)
    _published(drawing)
    return drawing.svg()


def _measured(drawing, manifest, reports):
    accuracy, missing = test_accuracy(manifest), set()
    titles = (
        "Shipped weights, CamVid",
        "time as a multiple of STDC1-Seg's (less is faster)",
        "test mean IoU, %",
    )
    axes = Axes(drawing, 70, [0, 0.25, 0.5, 0.75, 1, 1.25], [60, 61, 62, 63, 64, 65, 66], titles)
    for number, (runtime, report) in enumerate(reports.items()):
        x = axes.left + 120 * number
        drawing.dot(x + 5, 51, COLORS[number])
        drawing.text(x + 14, 55, runtime, color=COLORS[number])
        for letter, ratio in ratios(report).items():
            interval = (ratio["low"], ratio["high"])
            color, below = COLORS[number], number == 1
            if letter in accuracy:
                axes.point(ratio["median"], accuracy[letter], letter, color, interval, below)
            else:
                missing.add(letter)
                axes.mark(ratio["median"], f"{letter} *", color)
    if missing:
        drawing.text(
            axes.left, 385, f"* time only: no CamVid weights of {', '.join(sorted(missing))} ship"
        )


def _published(drawing):
    titles = (
        "The paper's figures, Cityscapes",
        "frames per second, GTX 1080 Ti (more is faster)",
        "validation mean IoU, %",
    )
    axes = Axes(drawing, 520, [50, 100, 150, 200, 250], [73, 74, 75, 76, 77, 78, 79], titles)
    for variant in VARIANTS.values():
        if variant.paper_val_miou is not None:
            axes.point(variant.paper_fps, variant.paper_val_miou, variant.name, COLORS[0])


def test_accuracy(manifest):
    """Returns a dict from the network's letter to mean IoU in percent on CamVid's test frames."""
    letters = {VARIANTS[letter].architecture: letter for letter in "SML"}
    return {
        letters[entry["architecture"]]: 100 * entry["test_mean_iou"]
        for entry in manifest["weights"]
        if entry["name"] == "camvid" and entry.get("test_mean_iou") is not None
    }


def ratios(report):
    """Returns a dict from the network's letter to its time relative to the reference."""
    found = {}
    for result in report["results"]:
        name = Path(result["contender"].rpartition(":")[2]).stem
        if result["scope"] == "network" and name.startswith("cross-cbam-"):
            found[name.removeprefix("cross-cbam-").upper()] = result["ratio"]
    return found


def figure():
    """Returns the plot of the committed figures."""
    reports = {name: json.loads(path.read_text("utf-8")) for name, path in REPORTS.items()}
    return plot(json.loads(MANIFEST.read_text("utf-8")), reports)


if __name__ == "__main__":
    PLOT.write_text(figure(), encoding="utf-8")
    print(PLOT)
