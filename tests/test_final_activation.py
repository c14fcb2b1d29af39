"""Models that end in an activation: recognized, exported once, and seen by the gate if not."""

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.export import ParityError, parity
from keras_crosscbam.layers import ResizeLike
from keras_crosscbam.models.activation import final_activation, without_activation
from keras_crosscbam.runtime import Description
from keras_crosscbam.runtime.keras_model import KerasRuntime
from keras_crosscbam.runtime.probabilities import are_probabilities

SIZE = (16, 24)


def scores(x, activation=None):
    return layers.Conv2D(3, 1, activation=activation)(layers.Rescaling(1 / 50)(x))


def model(build):
    image = keras.Input((*SIZE, 3))
    return keras.Model(image, build(image))


def in_another_model(build):
    return lambda x: model(build)(x)


def upsampled(x):
    return layers.UpSampling2D(2, interpolation="bilinear")(layers.AveragePooling2D(2)(x))


SOFTMAX = {
    "layer": lambda x: layers.Softmax()(scores(x)),
    "activation layer": lambda x: layers.Activation("softmax", dtype="float32")(scores(x)),
    "layer in a layer": lambda x: layers.Activation(layers.Softmax())(scores(x)),
    "convolution": lambda x: scores(x, "softmax"),
    "operation": lambda x: ops.softmax(scores(x)),
    "lambda of a known function": lambda x: layers.Lambda(ops.softmax)(scores(x)),
    "linear after it": lambda x: layers.Activation("linear")(scores(x, "softmax")),
    "dropout and cast after it": lambda x: ops.cast(
        layers.Dropout(0.5)(scores(x, "softmax")), "float32"
    ),
    "another model": in_another_model(lambda x: scores(x, "softmax")),
    "after another model": lambda x: layers.Softmax()(in_another_model(scores)(x)),
}
SIGMOID = {
    "layer": lambda x: layers.Activation("sigmoid")(scores(x)),
    "convolution": lambda x: scores(x, "sigmoid"),
    "operation": lambda x: ops.sigmoid(scores(x)),
}
LOGITS = {
    "convolution": scores,
    "ReLU": lambda x: scores(x, "relu"),
    "log": lambda x: scores(x, "log_softmax"),
    "another axis": lambda x: layers.Softmax(axis=1)(scores(x)),
    "before another layer": lambda x: layers.Rescaling(2.0)(scores(x, "softmax")),
}


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, *SIZE, 3), np.uint8)


def softmax(logits):
    return torch.from_numpy(np.array(logits)).softmax(dim=-1).numpy()


def sigmoid(logits):
    return torch.from_numpy(np.array(logits)).sigmoid().numpy()


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_left_as_they_are(name):
    network = model(LOGITS[name])
    assert final_activation(network) is None
    assert without_activation(network) is network


@pytest.mark.parametrize(
    ("kind", "builds", "expected"), [("softmax", SOFTMAX, softmax), ("sigmoid", SIGMOID, sigmoid)]
)
def test_an_activation_is_recognized_and_taken_off(kind, builds, expected, images):
    for name, build in builds.items():
        network = model(build)
        assert final_activation(network) == kind, name
        logits = without_activation(network)(images)
        np.testing.assert_allclose(expected(logits), network(images), atol=1e-6, err_msg=name)


def test_sequential_models_and_those_with_an_auxiliary_head():
    sequential = keras.Sequential(
        [keras.Input((*SIZE, 3)), layers.Conv2D(3, 1), keras.Sequential([layers.Softmax()])]
    )
    assert final_activation(sequential) == "softmax"
    assert final_activation(without_activation(sequential)) is None
    heads = kc.CrossCBAM(
        num_classes=3, input_shape=(32, 32, 3), aux_head=True, classifier_activation="softmax"
    )
    heads.classes = ["road", "car", "sky"]
    assert final_activation(heads) == "softmax"
    logits = without_activation(heads)
    assert logits.output_shape == (None, 32, 32, 3)
    assert logits.classes.names == ("road", "car", "sky")


def test_probabilities_are_recognized_before_a_resizing():
    network = model(lambda x: upsampled(scores(x, "softmax")))
    assert final_activation(network) == "softmax"
    with pytest.raises(ValueError, match="Use output='probabilities' or 'labels'"):
        without_activation(network)


FILES = {
    "m.onnx": kc.export.to_onnx,
    "m.xml": kc.export.to_openvino,
    "m.tflite": kc.export.to_litert,
    "saved_model": kc.export.to_saved_model,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("output", ["logits", "probabilities", "labels", "coarse_logits"])
def test_exported_scores_are_what_they_are_called(name, output, images, tmp_path):
    """Of a model that ends in softmax and of the same one that ends in logits."""

    def build(x):
        return ResizeLike()([layers.Conv2D(3, 3, strides=2, padding="same")(scores(x)), x])

    plain = model(build)
    ends_in_softmax = keras.Model(plain.input, layers.Activation("softmax")(plain.output))
    logits = plain.predict_on_batch(images)
    for network in (plain, ends_in_softmax):
        result = FILES[name](network, tmp_path / name, output=output)
        assert result.argmax_agreement >= 0.9999
        run = runtime.load(tmp_path / name)
        np.testing.assert_array_equal(run.labels(images), logits.argmax(-1))
        if output != "labels":
            expected = softmax(logits) if output == "probabilities" else logits
            np.testing.assert_allclose(run.logits(images), expected, atol=1e-4)


def test_sigmoids_of_several_classes(images, tmp_path):
    network = model(SIGMOID["convolution"])
    expected = network.predict_on_batch(images)
    for output in ("probabilities", "logits"):
        kc.export.to_onnx(network, tmp_path / "m.onnx", output=output)
        received = runtime.load(tmp_path / "m.onnx").logits(images)
        received = received if output == "probabilities" else sigmoid(received)
        np.testing.assert_allclose(received, expected, atol=1e-5)


def test_resized_probabilities_are_exported_as_such_or_refused(images, tmp_path):
    network = model(lambda x: upsampled(scores(x, "softmax")))
    kc.export.to_onnx(network, tmp_path / "m.onnx", output="probabilities")
    received = runtime.load(tmp_path / "m.onnx").logits(images)
    np.testing.assert_allclose(received, network.predict_on_batch(images), atol=1e-5)
    for output in ("logits", "coarse_logits"):
        with pytest.raises(ValueError, match="resizes probabilities in 'up_sampling2d"):
            kc.export.to_onnx(network, tmp_path / "other.onnx", output=output)
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_the_gate_sees_an_activation_that_was_not_recognized(output, tmp_path):
    network = model(lambda x: layers.Lambda(lambda y: ops.softmax(y))(scores(x)))
    assert final_activation(network) is None
    with pytest.raises(ParityError, match="whose probabilities differ"):
        kc.export.to_onnx(network, tmp_path / "m.onnx", output=output)
    assert not list(tmp_path.iterdir())


class Gives:
    """A runtime of given scores."""

    def __init__(self, values, output):
        self.name, self.values, self.description = (
            output,
            np.float32(values),
            Description(output=output),
        )

    def logits(self, images):
        return self.values


LOGIT = np.float32([[[[2, 0, -1], [0, 1, 3]]]])


@pytest.mark.parametrize(
    ("reference", "candidate", "good"),
    [
        ((LOGIT, "logits"), (LOGIT, "logits"), True),
        ((LOGIT, "logits"), (softmax(LOGIT), "probabilities"), True),
        ((softmax(LOGIT), "probabilities"), (LOGIT, "logits"), True),
        ((softmax(LOGIT), "logits"), (softmax(LOGIT), "probabilities"), True),
        ((sigmoid(LOGIT), "probabilities"), (LOGIT, "logits"), True),
        ((LOGIT, "logits"), (LOGIT, "probabilities"), False),
        ((LOGIT, "logits"), (softmax(LOGIT), "logits"), False),
        ((softmax(LOGIT), "logits"), (softmax(softmax(LOGIT)), "probabilities"), False),
        ((softmax(LOGIT), "logits"), (softmax(LOGIT), "logits"), False),
    ],
)
def test_parity_compares_probabilities(reference, candidate, good):
    pair = Gives(*reference), Gives(*candidate)
    result = parity.compare(*pair, [np.zeros((1, 1, 2, 3))])
    assert result.argmax_agreement == 1
    assert (result.probability_difference < 1e-6) == good
    if not good:
        with pytest.raises(ParityError, match="whose probabilities differ"):
            parity.check(*pair, [np.zeros((1, 1, 2, 3))])


def test_runtimes_say_probabilities_and_views_are_averaged_once(images, tmp_path):
    """Also of a file that was written elsewhere and does not say what it gives."""
    network = model(SOFTMAX["activation layer"])
    run = KerasRuntime(network)
    assert run.description.output == "probabilities"
    kc.export.to_onnx(network, tmp_path / "m.onnx", output="probabilities", optimize_for=None)
    import onnx

    foreign = onnx.load(tmp_path / "m.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    views = network.predict_on_batch(images), network.predict_on_batch(images[:, :, ::-1])
    expected = (views[0] + views[1][:, :, ::-1]) / 2
    for asked in (run, runtime.load(tmp_path / "foreign.onnx")):
        averaged = runtime.TTARuntime(asked, flip=True)
        np.testing.assert_allclose(averaged.logits(images), expected, atol=1e-5)


def test_probabilities_are_told_by_their_values(rng):
    logits = rng.normal(size=(4, 5, 3)).astype(np.float32)
    assert are_probabilities(softmax(logits))
    assert are_probabilities(softmax(1000 * logits))
    assert not are_probabilities(logits)
    assert not are_probabilities(sigmoid(logits))
    assert not are_probabilities(np.ones((4, 5, 1), np.float32))
