"""Optimizers agree with PyTorch's, slow the encoder alone, and accumulate as a larger batch."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import torch

from keras_crosscbam.training import SGD, AdamW, Phase, PolySchedule, Recipe
from keras_crosscbam.training.optimizers import make_optimizer

RECIPE = Recipe(name="tiny", variant="M", phases=(Phase(1, (64, 64)),), warmup_steps=0)

OPTIMIZERS = {
    "sgd": (
        lambda **options: SGD(0.05, momentum=0.9, l2=0.02, **options),
        lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.02),
    ),
    "adamw": (
        lambda **options: AdamW(0.01, weight_decay=0.1, epsilon=1e-8, **options),
        lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1, eps=1e-8),
    ),
}
both = pytest.mark.parametrize("name", OPTIMIZERS)


def network(names=("stem_conv1", "head")):
    """Two dense layers with a bend between them."""
    image = keras.Input((3,))
    x = keras.layers.Dense(4, activation="tanh", name=names[0])(image)
    return keras.Model(image, keras.layers.Dense(2, name=names[1])(x))


def in_torch(model):
    """The same network in PyTorch, with a copy of the weights."""
    layers = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
    for layer, ours in zip(layers, model.layers[1:], strict=True):
        kernel, bias = ours.get_weights()
        layer.weight.data, layer.bias.data = torch.tensor(kernel.T), torch.tensor(bias)
    return torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1])


def data(steps, batch_size=4):
    rng = np.random.default_rng(1)
    shape = (steps, batch_size)
    return zip(
        rng.normal(size=(*shape, 3)).astype("float32"),
        rng.normal(size=(*shape, 2)).astype("float32"),
        strict=True,
    )


def train(model, optimizer, batches):
    model.compile(optimizer, "mse")
    for x, y in batches:
        model.train_on_batch(x, y)
    return model.get_weights()


def train_in_torch(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    return [parameter.detach().numpy().T for parameter in model.parameters()]


def assert_close(actual, expected, atol=1e-6):
    for array, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(array, other, atol=atol, rtol=0)


@both
def test_optimizers_agree_with_pytorch(name):
    ours, theirs = OPTIMIZERS[name]
    model = network()
    start, reference = model.get_weights(), in_torch(model)
    expected = train_in_torch(reference, theirs(reference.parameters()), data(12))
    actual = train(model, ours(), data(12))
    assert_close(actual, expected)
    assert all(np.abs(a - s).max() > 0.01 for a, s in zip(actual, start, strict=True))


def test_l2_is_not_keras_own_weight_decay():
    """With momentum 0.9, what PyTorch adds to the gradient decays about ten times as much."""
    norms = []
    for optimizer in (SGD(0.01, momentum=0.9, l2=0.1), SGD(0.01, momentum=0.9, weight_decay=0.001)):
        model = network()
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        optimizer.build(model.trainable_variables)
        for _ in range(60):
            optimizer.apply([keras.ops.zeros_like(w) for w in model.trainable_variables])
        norms.append(float(np.mean(model.get_weights()[0])))
    l2, decay = (-np.log(norm) for norm in norms)
    assert decay == pytest.approx(60 * 0.01 * 0.001, rel=0.01)
    assert 800 < l2 / decay < 1000


def test_a_slow_encoder_is_a_parameter_group_in_pytorch():
    model = network(names=("stage4_block1_conv1", "se_aspp"))
    reference = in_torch(model)
    groups = [
        {"params": reference[0].parameters(), "lr": 0.05 * 0.1},
        {"params": reference[2].parameters()},
    ]
    expected = train_in_torch(reference, OPTIMIZERS["sgd"][1](groups), data(8))
    assert_close(train(model, OPTIMIZERS["sgd"][0](backbone_rate=0.1), data(8)), expected)


# Every kind of layer name that the network has, and whether it is the encoder's.
NAMES = {
    "stem_conv1": True,
    "stage3_block1_conv1": True,
    "stage5_block2_down_conv": True,
    "se_aspp": False,
    "top_conv": False,
    "ccbam4_low_channel_attention": False,
    "aux_classifier": False,
    "classifier": False,
}


@both
@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_the_rate_is_for_the_encoders_layers_alone(name, rate):
    """One step from the same place: the encoder's weights move by `rate` times as much."""
    image = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=layer)(image) for layer in NAMES]
    model = keras.Model(image, keras.layers.Concatenate()(outputs))
    start = model.get_weights()
    # No decay: AdamW's keeps the full rate.
    plain = {"sgd": {"l2": 0.0}, "adamw": {"weight_decay": 0.0}}[name]
    make = {"sgd": SGD, "adamw": AdamW}[name]
    moves = []
    for backbone_rate in (1.0, rate):
        model.set_weights(start)
        optimizer = make(0.01, backbone_rate=backbone_rate, **plain)
        optimizer.apply([keras.ops.ones_like(w) for w in model.weights], model.weights)
        moves.append([a - s for a, s in zip(model.get_weights(), start, strict=True)])
    layers = [layer for layer in NAMES for _ in range(2)]  # kernel and bias
    for layer, full, slowed in zip(layers, *moves, strict=True):
        assert np.abs(full).min() > 0.009
        factor = rate if NAMES[layer] else 1.0
        np.testing.assert_allclose(slowed, factor * full, atol=1e-7, err_msg=layer)


@both
def test_serialization_round_trip(name):
    schedule = PolySchedule(0.1, 10, end_learning_rate=0.01)
    make, options = {"sgd": (SGD, {"l2": 0.3}), "adamw": (AdamW, {"weight_decay": 0.2})}[name]
    optimizer = make(schedule, backbone_rate=0.5, use_ema=True, ema_momentum=0.7, **options)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    assert again.backbone_rate == 0.5
    for key, value in options.items():
        assert getattr(again, key) == value


@both
def test_a_compiled_model_keeps_its_optimizer_through_a_file(name, tmp_path):
    """Loaded in the middle, it goes on as if nothing had been."""
    batches = list(data(6))
    model = network()
    train(model, OPTIMIZERS[name][0](backbone_rate=0.5), batches[:3])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for other in (model, again):
        for x, y in batches[3:]:
            other.train_on_batch(x, y)
    assert_close(again.get_weights(), model.get_weights())


# What recipes make of them


def recipe_with(name, **changes):
    decay = {"sgd": 0.02, "adamw": 0.1}[name]
    return replace(
        RECIPE,
        optimizer=name,
        learning_rate=0.05,
        end_learning_rate=0.05,
        weight_decay=decay,
        **changes,
    )


@both
def test_a_recipes_optimizer_is_pytorchs(name):
    model = network()
    reference = in_torch(model)
    theirs = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.02),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1, eps=1e-7),
    }[name](reference.parameters())
    # Where gradients are small, Keras' epsilon weighs more in the first steps.
    atol = {"sgd": 1e-6, "adamw": 3e-4}[name]
    expected = train_in_torch(reference, theirs, data(6))
    assert_close(train(model, make_optimizer(recipe_with(name), 6), data(6)), expected, atol)


@both
def test_accumulated_batches_make_one_large_batch(name):
    small = list(data(8, batch_size=3))
    large = [
        tuple(np.concatenate([small[step + i][part] for i in range(4)]) for part in range(2))
        for step in (0, 4)
    ]
    model = network()
    start = model.get_weights()
    accumulated = train(model, make_optimizer(recipe_with(name, accumulate=4), 8), small)
    model.set_weights(start)
    assert_close(accumulated, train(model, make_optimizer(recipe_with(name), 2), large))


@both
def test_nothing_moves_before_the_gradients_are_together(name):
    model = network()
    start = model.get_weights()
    after = train(model, make_optimizer(recipe_with(name, accumulate=4), 8), data(3))
    assert_close(after, start, atol=0)


@both
def test_averaged_weights_follow_the_weights(name):
    model = network()
    optimizer = make_optimizer(recipe_with(name, ema=0.75), 5)
    model.compile(optimizer, "mse")
    average = None
    for x, y in data(5):
        model.train_on_batch(x, y)
        weights = model.get_weights()
        # It begins with the weights after the first step.
        average = (
            weights
            if average is None
            else [0.75 * a + 0.25 * w for a, w in zip(average, weights, strict=True)]
        )
    assert_close(
        map(keras.ops.convert_to_numpy, optimizer._model_variables_moving_average), average
    )


def test_no_average_without_ema():
    assert not make_optimizer(recipe_with("sgd"), 5).use_ema


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_rate_falls_over_the_whole_training(accumulate):
    """To its end at the last step, however many steps make an update."""
    steps = 40
    recipe = replace(
        RECIPE, learning_rate=0.1, end_learning_rate=0.01, warmup_steps=0, accumulate=accumulate
    )
    model = network()
    model.compile(make_optimizer(recipe, steps), "mse")
    rates = [float(model.optimizer.learning_rate)]
    for x, y in data(steps):
        model.train_on_batch(x, y)
        rates.append(float(model.optimizer.learning_rate))
    assert rates[0] == pytest.approx(0.1)
    assert rates[steps // 2] == pytest.approx(0.09 * 0.5**0.9 + 0.01)
    assert rates[steps] == pytest.approx(0.01)
