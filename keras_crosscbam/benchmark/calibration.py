"""The constant of the roofline model, and its errors on published figures.

>>> from keras_crosscbam.benchmark.calibration import load_calibration
>>> calibration = load_calibration()
>>> calibration.card, calibration.precision
('gtx-1080-ti', 'fp32')
>>> 0 < calibration.efficiency < 1
True

`benchmarks/calibrate_estimate.py` writes the file that is read here.
"""

import json
from dataclasses import dataclass
from statistics import median

from keras_crosscbam.benchmark.roofline import fit_efficiency, seconds
from keras_crosscbam.images import ASSETS

CALIBRATION = ASSETS / "estimate_calibration.json"


@dataclass(frozen=True)
class PublishedFigure:
    """A published speed of a network, with the features of its graph.

    Attributes:
        network: name of the network.
        size: `(height, width)` of the image.
        fps: published frames per second.
        table: table of the Cross-CBAM paper.
        fitted: whether the constant is fitted on it; if not, it is left out for the check.
        kernels: number of kernels.
        ideal: seconds of the kernels at the card's peak rates.
    """

    network: str
    size: tuple[int, int]
    fps: float
    table: int
    fitted: bool
    kernels: int
    ideal: float


@dataclass(frozen=True)
class Calibration:
    """The fitted constant, and the figures that it was fitted on and checked on.

    Attributes:
        card: name of the card of the figures.
        precision: precision of the figures.
        efficiency: the share of the peak rates that kernels reach on average.
        figures: list of `PublishedFigure`.
    """

    card: str
    precision: str
    efficiency: float
    figures: list[PublishedFigure]

    def estimated(self, figure):
        """Returns the estimated seconds of a published figure."""
        return seconds(figure.ideal, figure.kernels, self.efficiency)

    def error(self, figure):
        """Returns the relative error of the estimated time; above 0 is too slow."""
        return self.estimated(figure) * figure.fps - 1

    @property
    def checked(self):
        """The figures that were left out of the fit."""
        return [figure for figure in self.figures if not figure.fitted]

    @property
    def errors(self):
        """Relative errors on the figures that were left out, a list."""
        return [self.error(figure) for figure in self.checked]

    @property
    def median_error(self):
        """Median of the absolute `errors`."""
        return median(map(abs, self.errors))

    @property
    def worst_error(self):
        """Largest of the absolute `errors`."""
        return max(map(abs, self.errors))


def calibrate(card, precision, figures):
    """Returns the `Calibration` whose efficiency is fitted on the figures marked as `fitted`."""
    fitted = [figure for figure in figures if figure.fitted]
    efficiency = fit_efficiency(
        ideal=[figure.ideal for figure in fitted],
        kernels=[figure.kernels for figure in fitted],
        published=[1 / figure.fps for figure in fitted],
    )
    return Calibration(card, precision, efficiency, figures)


def load_calibration():
    """Returns the `Calibration` of the package."""
    entries = json.loads(CALIBRATION.read_text())
    figures = [PublishedFigure(**{**e, "size": tuple(e["size"])}) for e in entries.pop("figures")]
    return Calibration(figures=figures, **entries)
