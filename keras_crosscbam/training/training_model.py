"""The network that a training starts with."""

import dataclasses

from keras_crosscbam.models.class_names import rewired
from keras_crosscbam.models.cross_cbam import CrossCBAM
from keras_crosscbam.models.surgery import as_functional, freeze_backbone
from keras_crosscbam.training.recipe import STARTS
from keras_crosscbam.training.teachers import with_teachers
from keras_crosscbam.variants import encoder_name


def training_model(train_set, recipe, run, teachers, build=None):
    """Builds the network to train, with the weights to start from.

    Args:
        train_set: the `SegmentationDataset` to train on.
        recipe: a `Recipe`.
        run: the `Run`.
        teachers: the result of `find_teachers`.
        build: as in `keras_crosscbam.training.train`.

    Returns:
        A functional `keras.Model` with a dict of outputs: `"main"`, `"aux"` for the network of the
        recipe, and `"distilled"` with teachers.
    """
    if build:
        model = built_model(build, train_set)
        if not isinstance(model.output, dict):
            model = rewired(model, model.input, {"main": model.output})
    else:
        model = _cross_cbam(train_set, recipe, run)
    if teachers:
        return with_teachers(model, teachers, recipe.teacher_architecture)
    return model


def built_model(build, dataset):
    """Returns the network of `build` for a data set, as a functional model.

    Raises:
        ValueError: if `build` returns neither a functional nor a sequential model.
    """
    model = build((None, None, dataset.channels), dataset.classes)
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`build` must return a functional or sequential `keras.Model`. "
            f"Received: {type(model).__name__}"
        )
    return as_functional(model)


def _cross_cbam(train_set, recipe, run):
    network = recipe.network
    backbone, alpha = network["backbone"], network["alpha"]
    model = CrossCBAM(
        **network,
        input_shape=(None, None, train_set.channels),
        classes=train_set.classes,
        aux_head=True,
        dropout_rate=recipe.dropout_rate,
        weights=run.weights,
        backbone_weights=None if run.state else recipe.backbone_weights,
    )
    run.deepen(model, f"cross_cbam_{encoder_name('stdc1', alpha)}")
    run.narrow(model, f"cross_cbam_{backbone}", backbone)
    if recipe.backbone_rate == 0:
        freeze_backbone(model)
    return model


def check_recipe_for_build(recipe):
    """Raises a `ValueError` if a recipe sets what the argument `build` of `train` replaces."""
    fields = ("architecture", "backbone_weights", "backbone_rate", *STARTS)
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    defaults["architecture"] = {}
    if given := [name for name in fields if getattr(recipe, name) != defaults[name]]:
        raise ValueError(
            "`build` returns the network with the weights to start from, so the recipe must leave "
            f"out {', '.join(f'`{name}`' for name in fields)}. Received: {', '.join(given)}"
        )
