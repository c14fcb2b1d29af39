"""Batches of a training whose crop size changes between phases."""

from functools import reduce

from keras_crosscbam.private_api import with_unknown_shape


def in_phases(recipe, steps_per_epoch, start_step, batches_of):
    """Concatenates the batches of all phases of a recipe.

    Args:
        recipe: an `Optimization`.
        steps_per_epoch: number of steps in an epoch.
        start_step: first step, counted from 0.
        batches_of: function of a phase, a start step and a stop step (exclusive) that returns a
            `tf.data.Dataset` of images and labels.

    Returns:
        A `tf.data.Dataset`. With more than one crop size, the size of the images is unknown.
    """
    phases, first = [], 0
    for phase in recipe.phases:
        last = first + phase.epochs * steps_per_epoch
        # Finished phases are kept as empty data sets. So the batches have the same dynamic shape
        # in a resumed training, and the traced network has the same rounding errors.
        phases.append(batches_of(phase, min(max(start_step, first), last), last))
        first = last
    batches = reduce(lambda a, b: a.concatenate(b), phases)
    if len({phase.crop_size for phase in recipe.phases}) == 1:
        return batches
    return batches.map(lambda images, *labels: (_of_any_size(images), *labels))


def _of_any_size(images):
    # With one known and one unknown side TensorFlow pads dilated convolutions wrongly on a CPU.
    batch, _, _, channels = images.shape
    return with_unknown_shape(images, (batch, None, None, channels))
