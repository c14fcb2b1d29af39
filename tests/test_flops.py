"""The counter against the paper's figures to the last digit, and against hand-counted models."""

import functools
import math

import keras
import pytest
from keras import layers

import keras_crosscbam
from keras_crosscbam.flops import count_layers, count_macs, table
from keras_crosscbam.layers import GateConv2D

# Tables 5 and 6 of the paper, 512x1024, 19 classes: rates, width, parameters, MACs by MMCV.
PAPER = [
    ((1, 3), 256, 12_209_426, 11_313_265_408),
    ((2, 4), 256, 14_306_578, 12_387_007_232),
    ((3, 5), 256, 14_306_578, 12_387_007_232),
    ((1, 3, 5), 256, 14_569_234, 12_521_356_032),
    ((2, 4, 6), 256, 16_666_386, 13_595_097_856),
    ((1, 3), 512, 19_535_410, 14_772_487_552),
    ((1, 3), 128, 8_922_738, 9_671_471_488),
]

# The named variants without an auxiliary head, 19 classes.
MACS_BY_SIZE = [
    ("stdc1", (512, 1024), 11_313_265_408),
    ("stdc1", (768, 1536), 25_454_101_248),
    ("stdc1", (720, 960), 15_054_961_776),
    ("stdc2", (512, 1024), 17_914_575_616),
    ("stdc2", (768, 1536), 40_307_049_216),
    ("stdc2", (720, 960), 23_790_070_896),
]


# Half as wide: CrossCBAM_S1, _S2 and _S. Classes, size, MACs by MMCV, of convolutions alone.
SMALL = [
    (19, (512, 1024), 2_875_780_480, 2_855_854_080),
    (19, (768, 1536), 6_470_317_440, 6_425_487_360),
    (11, (720, 960), 3_820_728_432, 3_794_520_816),
]


@functools.cache
def cross_cbam(backbone="stdc1", rates=(1, 3), filters=256, aux_head=True):
    return keras_crosscbam.CrossCBAM(
        backbone,
        input_shape=(None, None, 3),
        num_classes=19,
        aspp_filters=filters,
        aspp_dilation_rates=rates,
        aux_head=aux_head,
    )


def trainable_parameters(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def of_layers(*stack, shape=(9, 11, 3)):
    inputs = outputs = keras.Input(shape)
    for layer in stack:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(("rates", "filters", "parameters", "macs"), PAPER)
def test_parameters_with_and_macs_without_auxiliary_head(rates, filters, parameters, macs):
    model = cross_cbam(rates=rates, filters=filters)
    assert trainable_parameters(model) == parameters
    assert count_macs(model, input_size=(512, 1024)) == macs


@pytest.mark.parametrize(
    ("backbone", "aux_head", "parameters"),
    [("stdc1", False, 11_616_895), ("stdc2", False, 15_647_359), ("stdc2", True, 16_239_890)],
)
def test_parameters_of_the_variants(backbone, aux_head, parameters):
    assert trainable_parameters(cross_cbam(backbone, aux_head=aux_head)) == parameters


@pytest.mark.parametrize(("backbone", "size", "macs"), MACS_BY_SIZE)
def test_macs_of_the_variants(backbone, size, macs):
    assert count_macs(cross_cbam(backbone, aux_head=False), input_size=size) == macs


@pytest.mark.parametrize(("backbone", "parameters"), [("stdc1", 5_318_304), ("stdc2", 9_348_768)])
def test_parameters_of_the_backbones(backbone, parameters):
    model = keras_crosscbam.STDC(backbone, input_shape=(None, None, 3), include_top=False)
    assert trainable_parameters(model) == parameters


@pytest.mark.parametrize(("classes", "size", "mmcv", "conv"), SMALL)
def test_macs_of_the_small_variants(classes, size, mmcv, conv):
    model = keras_crosscbam.CrossCBAM(
        input_shape=(None, None, 3), num_classes=classes, alpha=0.5, aux_head=True
    )
    assert count_macs(model, input_size=size) == mmcv
    assert count_macs(model, "conv", input_size=size) == conv


@pytest.mark.parametrize(
    ("classes", "aux_head", "parameters", "with_statistics"),
    [(19, False, 2_910_543, 2_916_271), (19, True, 3_059_362, 3_065_218)],
)
def test_parameters_of_the_small_variants(classes, aux_head, parameters, with_statistics):
    model = keras_crosscbam.CrossCBAM_S1(num_classes=classes, aux_head=aux_head)
    assert trainable_parameters(model) == parameters
    assert model.count_params() == with_statistics


def test_parameters_of_the_small_backbone():
    model = keras_crosscbam.STDC1(input_shape=(None, None, 3), include_top=False, alpha=0.5)
    assert trainable_parameters(model) == 1_334_096


# On 9x11x3 by hand: convolution MACs, and what MMCV adds to them.
BY_HAND = {
    "conv with bias": ([layers.Conv2D(4, 3, padding="same")], 9 * 11 * 3 * 3 * 3 * 4, 9 * 11 * 4),
    "conv without bias": ([layers.Conv2D(4, 3, use_bias=False)], 7 * 9 * 3 * 3 * 3 * 4, 0),
    "strided conv": ([layers.Conv2D(4, 3, strides=2, use_bias=False)], 4 * 5 * 3 * 3 * 3 * 4, 0),
    "dilated conv": (
        [layers.Conv2D(4, 3, dilation_rate=2, use_bias=False)],
        5 * 7 * 3 * 3 * 3 * 4,
        0,
    ),
    "grouped conv": ([layers.Conv2D(6, 3, groups=3, use_bias=False)], 7 * 9 * 3 * 3 * 1 * 6, 0),
    "conv with ReLU": (
        [layers.Conv2D(4, 1, use_bias=False, activation="relu")],
        9 * 11 * 3 * 4,
        9 * 11 * 4,
    ),
    "depthwise conv": ([layers.DepthwiseConv2D(3, use_bias=False)], 7 * 9 * 3 * 3 * 3, 0),
    "gate": ([GateConv2D(2)], 9 * 11 * 3 * 2, 2 * 9 * 11 * 2),  # bias, and MMCV's ReLU
    "ReLU": ([layers.ReLU()], 0, 9 * 11 * 3),
    "pooling": ([layers.AveragePooling2D(2)], 0, 9 * 11 * 3),
    # MMCV pads inside the pooling: it counts 9x11, not the 11x13 that Keras pools over.
    "padded pooling": ([layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2)], 0, 9 * 11 * 3),
    "padded conv": (
        [layers.ZeroPadding2D(1), layers.Conv2D(4, 3, use_bias=False)],
        9 * 11 * 3 * 3 * 3 * 4,
        0,
    ),
    "global pooling": ([layers.GlobalAveragePooling2D()], 0, 9 * 11 * 3),
    "dense": ([layers.Flatten(), layers.Dense(5)], 9 * 11 * 3 * 5, 5),
    "batch normalization": ([layers.BatchNormalization()], 0, 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_single_layers_by_hand(name):
    stack, conv, other = BY_HAND[name]
    model = of_layers(*stack)
    assert count_macs(model, convention="conv") == conv
    assert count_macs(model) == conv + other


def test_functional_model_by_hand():
    """Two ways from one padded convolution, joined, pooled and classified."""
    inputs = keras.Input((9, 11, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.ReLU()(x)
    padded = layers.ZeroPadding2D(1)(x)
    pooled = layers.AveragePooling2D(3, strides=2)(padded)
    filtered = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(padded)
    x = layers.GlobalAveragePooling2D()(layers.Add()([pooled, filtered]))
    model = keras.Model(inputs, layers.Dense(7)(x))

    conv = 9 * 11 * 27 * 4 + 5 * 6 * 9 * 4 + 4 * 7
    bias_relu_pools = 9 * 11 * 4 + 9 * 11 * 4 + (9 * 11 * 4 + 5 * 6 * 4) + 7
    assert count_macs(model, convention="conv") == conv
    assert count_macs(model) == conv + bias_relu_pools


def test_a_layer_counts_as_often_as_it_is_called():
    shared = layers.Conv2D(3, 1, use_bias=False)
    assert count_macs(of_layers(shared, shared), convention="conv") == 2 * 9 * 11 * 9


def test_nested_models_are_counted():
    inner = of_layers(layers.Conv2D(4, 1, use_bias=False))
    assert count_macs(of_layers(inner), convention="conv") == 9 * 11 * 12


def test_input_size_overrides_the_models_own():
    model = of_layers(layers.Conv2D(4, 1, use_bias=False), shape=(None, None, 3))
    assert count_macs(model, convention="conv", input_size=(2, 5)) == 2 * 5 * 12


def test_conv_convention_leaves_the_rest_out():
    model = cross_cbam(filters=128)
    rest = sum(layer.other for layer in count_layers(model, input_size=(64, 96)))
    mmcv, conv = (count_macs(model, convention=c, input_size=(64, 96)) for c in ("mmcv", "conv"))
    assert mmcv - conv == rest > 0


def test_counting_leaves_the_model_as_it_was(rng):
    model = of_layers(layers.Conv2D(4, 1), layers.ReLU())
    image = rng.normal(size=(1, 9, 11, 3))
    before, call = model.predict(image, verbose=0), layers.Layer.__call__
    count_macs(model)
    assert layers.Layer.__call__ is call
    assert (model.predict(image, verbose=0) == before).all()


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="Received: 'fvcore'"):
        count_macs(of_layers(layers.ReLU()), convention="fvcore")


def test_size_must_be_known():
    model = of_layers(layers.ReLU(), shape=(None, 11, 3))
    with pytest.raises(ValueError, match=r"pass `input_size=\(height, width\)`"):
        count_macs(model)


def rows_of(text):
    """The rows between the two rules of a table, and the line of totals, as lists of cells."""
    lines = text.splitlines()
    first, last = (i for i, line in enumerate(lines) if line.startswith("---"))
    return [line.split() for line in lines[first + 1 : last]], lines[last + 1].split()


@pytest.fixture(scope="module")
def small_table():
    return table(cross_cbam(filters=128), input_size=(64, 96))


def test_table_has_one_row_for_each_convolution(small_table):
    rows, _ = rows_of(small_table)
    counts = count_layers(cross_cbam(filters=128), input_size=(64, 96))
    convolutions = {count.path for count in counts if count.conv_macs}
    assert sorted(row[0] for row in rows) == sorted(convolutions)


def test_table_adds_up(small_table):
    rows, total = rows_of(small_table)
    macs = [int(row[-1].replace(",", "")) for row in rows]
    conv = count_macs(cross_cbam(filters=128), convention="conv", input_size=(64, 96))
    assert sum(macs) == int(total[-1].replace(",", "")) == conv


def test_table_counts_shared_weights_once():
    shared = layers.Conv2D(3, 1, use_bias=False)
    _, total = rows_of(table(of_layers(shared, shared)))
    assert total == ["total", "9", f"{2 * 9 * 11 * 9:,}"]


def test_table_ends_with_the_mmcv_count(small_table):
    mmcv = count_macs(cross_cbam(filters=128), input_size=(64, 96))
    assert small_table.endswith(f"MMCV's count: {mmcv:,}")


def test_layers_without_a_rule_are_refused():
    """A count that silently left something out would be worse than none."""
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2DTranspose(4, 3, strides=2)(image))
    with pytest.raises(ValueError, match="Cannot count a Conv2DTranspose"):
        count_macs(model)
