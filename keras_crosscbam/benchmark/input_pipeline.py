"""Measures the speed of the input pipeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_crosscbam.datasets.dataset import SegmentationDataset
    from keras_crosscbam.types import Size


def pipeline_throughput(
    dataset: SegmentationDataset,
    crop_size: Size,
    batch_size: int,
    seconds: float = 5.0,
    rounds: int = 5,
    **options: Any,
) -> list[float]:
    """Measures the number of augmented training images per second of the input pipeline.

    The first epoch, in which the frames are read and cached, is not counted.

    Args:
        dataset: a `SegmentationDataset`.
        crop_size: `(height, width)` of the crops.
        batch_size: number of images in a batch.
        seconds: duration of a round.
        rounds: number of rounds.
        options: further arguments of `training_batches`.

    Returns:
        A list of images per second, one for each round.
    """
    from keras_crosscbam.datasets.pipeline import steps_per_epoch, training_batches

    batches = iter(training_batches(dataset, crop_size, batch_size, **options))
    for _ in range(steps_per_epoch(dataset, batch_size)):
        next(batches)
    rates = []
    for _ in range(rounds):
        images, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            next(batches)
            images += batch_size
        rates.append(images / (time.perf_counter() - started))
    return rates
