"""STDC2 from the weights of STDC1."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained import model_at_start, run
from training_program import TINY

import keras_crosscbam as kc
from keras_crosscbam.layers.conv import EPSILON
from keras_crosscbam.models.deepen import _unchanging, deepened
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.training import PRETRAINING_RECIPES, RECIPES, with_settings


def randomize(model, rng):
    """Weights as after a training: statistics and factors that are no ones and zeros."""
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.2, 0.2)
        if weight.name != "kernel":
            weight.assign(rng.uniform(low, high, weight.shape))


def saved(model, path):
    model.save_weights(path)
    return find_weights(path, model.name)


@pytest.fixture
def image(rng):
    return rng.uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)


def test_the_deep_encoder_gives_the_same_features(rng, image, tmp_path):
    shallow, deep = (build(include_top=False) for build in (kc.STDC1, kc.STDC2))
    shallow, deep = (kc.with_input_size(model, (64, 96)) for model in (shallow, deep))
    randomize(shallow, rng)
    deepened(saved(shallow, tmp_path / "s.weights.h5")).load_into(deep)
    for stage, features in shallow(image).items():
        np.testing.assert_allclose(deep(image)[stage], features, rtol=1e-4, atol=1e-4)
    changed = kc.STDC2(include_top=False, input_shape=(64, 96, 3))(image)
    assert np.abs(changed["stage3"] - shallow(image)["stage3"]).max() > 0.1


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_the_deep_network_gives_the_same_scores(rng, image, tmp_path, alpha):
    shallow, deep = (
        build(num_classes=5, input_shape=(64, 96, 3), aux_head=True, alpha=alpha)
        for build in (kc.CrossCBAM_M, kc.CrossCBAM_L)
    )
    randomize(shallow, rng)
    deepened(saved(shallow, tmp_path / "s.weights.h5")).load_into(deep)
    for head, scores in shallow(image).items():
        np.testing.assert_allclose(deep(image)[head], scores, rtol=1e-4, atol=1e-4)


@given(mean=st.floats(-3, 3), deviation=st.floats(0.05, 3))
def test_the_added_normalization_is_the_identity(mean, deviation):
    """Both with its statistics and with those of a batch of what it is made for."""
    drawn = np.random.default_rng(0).normal(mean, deviation, 200_000)
    passed = np.maximum(drawn, 0)
    gamma, beta, moving_mean, moving_variance = (
        array[0] for array in _unchanging(np.float32([deviation]), np.float32([mean]))
    )
    assert gamma == pytest.approx(np.sqrt(moving_variance + EPSILON))
    assert beta == moving_mean
    assert moving_mean == pytest.approx(passed.mean(), abs=0.02 * deviation)
    assert moving_variance == pytest.approx(passed.var(), abs=0.03 * deviation**2)


def test_only_a_whole_stdc1_can_be_deepened(tmp_path):
    weights = saved(kc.STDC2(include_top=False, input_shape=(64, 64, 3)), tmp_path / "s.weights.h5")
    with pytest.raises(
        ValueError, match=r"s\.weights\.h5 does not contain the weights of an STDC1"
    ):
        deepened(weights)
    with pytest.raises(ValueError, match="does not contain the weights of an STDC1"):
        deepened(replace(weights, variables={"classifier": weights.variables["stem_conv1/conv"]}))


def trained_deep(root, out, recipe):
    """The network after a training."""
    best = run(root, out, recipe)
    return kc.CrossCBAM("stdc2", num_classes=11, weights=best, **TINY.architecture)


@pytest.mark.parametrize(
    "train", [model_at_start, pytest.param(trained_deep, marks=pytest.mark.slow)]
)
def test_a_training_starts_from_it(made_camvid, tmp_path, train):
    """With a rate of 0 the weights stay as they were, statistics apart."""
    keras.utils.set_random_seed(1)
    shallow = kc.CrossCBAM("stdc1", (None, None, 3), num_classes=11, **TINY.architecture)
    saved(shallow, tmp_path / "s.weights.h5")
    recipe = replace(
        TINY,
        variant="L",
        phases=TINY.phases[:1],
        learning_rate=0.0,
        end_learning_rate=0.0,
        deepened_from=str(tmp_path / "s.weights.h5"),
    )
    deep = train(made_camvid, tmp_path / "run", recipe)
    for name in ("stage4_block2_conv3", "classifier"):
        kernels = (model.get_layer(name).weights[0] for model in (shallow, deep))
        np.testing.assert_array_equal(*kernels)
    copied = deep.get_layer("stage4_block5_conv3").weights[0]
    np.testing.assert_array_equal(copied, shallow.get_layer("stage4_block2_conv3").weights[0])


def test_a_recipe_starts_from_one_thing():
    recipe = PRETRAINING_RECIPES["imagenet20-stdc2"]
    assert recipe.deepened_from == "imagenet20"
    with pytest.raises(ValueError, match="Received: weights and deepened_from"):
        with_settings(recipe, ["weights=other.weights.h5"])
    with pytest.raises(ValueError, match="leave out `backbone_weights`"):
        with_settings(RECIPES["camvid-m"], ["deepened_from=camvid"])
