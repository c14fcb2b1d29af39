"""Models of half precision are exported in float32, from the same weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.layers import ConvBNReLU, ResizeLike
from keras_crosscbam.models.precision import in_float32

SIZE = (32, 64)
POLICIES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
EXPORTS = {
    "m.onnx": kc.export.to_onnx,
    "m.xml": kc.export.to_openvino,
    "m.tflite": kc.export.to_litert,
    "saved_model": kc.export.to_saved_model,
}


@pytest.fixture
def set_policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (1, *SIZE, 3), np.uint8)


@keras.saving.register_keras_serializable(package="test_precision")
class Twice(layers.Layer):
    """A layer that gives its own layer the global policy instead of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, padding="same")

    def build(self, input_shape):
        self.conv.build(input_shape)

    def call(self, inputs):
        return 2 * self.conv(inputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 8)


def network(dtype=None):
    """A few layers, `dtype` being the policy of some of them, None for the global one."""
    image = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 255, dtype="float32")(image)
    x = ConvBNReLU(8, 3, strides=2, dtype=dtype)(x)
    x = ops.relu(Twice(dtype=dtype)(x))
    inner = keras.Sequential([keras.Input((None, None, 8)), layers.Conv2D(8, 3, dtype=dtype)])
    x = layers.AveragePooling2D(2, dtype=dtype)(inner(x))
    x = layers.Conv2D(4, 1, dtype=dtype, kernel_initializer="he_normal")(x)
    return keras.Model(image, ResizeLike(dtype="float32")([x, image]))


def compute_dtypes(model):
    kinds = (keras.Model, layers.InputLayer)
    found = [layer for layer in model._flatten_layers() if not isinstance(layer, kinds)]
    return {layer.compute_dtype for layer in found}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_copy_computes_what_float32_does(policy, set_policy, images):
    set_policy(policy)
    halved = network()
    exact = in_float32(halved)
    assert keras.config.dtype_policy().name == policy
    set_policy("float32")
    expected = network()
    expected.set_weights([np.float32(array) for array in halved.get_weights()])
    assert compute_dtypes(exact) == {"float32"}
    assert {variable.dtype for variable in exact.weights} == {"float32"}
    np.testing.assert_allclose(exact(images), expected(images), atol=1e-6)
    assert np.abs(halved(images) - expected(images)).max() > 1e-5


@pytest.mark.parametrize("policy", POLICIES)
def test_single_layers_of_half_precision(policy, images):
    mixed = network(policy)
    expected = network()
    expected.set_weights([np.float32(array) for array in mixed.get_weights()])
    exact = in_float32(mixed)
    assert compute_dtypes(exact) == {"float32"}
    np.testing.assert_allclose(exact(images), expected(images), atol=1e-6)


def test_a_model_of_float32_is_given_back(set_policy):
    model = network()
    assert in_float32(model) is model
    set_policy("mixed_bfloat16")
    assert in_float32(model) is model


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_exported_files_are_those_of_float32(name, policy, set_policy, images, tmp_path):
    set_policy(policy)
    model = network()
    model.classes = kc.datasets.CAMVID_CLASSES.__class__(tuple("abcd"), ((0, 0, 0),) * 4)
    result = EXPORTS[name](model, tmp_path / name)
    assert result.argmax_agreement >= 0.9999
    set_policy("float32")
    expected = network()
    expected.set_weights(model.get_weights())
    run = runtime.load(tmp_path / name)
    assert run.classes.names == tuple("abcd")
    np.testing.assert_allclose(run.logits(images), expected(images), atol=1e-4)


def test_int8_of_half_precision(set_policy, images, tmp_path):
    set_policy("mixed_float16")
    model = network()
    report = kc.export.quantize(model, tmp_path / "m.onnx", list(images), exclude=(), max_loss=100)
    assert report.int8_convolutions > 0
    run = runtime.load(tmp_path / "m.onnx")
    scale = np.abs(model(images)).max()
    np.testing.assert_allclose(run.logits(images), model(images), atol=0.1 * float(scale))


def test_cross_cbam_of_mixed_precision_from_a_file(set_policy, images, tmp_path):
    set_policy("mixed_bfloat16")
    narrow = {"num_classes": 4, "aux_head": True, "alpha": 0.125}
    model = kc.CrossCBAM(input_shape=(None, None, 3), **narrow)
    model.save(tmp_path / "m.keras")
    set_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "m.keras", compile=False)
    expected = kc.CrossCBAM(input_shape=(*SIZE, 3), **narrow)
    expected.set_weights(model.get_weights())
    kc.export.to_saved_model(loaded, tmp_path / "m", input_size=SIZE)
    received = runtime.load(tmp_path / "m").logits(images)
    np.testing.assert_allclose(received, expected(images)["main"], atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_loss_of_the_users_own_is_no_obstacle(policy, set_policy, tmp_path):
    """Keras does not copy a model that was compiled with it."""

    def loss(truth, predicted):
        return ops.mean(predicted)

    set_policy(policy)
    model = network()
    model.compile("sgd", loss=loss)
    kc.export.to_litert(model, tmp_path / "m.tflite", input_size=(64, 64))
    assert runtime.load(tmp_path / "m.tflite").size == (64, 64)
