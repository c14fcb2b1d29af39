"""Speed of the input pipeline, measured in rounds."""

import time


def pipeline_throughput(dataset, crop_size, batch_size, seconds=5.0, rounds=5, **options):
    """Measures how many augmented training images a second the pipeline delivers.

    The first epoch, in which the frames are read and cached, is not counted.

    Args:
        dataset: a `SegmentationDataset`.
        crop_size: `(height, width)` of the crops.
        batch_size: images a batch.
        seconds: length of a round.
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
