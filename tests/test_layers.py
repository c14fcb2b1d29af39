"""Every block against its reference in PyTorch; configurations, dtypes and errors of the layers."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_crosscbam
from keras_crosscbam.layers import (
    CCBAM,
    SEASPP,
    ChannelAttention,
    ConvBNReLU,
    ResizeLike,
    SpatialAttention,
)
from keras_crosscbam.models.stdc import stdc_block

TOLERANCE = 1e-4

# One of each layer, and the shapes of its inputs: an even and an odd side, nothing symmetric.
LAYERS = {
    "ConvBNReLU": (lambda **kw: ConvBNReLU(6, 3, strides=2, **kw), [(2, 9, 12, 5)]),
    "dilated ConvBNReLU": (lambda **kw: ConvBNReLU(6, 3, dilation_rate=2, **kw), [(2, 9, 12, 5)]),
    "ChannelAttention": (lambda **kw: ChannelAttention(4, **kw), [(2, 9, 12, 16)]),
    "SpatialAttention": (SpatialAttention, [(2, 9, 12, 8)]),
    "CCBAM, relu": (lambda **kw: CCBAM(4, "relu", **kw), [(2, 9, 12, 16), (2, 9, 12, 16)]),
    "CCBAM": (lambda **kw: CCBAM(4, **kw), [(2, 9, 12, 16), (2, 9, 12, 16)]),
    "SEASPP": (lambda **kw: SEASPP(8, (1, 2), **kw), [(2, 9, 12, 16)]),
    "ResizeLike": (ResizeLike, [(2, 5, 6, 4), (2, 9, 12, 3)]),
}


@pytest.fixture(autouse=True)
def _on_cpu():
    """A GPU's TensorFloat-32 would blur what is compared here."""
    with keras.device("cpu"):
        yield


@pytest.fixture(scope="module")
def torch_reference():
    pytest.importorskip("torch")
    import torch_reference

    return torch_reference


@pytest.fixture
def assert_matches(torch_reference, rng):
    """Holds a built Keras layer or model, all its weights redrawn, against its reference."""

    def check(source, block, *images, **kwargs):
        torch_reference.randomize(source, rng)
        expected = torch_reference.Reference(source).run(block, *images, **kwargs)
        actual = ops.convert_to_numpy(source(images[0] if len(images) == 1 else list(images)))
        assert actual.shape == expected.shape
        difference = np.abs(actual - expected).max()
        print(f"{block} {kwargs}: max difference {difference:.1e}")
        assert difference < TOLERANCE
        # Outputs that are all zero, or all one behind a sigmoid, would agree for no good reason.
        assert expected.std() > 0.01

    return check


def images(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def of_table(rng, name, **kwargs):
    """The layer of that name, built, and inputs for it."""
    make, shapes = LAYERS[name]
    inputs = [images(rng, *shape) for shape in shapes]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    layer = make(**kwargs)
    layer(inputs)
    return layer, inputs


@pytest.mark.parametrize("size", [(8, 12), (9, 11), (7, 12), (2, 2)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (1, 3)])
def test_conv_bn_relu(assert_matches, rng, size, kernel_size, stride, dilation):
    x = images(rng, 2, *size, 5)
    layer = ConvBNReLU(6, kernel_size, strides=stride, dilation_rate=dilation, name="unit")
    layer.build(x.shape)
    geometry = {"size": kernel_size, "stride": stride, "dilation": dilation}
    assert_matches(layer, "conv_bn_relu", x, path="unit", **geometry)


@pytest.mark.parametrize("size", [(8, 12), (9, 11), (7, 12)])
@pytest.mark.parametrize("stride", [1, 2])
def test_stdc_block(assert_matches, rng, size, stride):
    inputs = keras.Input((*size, 12))
    model = keras.Model(inputs, stdc_block(inputs, 32, stride, name="block"))
    assert_matches(model, "stdc_block", images(rng, 2, *size, 12), path="block", stride=stride)


def test_stdc_block_pools_over_counted_zero_padding():
    """A corner of the pooled part sees 4 of 9 pixels: 4/9 of what an interior pixel has."""
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, stdc_block(inputs, 8, 2, name="block"))
    model.get_layer("block_conv1").conv.kernel.assign(np.ones((1, 1, 1, 4)))
    pooled = ops.convert_to_numpy(model(np.ones((1, 8, 8, 1))))[0, :, :, 0]
    np.testing.assert_allclose(pooled[0, 0] / pooled[1, 1], 4 / 9, rtol=1e-5)


def test_stdc_block_has_no_relu_behind_the_depthwise_convolution(rng):
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, stdc_block(inputs, 16, 2, name="block"))
    downsampled = keras.Model(inputs, model.get_layer("block_conv2").input)
    assert ops.min(downsampled(images(rng, 1, 8, 8, 4))) < 0


@pytest.mark.parametrize(("channels", "reduction"), [(64, 16), (24, 4), (8, 16)])
def test_channel_attention(assert_matches, rng, channels, reduction):
    x = images(rng, 3, 5, 7, channels)
    layer = ChannelAttention(reduction, name="gate")
    layer.build(x.shape)
    assert_matches(layer, "channel_attention", x, path="gate")


def test_spatial_attention(assert_matches, rng):
    x = images(rng, 3, 5, 7, 10)
    layer = SpatialAttention(name="gate")
    layer.build(x.shape)
    assert_matches(layer, "spatial_attention", x, path="gate")


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_ccbam(assert_matches, rng, size):
    low, high = images(rng, 2, *size, 32), images(rng, 2, *size, 32)
    layer = CCBAM(name="fuse")
    layer.build([low.shape, high.shape])
    assert_matches(layer, "ccbam", low, high, path="fuse")


@pytest.mark.parametrize("activation", [None, "relu"])
def test_activation_before_the_sigmoid_of_all_gates(assert_matches, rng, activation):
    low, high = images(rng, 2, 6, 8, 32), images(rng, 2, 6, 8, 32)
    relu = activation == "relu"
    fuse = CCBAM(gate_activation=activation, name="fuse")
    fuse.build([low.shape, high.shape])
    assert_matches(fuse, "ccbam", low, high, path="fuse", relu=relu)
    context = SEASPP(16, (1, 3), activation, name="context")
    context.build(low.shape)
    assert_matches(context, "se_aspp", low, path="context", rates=(1, 3), relu=relu)
    for gate in (fuse.low_channel_attention, fuse.low_spatial_attention):
        assert (ops.convert_to_numpy(gate(low)).min() >= 0.5) == relu


@pytest.mark.parametrize("shut", ["low", "high"])
def test_ccbam_gates_each_input_by_the_other_one(rng, shut):
    """With one channel gate shut and all else open, the input that it computes on remains."""
    inputs = {"low": images(rng, 1, 4, 5, 8), "high": images(rng, 1, 4, 5, 8)}
    layer = CCBAM()
    layer.build([x.shape for x in inputs.values()])
    for role in inputs:
        sign = -1 if role == shut else 1
        gate = getattr(layer, f"{role}_channel_attention").expand
        gate.bias.assign(np.full(8, 100.0 * sign))
        gate = getattr(layer, f"{role}_spatial_attention").conv
        gate.bias.assign([100.0])
    output = ops.convert_to_numpy(layer(list(inputs.values())))
    np.testing.assert_allclose(output, inputs[shut], atol=1e-6)


@pytest.mark.parametrize("rates", [(1, 3), (2, 4, 6), (5,)])
@pytest.mark.parametrize("size", [(8, 12), (3, 5)])
def test_se_aspp(assert_matches, rng, rates, size):
    x = images(rng, 2, *size, 24)
    layer = SEASPP(16, rates, name="context")
    layer.build(x.shape)
    assert_matches(layer, "se_aspp", x, path="context", rates=rates)


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((23, 30), (45, 60)),  # 720x960 on the way up
        ((4, 6), (8, 12)),
        ((5, 7), (13, 9)),
        ((3, 3), (65, 97)),
        ((9, 8), (4, 5)),  # downwards, where antialiasing would show
        ((1, 1), (3, 4)),
        ((6, 5), (6, 5)),
    ],
)
def test_resize_like(torch_reference, rng, size, target):
    x, reference = images(rng, 2, *size, 3), images(rng, 2, *target, 5)
    layer = ResizeLike()
    expected = torch_reference.Reference(layer).run("resize_like", x, reference)
    actual = ops.convert_to_numpy(layer([x, reference]))
    print(f"resize {size} to {target}: max difference {np.abs(actual - expected).max():.1e}")
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_cross_cbam_end_to_end(torch_reference, rng, alpha):
    """The whole networks M and S, both heads, on pixels, at a size of odd stages."""
    model = keras_crosscbam.CrossCBAM(
        "stdc1", input_shape=(65, 97, 3), num_classes=11, aux_head=True, alpha=alpha
    )
    torch_reference.randomize(model, rng)
    pixels = rng.uniform(0, 255, (2, 65, 97, 3)).astype("float32")
    expected = torch_reference.Reference(model).run("cross_cbam", pixels)
    actual = model(pixels)
    for head in ("main", "aux"):
        difference = np.abs(ops.convert_to_numpy(actual[head]) - expected[head]).max()
        scale = expected[head].std()
        print(f"{head} logits: max difference {difference:.1e} at a deviation of {scale:.2f}")
        assert scale > 0.1
        assert difference < TOLERANCE


def test_batch_norm_moves_its_statistics_by_a_tenth(rng):
    layer = ConvBNReLU(1, 1)
    x = images(rng, 4, 8, 8, 1) + 5
    layer.build(x.shape)
    layer.conv.kernel.assign(np.ones((1, 1, 1, 1)))
    layer(x, training=True)
    assert float(layer.bn.moving_mean[0]) == pytest.approx(0.1 * x.mean(), rel=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_output_shape_is_announced(rng, name):
    layer, inputs = of_table(rng, name)
    shapes = [x.shape for x in inputs] if isinstance(inputs, list) else inputs.shape
    assert layer.compute_output_shape(shapes) == tuple(layer(inputs).shape)


@pytest.mark.parametrize("name", LAYERS)
def test_config_round_trip(rng, name):
    layer, inputs = of_table(rng, name)
    copy = type(layer).from_config(layer.get_config())
    copy(inputs)
    copy.set_weights(layer.get_weights())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(copy(inputs)), ops.convert_to_numpy(layer(inputs))
    )


@pytest.mark.parametrize("name", LAYERS)
def test_serialization_survives_json(rng, name):
    layer, _ = of_table(rng, name)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


# bfloat16 keeps 8 bits of the mantissa, float16 11.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.01), ("bfloat16", 0.05)])
@pytest.mark.parametrize("name", LAYERS)
def test_mixed_precision(rng, name, dtype, tolerance):
    layer, inputs = of_table(rng, name)
    mixed, _ = of_table(rng, name, dtype=f"mixed_{dtype}")
    mixed.set_weights(layer.get_weights())
    output = mixed(inputs)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    assert all(keras.backend.standardize_dtype(w.dtype) == "float32" for w in mixed.weights)
    output = ops.convert_to_numpy(ops.cast(output, "float32"))
    difference = np.abs(output - ops.convert_to_numpy(layer(inputs))).max()
    print(f"{name} in {dtype}: max difference {difference:.1e}")
    assert difference < tolerance


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r"`kernel_size` must be odd\. Received: 2"):
        ConvBNReLU(8, kernel_size=2)


@pytest.mark.parametrize("reduction", [0, -4, 2.5, "16"])
@pytest.mark.parametrize("layer", [ChannelAttention, CCBAM])
def test_bad_reduction_is_refused(layer, reduction):
    with pytest.raises(ValueError, match="`reduction` must be a positive integer"):
        layer(reduction)


@pytest.mark.parametrize("rates", [(), (3, 3), (0, 1), (1, -2)])
def test_bad_dilation_rates_are_refused(rates):
    with pytest.raises(ValueError, match="`dilation_rates` must be one or more different positive"):
        SEASPP(8, rates)


def test_ccbam_refuses_unequal_channels(rng):
    with pytest.raises(ValueError, match=r"Received: shapes \(1, 4, 5, 8\) and \(1, 4, 5, 9\)"):
        CCBAM()([images(rng, 1, 4, 5, 8), images(rng, 1, 4, 5, 9)])
