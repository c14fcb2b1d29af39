"""The batches of a training whose crops change their size on the way."""

from functools import reduce

from keras_crosscbam.private_api import with_unknown_shape


def in_phases(recipe, steps_per_epoch, start_step, batches_of):
    """The batches of all phases of a recipe, one after the other.

    Args:
        recipe: an `Optimization`.
        steps_per_epoch: steps of an epoch.
        start_step: the step, counted from 0, to start with.
        batches_of: function of a phase, a first step and the step to end before, that makes a
            `tf.data.Dataset` of images and what belongs to them.
    """
    phases, first = [], 0
    for phase in recipe.phases:
        last = first + phase.epochs * steps_per_epoch
        # A phase that is over stays, empty: with it the batches keep their dynamic shape, and so
        # the traced network its rounding.
        phases.append(batches_of(phase, min(max(start_step, first), last), last))
        first = last
    batches = reduce(lambda a, b: a.concatenate(b), phases)
    if len({phase.crop_size for phase in recipe.phases}) == 1:
        return batches
    return batches.map(lambda images, *labels: (_of_any_size(images), *labels))


def _of_any_size(images):
    # Neither side known: with one alone TensorFlow pads dilated convolutions wrongly on a CPU.
    batch, _, _, channels = images.shape
    return with_unknown_shape(images, (batch, None, None, channels))
