"""Large images in tiles that overlap, with scores that are blended where they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_crosscbam.confidence import Prediction, assess
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.coarse_logits import labels_of_scores
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.runtime.input_size import input_size
from keras_crosscbam.runtime.loading import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keras_crosscbam.types import ModelLike, Size


class Tiled(Runtime):
    """A runtime that sees images of any size through tiles of one size.

        >>> import numpy as np
        >>> import keras_crosscbam as kc
        >>> from keras_crosscbam.tiling import Tiled
        >>> model = kc.CrossCBAM_M(num_classes=11, input_shape=(None, None, 3))
        >>> Tiled(model, (64, 96), overlap=16)(np.zeros((90, 120, 3), np.uint8)).shape
        (90, 120)

    Where tiles overlap, their scores are averaged with weights that fall linearly towards the
    borders of each tile. Where one tile alone covers a pixel, its scores are that tile's. The last
    tiles of a row or a column lie at the border of the image; an image smaller than a tile is
    extended by its outermost pixels.

    What a network says of a tile is what it says of the whole image only as far as no pixel outside
    the tile matters to it. The gates of Cross-CBAM depend on averages and maxima over all that it
    sees, so its labels are alike, not equal.

    `predict` and `assess` hold the scores of one row of tiles at a time.

    Args:
        run: what `keras_crosscbam.runtime.load` takes.
        tile: `(height, width)` of the tiles; None for the size that the network is fixed to.
        overlap: how many pixels neighboring tiles have in common, less than a tile's sides; more
            where the last tiles are moved inwards.
        batch: how many tiles are run at once, where the network takes any number.

    Raises:
        ValueError: for other values, and for a network that gives labels alone.
    """

    reuses_output = False

    def __init__(
        self, run: ModelLike, tile: Size | None = None, overlap: int = 64, batch: int = 1
    ) -> None:
        run = load(run)
        run.check_scores()
        if tile is None and run.size is None:
            raise ValueError(f"{run.name} takes any size: say which `tile` (height, width) to use.")
        sides = tuple(tile or run.size or ())
        if len(sides) != 2 or min(sides) < 1:
            raise ValueError(f"`tile` must be (height, width), both positive. Received: {tile}")
        run.check_size((sides[0], sides[1]))
        if not isinstance(overlap, int) or not 0 <= overlap < min(sides):
            raise ValueError(
                f"`overlap` must be a number of pixels from 0 to {min(sides) - 1}, less than the "
                f"sides of a tile of {sides[0]}x{sides[1]}. Received: {overlap}"
            )
        self.inner, self.tile, self.overlap, self._step = run, sides, overlap, run.batch or batch
        self._weights = [_ramps(side, overlap) for side in sides]
        output = "probabilities" if run.description.output == "probabilities" else "logits"
        super().__init__(
            f"{run.name}, in tiles of {sides[0]}x{sides[1]}",
            None,
            run.num_classes,
            run.classes,
            description=Description(pixels="uint8", output=output),
            channels=run.channels,
        )

    def run(self, prepared: np.ndarray) -> np.ndarray:
        return np.stack([np.concatenate([*self.bands(image)]) for image in prepared])

    def predict(
        self, image: np.ndarray, size: Size | int | None = None, output_size: Size | None = None
    ) -> np.ndarray:
        if not self._is_taken_as_it_is(image, size, output_size):
            return super().predict(image, size, output_size)
        return np.concatenate([labels_of_scores(band[None])[0] for band in self.bands(image)])

    def assess(
        self, image: np.ndarray, size: Size | int | None = None, threshold: float | None = None
    ) -> Prediction:
        """Like `keras_crosscbam.confidence.assess` of the scores of an image, in less memory."""
        output = self.description.output
        if not self._is_taken_as_it_is(image, size, None):
            return assess(self.scores(image, size), output, threshold)
        parts = [assess(band, output, threshold) for band in self.bands(image)]
        return Prediction(*map(np.concatenate, zip(*parts, strict=True)))

    def _is_taken_as_it_is(self, image, size, output_size):
        """Whether nothing is resized, so that labels need not wait for all scores."""
        own = image.shape[:2]
        if image.ndim != 3:
            return False
        return input_size(own, size) == own and tuple(output_size or own) == own

    def bands(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """The scores of an image, from top to bottom.

        Args:
            image: uint8 RGB `(height, width, 3)`.

        Yields:
            float32 scores `(rows, width, classes)`, which the caller may keep.
        """
        height, width = image.shape[:2]
        below, right = (max(self.tile[axis] - image.shape[axis], 0) for axis in (0, 1))
        if below or right:
            image = np.pad(image, [(0, below), (0, right), (0, 0)], mode="edge")
        tops, lefts = (
            _starts(own, side, self.overlap)
            for own, side in zip(image.shape[:2], self.tile, strict=True)
        )
        carried = None
        for top, following in zip(tops, [*tops[1:], None], strict=True):
            band = self._row(image, top, lefts)
            if carried is not None:
                band[: len(carried)] += carried
            done = self.tile[0] if following is None else following - top
            carried = band[done:].copy()
            # Weights are products of those of rows and columns, and so are their sums.
            band = band[:done]
            yield self._normalized(band, top, tops, lefts)[: height - top, :width]

    def _row(self, image, top, lefts):
        """Weighted sums of scores of the tiles that begin at `top`."""
        (rows, columns), (height, width) = self._weights, self.tile
        total = np.zeros((height, image.shape[1], len(self.classes)), np.float32)
        for first in range(0, len(lefts), self._step):
            some = lefts[first : first + self._step]
            tiles = np.stack([image[top : top + height, left : left + width] for left in some])
            for left, scores in zip(some, self.inner.logits(tiles), strict=True):
                scores *= columns[:, None]
                scores *= rows[:, None, None]
                total[:, left : left + width] += scores
        return total

    def _normalized(self, band, top, tops, lefts):
        """Sums divided by the sums of their weights."""
        rows, columns = self._weights
        sums = np.zeros(lefts[-1] + len(columns), np.float32)
        for left in lefts:
            sums[left : left + len(columns)] += columns
        of_rows = np.zeros(tops[-1] + len(rows), np.float32)
        for other in tops:
            of_rows[other : other + len(rows)] += rows
        band /= sums[:, None]
        band /= of_rows[top : top + len(band), None, None]
        return band


def _ramps(side, overlap):
    """Weights of the pixels of a side: they rise over the overlap at either end, never from 0."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return np.minimum(distance / (overlap + 1), 1).astype(np.float32)


def _starts(own, side, overlap):
    """Where tiles begin along an axis: evenly, the last one at the end of the image."""
    last = own - side
    return [*range(0, last, side - overlap), last]
