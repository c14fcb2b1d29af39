"""Narrow networks from the weights of wide ones."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from trained import model_at_start, run
from training_program import TINY

import keras_crosscbam as kc
from keras_crosscbam.models.narrow import narrowed
from keras_crosscbam.models.weights import Weights, find_weights, variables_of
from keras_crosscbam.training import RECIPES, SegmentationCrossEntropy, with_settings

WIDE, NARROW = 0.25, 0.125
SIZE = (65, 97, 3)


def network(alpha, **switches):
    return kc.CrossCBAM(input_shape=SIZE, num_classes=5, aux_head=True, alpha=alpha, **switches)


def weights_of(model):
    arrays = {
        path: [keras.ops.convert_to_numpy(v) for v in variables]
        for path, variables in variables_of(model).items()
    }
    return Weights("wide.weights.h5", arrays, {})


def randomize(model, rng):
    """Weights as after a training: statistics and factors that are no ones and zeros."""
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) * rng.choice([-1, 1], weight.shape))
        elif weight.name == "moving_variance":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name != "kernel":
            weight.assign(rng.uniform(-0.2, 0.2, weight.shape))


def silence_half(model, rng):
    """Makes half of the channels of each layer zero for every image, the same where they meet."""
    layers = variables_of(model)
    halves = {}

    def half_of(size):
        return rng.permutation(np.arange(size) < size // 2)

    for path in layers:
        if path.endswith("/bn") and "branch_rate" not in path:
            halves[path] = half_of(layers[path][0].shape[0])
    if "se_aspp/project/bn" in halves:
        # SE-ASPP's branches are added. CCBAM multiplies its outcome with the outputs of `lateral4`
        # and then with those of stage 3, which are concatenated.
        branches = [path for path in layers if "branch_rate" in path and path.endswith("/bn")]
        halves |= dict.fromkeys(branches, half_of(layers[branches[0]][0].shape[0]))
        parts = [halves[f"stage3_block2_conv{part}/bn"] for part in (1, 2, 3, 4)]
        halves["se_aspp/project/bn"] = halves["lateral4/bn"] = np.concatenate(parts)
    for stage in (3, 4, 5):
        path = f"stage{stage}_block1"
        halves[f"{path}_down_bn"] = halves[f"{path}_conv1/bn"]
    for path, half in halves.items():
        for variable in layers[path][:2]:
            variable.assign(np.where(half, variable, 0))
    for path, variables in layers.items():
        if path.endswith("/reduce") or path == "top_dense":
            half = half_of(variables[0].shape[-1])
            for variable in variables:
                variable.assign(np.where(half, variable, 0))
        if path.endswith("spatial_attention/conv"):
            # The mean over all channels is another one without those of zeros.
            variables[0].assign(variables[0] * np.float32([1, 0])[None, None, :, None])


def assert_same_outputs(wide, narrow, image):
    expected, actual = wide(image), narrow(image)
    for name in expected:
        assert np.ptp(expected[name]) > 0.1
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.fixture
def image(rng):
    return rng.uniform(0, 255, (2, *SIZE)).astype(np.float32)


def test_what_computes_nothing_is_left_out_of_the_network(rng, image):
    """Everywhere at once: only then is the narrow network the same function as the wide one."""
    wide, narrow = network(WIDE), network(NARROW)
    randomize(wide, rng)
    silence_half(wide, rng)
    narrowed(weights_of(wide), narrow).load_into(narrow)
    assert_same_outputs(wide, narrow, image)


@pytest.mark.parametrize("backbone", ["stdc1", "stdc2"])
def test_what_computes_nothing_is_left_out_of_the_classifier(rng, image, backbone):
    wide, narrow = (
        kc.STDC(backbone, SIZE, 6, alpha=alpha, classifier_activation=None)
        for alpha in (WIDE, NARROW)
    )
    randomize(wide, rng)
    silence_half(wide, rng)
    narrowed(weights_of(wide), narrow).load_into(narrow)
    expected = keras.ops.convert_to_numpy(wide(image))
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(narrow(image), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "switches",
    [
        {"aspp_filters": 128},
        {"aspp_filters": 512},
        {"aspp_dilation_rates": (1, 2, 4)},
        {"fusion": "sum"},
        {"fusion": "sum", "aspp_filters": 512},
        {"fusion": None},
        {"use_se_aspp": False},
        {"use_se_aspp": False, "fusion": None, "backbone": "stdc2"},
    ],
    ids=str,
)
def test_every_structure_is_cut_to_its_shapes(switches):
    """With every other channel's factor at 0: those are what goes."""
    wide, narrow = network(WIDE, **switches), network(NARROW, **switches)
    for path, (gamma, *_) in variables_of(wide).items():
        if path.endswith("bn"):
            gamma.assign(np.arange(gamma.shape[0]) % 2)
    narrowed(weights_of(wide), narrow).load_into(narrow)
    for path, (gamma, *_) in variables_of(narrow).items():
        if path.endswith("bn"):
            np.testing.assert_array_equal(gamma, 1.0, err_msg=path)


def test_an_equally_wide_network_takes_over_everything(rng):
    model = network(NARROW)
    randomize(model, rng)
    weights = weights_of(model)
    same = narrowed(weights, network(NARROW)).variables
    assert same.keys() == weights.variables.keys()
    for path, arrays in weights.variables.items():
        for actual, expected in zip(same[path], arrays, strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_an_encoder_alone_is_narrowed_for_a_network(rng):
    classifier, model = kc.STDC1(input_shape=SIZE, num_classes=3, alpha=WIDE), network(NARROW)
    randomize(classifier, rng)
    weights = narrowed(weights_of(classifier), model)
    assert not weights.reach_beyond_encoder(model)
    weights.load_into(model, backbone_only=True)
    kernel = model.get_layer("stage5_block2_conv4").conv.kernel
    wide = classifier.get_layer("stage5_block2_conv4")
    strongest = np.sort(np.argsort(-np.abs(wide.bn.gamma.numpy()))[: kernel.shape[-1]])
    inputs = np.argsort(-np.abs(classifier.get_layer("stage5_block2_conv3").bn.gamma.numpy()))
    inputs = np.sort(inputs[: kernel.shape[2]])
    np.testing.assert_array_equal(kernel, wide.conv.kernel.numpy()[:, :, inputs][..., strongest])


@pytest.mark.parametrize(
    ("given", "wanted", "message"),
    [
        (
            {"alpha": NARROW},
            {"alpha": WIDE},
            r"wide\.weights\.h5 cannot be narrowed to fit the model 'cross_cbam_stdc1_025': "
            "stem_conv1/conv has 4 channels, the model 8",
        ),
        (
            {"aspp_filters": 128},
            {},
            "cannot be narrowed .*reduce has 32 channels but its input has 64",
        ),
        ({"aspp_filters": 512}, {}, "lateral4/conv is missing.*No weights were changed"),
        ({}, {"aspp_dilation_rates": (1, 3, 5)}, "branch_rate5/conv is missing"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(given, wanted, message):
    wide, model = network(**{"alpha": WIDE, **given}), network(**{"alpha": NARROW, **wanted})
    with pytest.raises(ValueError, match=message):
        narrowed(weights_of(wide), model).load_into(model)


def test_narrowed_weights_start_better_than_random_ones(data_root):
    """The loss of S on real frames, by the statistics of the batch as in the first step."""
    frames = kc.datasets.load_camvid(data_root / "camvid-480x360", "train")
    images, labels = (np.stack(x)[:, ::2, ::2] for x in zip(frames[0], frames[200], strict=True))
    model = kc.CrossCBAM_S(input_shape=(180, 240, 3), num_classes=11, dropout_rate=0.0)
    loss, images = SegmentationCrossEntropy(), images.astype(np.float32)
    random = float(loss(labels, model(images, training=True)))
    narrowed(find_weights("camvid", "cross_cbam_stdc1"), model).load_into(model)
    started = float(loss(labels, model(images, training=True)))
    print(f"loss {random:.2f} from random weights, {started:.2f} from narrowed ones")
    assert started < 0.6 * random


def trained_narrow(root, out, recipe):
    """The network after a training."""
    best = run(root, out, recipe)
    return kc.CrossCBAM(
        input_shape=(None, None, 3), num_classes=11, weights=best, **recipe.architecture
    )


@pytest.mark.parametrize("kind", ["network", "encoder"])
@pytest.mark.parametrize(
    "train", [model_at_start, pytest.param(trained_narrow, marks=pytest.mark.slow)]
)
def test_a_training_starts_from_it(made_camvid, tmp_path, rng, train, kind):
    """With a rate of 0 the weights stay as they were, statistics apart."""
    switches = {"use_se_aspp": False, "fusion": None}
    build = {
        "network": lambda **kw: kc.CrossCBAM(num_classes=11, **switches, **kw),
        "encoder": lambda **kw: kc.STDC1(num_classes=3, **kw),
    }[kind]
    wide = build(input_shape=(None, None, 3), alpha=WIDE)
    randomize(wide, rng)
    wide.save_weights(tmp_path / "wide.weights.h5")
    recipe = replace(
        TINY,
        phases=TINY.phases[:1],
        architecture={"alpha": NARROW, **switches},
        learning_rate=0.0,
        end_learning_rate=0.0,
        narrowed_from=str(tmp_path / "wide.weights.h5"),
    )
    trained = train(made_camvid, tmp_path / "run", recipe)
    arguments = {"input_shape": (None, None, 3), "num_classes": 11, "alpha": NARROW, **switches}
    expected = kc.CrossCBAM(**arguments)
    narrowed(weights_of(wide), expected).load_into(expected, backbone_only=kind == "encoder")
    for name in ("stage4_block2_conv3", "classifier")[: 1 + (kind == "network")]:
        kernels = (model.get_layer(name).weights[0] for model in (trained, expected))
        np.testing.assert_array_equal(*kernels)


def test_a_recipe_starts_from_one_thing():
    with pytest.raises(ValueError, match="Received: weights and narrowed_from"):
        with_settings(RECIPES["finetune-m"], ["narrowed_from=camvid"])
    with pytest.raises(ValueError, match="leave out `backbone_weights`"):
        with_settings(RECIPES["camvid-m"], ["narrowed_from=camvid"])
