"""The builders: variants, switches, sizes, freezing, saving, mixed precision, imports."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_crosscbam
from keras_crosscbam.models.inputs import MEAN, STD
from keras_crosscbam.variants import VARIANTS

SIZE = (33, 47)

# Tables 2 and 3 of the paper.
PAPER_VARIANTS = {
    "M1": ("stdc1", (512, 1024)),
    "L1": ("stdc2", (512, 1024)),
    "M2": ("stdc1", (768, 1536)),
    "L2": ("stdc2", (768, 1536)),
    "M": ("stdc1", (720, 960)),
    "L": ("stdc2", (720, 960)),
}
# Half as wide, and not in the paper.
SMALL_VARIANTS = {
    "S1": ("stdc1", (512, 1024)),
    "S2": ("stdc1", (768, 1536)),
    "S": ("stdc1", (720, 960)),
}
ALL_VARIANTS = PAPER_VARIANTS | SMALL_VARIANTS


def small(input_shape=(*SIZE, 3), num_classes=4, aspp_filters=32, **kwargs):
    """A whole network with a narrow decoder on small images."""
    return keras_crosscbam.CrossCBAM(
        "stdc1",
        input_shape=input_shape,
        num_classes=num_classes,
        aspp_filters=aspp_filters,
        **kwargs,
    )


def stirred(**kwargs):
    """The same with every weight and statistic off its initial value, as training leaves them."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = small(**kwargs)
    model.set_weights([w + rng.normal(0, 0.01, w.shape) for w in model.get_weights()])
    return model


def pixels(rng, channels=3, size=SIZE, batch=2):
    return rng.uniform(0, 255, (batch, *size, channels)).astype("float32")


def predict(model, images):
    """The model's outputs as NumPy arrays, without compiling anything."""
    return keras.tree.map_structure(ops.convert_to_numpy, model(images, training=False))


@pytest.fixture(scope="module")
def model():
    """One network that the tests share; they must leave its weights as they are."""
    return stirred()


@pytest.fixture(scope="module")
def training_model():
    """The same with an auxiliary head."""
    return stirred(aux_head=True)


@pytest.fixture
def mixed_precision():
    """Sets a global dtype policy for the length of a test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


# --- named variants


def test_table_of_variants_is_the_papers_and_three_of_ours():
    assert {v.name: (v.backbone, v.input_size) for v in VARIANTS.values()} == ALL_VARIANTS
    assert list(VARIANTS) == list(ALL_VARIANTS)
    for name, variant in VARIANTS.items():
        assert variant.alpha == (0.5 if name in SMALL_VARIANTS else 1)
        assert variant.num_classes == (11 if len(name) == 1 else 19)


@pytest.mark.parametrize("name", SMALL_VARIANTS)
def test_the_small_variants_claim_no_figures_of_the_paper(name):
    variant = VARIANTS[name]
    figures = (variant.paper_val_miou, variant.paper_test_miou, variant.paper_fps)
    assert figures == (None, None, None)
    text, *_ = getattr(keras_crosscbam, f"CrossCBAM_{name}").__doc__.split("Args:")
    assert "The paper reports no results" in " ".join(text.split())
    assert "None," not in text.replace("(None, ", "")
    assert "FPS" not in text


def test_list_models():
    assert keras_crosscbam.list_models() == [f"CrossCBAM_{name}" for name in ALL_VARIANTS]
    assert all(name in keras_crosscbam.__all__ for name in keras_crosscbam.list_models())


@pytest.mark.parametrize("name", ALL_VARIANTS)
def test_named_variant(name):
    backbone, size = ALL_VARIANTS[name]
    build = getattr(keras_crosscbam, f"CrossCBAM_{name}")
    model = build(num_classes=7)
    assert build.__name__ == f"CrossCBAM_{name}"
    assert model.name == f"cross_cbam_{name.lower()}"
    assert model.input_shape == (None, *size, 3)
    assert model.output_shape == (None, *size, 7)
    blocks = {layer.name.split("_")[1] for layer in model.layers if "stage4_" in layer.name}
    assert len(blocks) == {"stdc1": 2, "stdc2": 5}[backbone]
    assert model.get_layer("stage4").output.shape[-1] == (256 if name in SMALL_VARIANTS else 512)


def test_named_variant_passes_its_arguments_on():
    model = keras_crosscbam.CrossCBAM_L(
        input_shape=(64, 96, 3), num_classes=2, aux_head=True, aspp_filters=16, name="mine"
    )
    assert model.name == "mine"
    assert {name: x.shape for name, x in model.output.items()} == {
        "main": (None, 64, 96, 2),
        "aux": (None, 64, 96, 2),
    }


def test_classes_default_to_cityscapes():
    assert small(num_classes=None).output_shape[-1] == 19


# --- switches


@pytest.mark.parametrize("fusion", ["ccbam", "sum", None])
@pytest.mark.parametrize("use_se_aspp", [True, False])
def test_ablation_switches(rng, use_se_aspp, fusion):
    model = small(use_se_aspp=use_se_aspp, fusion=fusion)
    names = {layer.name for layer in model.layers}
    assert ("se_aspp" in names) == use_se_aspp
    fusions = {"ccbam": {"ccbam3", "ccbam4"}, "sum": {"sum3", "sum4"}, None: set()}
    assert {"ccbam3", "ccbam4", "sum3", "sum4"} & names == fusions[fusion]
    # What stands in for SE-ASPP: a narrow neck before the fusion, an FCN head without one.
    assert ("neck" in names) == (fusion is not None and not use_se_aspp)
    assert ("fcn" in names) == (fusion is None and not use_se_aspp)
    output = predict(model, pixels(rng))
    assert output.shape == (2, *SIZE, 4)
    assert np.isfinite(output).all()


@pytest.mark.parametrize(("aspp_filters", "width3"), [(128, 128), (512, 256)])
def test_decoder_width(aspp_filters, width3):
    """The decoder is as wide as SE-ASPP at stage 4, and at most 256 wide at stage 3."""
    model = small(aspp_filters=aspp_filters)
    assert model.get_layer("se_aspp").output.shape[-1] == aspp_filters
    assert model.get_layer("ccbam4").output.shape[-1] == aspp_filters
    assert model.get_layer("ccbam3").output.shape[-1] == width3


WIDTHS = {
    "stem_conv1": 32,
    "stem_conv2": 64,
    "stage3": 256,
    "stage4": 512,
    "stage5": 1024,
    "se_aspp": 256,
    "lateral4": 256,
    "ccbam4": 256,
    "ccbam3": 256,
    "neck3": 128,
    "aux_fcn": 128,
}


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1, 1.25])
def test_alpha_multiplies_every_width(alpha):
    model = small(aspp_filters=256, aux_head=True, alpha=alpha)
    widths = {name: model.get_layer(name).output.shape[-1] for name in WIDTHS}
    assert widths == {name: alpha * width for name, width in WIDTHS.items()}
    attention = model.get_layer("ccbam4").low_channel_attention
    assert attention.reduce.filters == 16 * alpha
    assert model.get_layer("se_aspp").reduce.filters == 256 * alpha
    assert [layer.name for layer in model.layers] == [
        layer.name for layer in small(aspp_filters=256, aux_head=True).layers
    ]


@pytest.mark.parametrize("backbone", ["stdc1", "stdc2"])
def test_alpha_multiplies_the_classifiers_widths(backbone):
    model = keras_crosscbam.STDC(backbone, input_shape=(*SIZE, 3), num_classes=6, alpha=0.5)
    assert model.get_layer("top_conv").output.shape[-1] == 512
    assert model.get_layer("top_dense").units == 512
    assert model.output_shape == (None, 6)
    assert model.name == f"{backbone}_050"


@pytest.mark.parametrize("alpha", [0.3, 0, -0.5, float("nan"), float("inf"), "0.5", None])
@pytest.mark.parametrize("build", [keras_crosscbam.CrossCBAM, keras_crosscbam.STDC2])
def test_widths_must_be_whole(build, alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a positive number.*alpha="):
        build(input_shape=(*SIZE, 3), alpha=alpha)


def test_a_decoder_width_that_alpha_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"Received: alpha=0\.5 for 33 channels"):
        small(aspp_filters=33, alpha=0.5)


def test_dilation_rates_reach_se_aspp():
    model = small(aspp_dilation_rates=(2, 4, 6))
    assert model.get_layer("se_aspp").dilation_rates == (2, 4, 6)


def test_auxiliary_head_returns_a_dict(training_model, rng):
    outputs = predict(training_model, pixels(rng))
    assert {name: x.shape for name, x in outputs.items()} == {
        "main": (2, *SIZE, 4),
        "aux": (2, *SIZE, 4),
    }
    assert np.abs(outputs["main"] - outputs["aux"]).max() > 0.01


def test_softmax_sums_to_one(rng):
    output = predict(small(classifier_activation="softmax"), pixels(rng))
    assert output.min() >= 0
    np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_preprocessing_is_imagenets_normalization(model, rng):
    without = small(include_preprocessing=False)
    without.set_weights(model.get_weights())
    images = pixels(rng)
    normalized = (images / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(
        predict(without, normalized), predict(model, images), atol=1e-4, rtol=1e-4
    )


def test_dropout_takes_whole_channels(rng):
    """In training, logits of a classifier of ones count the channels that survive."""
    model = small(dropout_rate=0.5)
    classifier = model.get_layer("classifier")
    dropout = model.get_layer("dropout")
    x = np.ones((1, 4, 5, 128), "float32")
    kept = ops.convert_to_numpy(dropout(x, training=True))
    assert classifier.input is dropout.output
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert (kept == kept[:, :1, :1]).all()


# --- inputs


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [(1, np.mean(MEAN), np.mean(STD)), (4, (*MEAN, MEAN[0]), (*STD, STD[0]))],
)
def test_statistics_of_other_channels(rng, channels, mean, std):
    bare = {"input_shape": (*SIZE, channels), "use_se_aspp": False, "fusion": None}
    model, without = small(**bare), small(**bare, include_preprocessing=False)
    without.set_weights(model.get_weights())
    images = pixels(rng, channels)
    normalized = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(
        predict(without, normalized), predict(model, images), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("size", "stages"),
    [
        ((720, 960), [(90, 120), (45, 60), (23, 30)]),
        ((360, 480), [(45, 60), (23, 30), (12, 15)]),
        ((321, 481), [(41, 61), (21, 31), (11, 16)]),
    ],
)
def test_sizes_not_divisible_by_32(size, stages):
    model = small(input_shape=(*size, 3))
    assert model.output_shape == (None, *size, 4)
    features = [model.get_layer(f"stage{i}").output.shape[1:3] for i in (3, 4, 5)]
    assert features == stages


def test_one_dynamic_model_serves_all_sizes(model, rng):
    dynamic = small(input_shape=(None, None, 3))
    dynamic.set_weights(model.get_weights())
    dynamic.compile(jit_compile=False)  # compiling takes longer than predicting
    images = pixels(rng)
    np.testing.assert_allclose(
        dynamic.predict(images, verbose=0), predict(model, images), atol=1e-4, rtol=1e-4
    )
    assert dynamic.predict(pixels(rng, size=(50, 31)), verbose=0).shape == (2, 50, 31, 4)


def test_input_tensor(model, rng):
    """Built behind other layers, the network is part of one model with them."""
    inputs = keras.Input((*SIZE, 3), name="flipped")
    flipped = keras.layers.Lambda(lambda x: ops.flip(x, axis=2))(inputs)
    behind = small(input_tensor=flipped)
    behind.set_weights(model.get_weights())
    images = pixels(rng)
    assert behind.inputs[0] is inputs
    np.testing.assert_allclose(
        predict(behind, images), predict(model, images[:, :, ::-1]), atol=1e-4, rtol=1e-4
    )


def test_input_tensor_leaves_a_single_input():
    """Not a list of one, for which Keras warns at each call with a plain tensor."""
    inputs = keras.Input((*SIZE, 3))
    assert small(input_tensor=inputs).input is inputs


# --- the models within the model


def test_stages_are_layers(model):
    shapes = [model.get_layer(f"stage{i}").output.shape for i in (3, 4, 5)]
    assert shapes == [(None, 5, 6, 256), (None, 3, 3, 512), (None, 2, 2, 1024)]


def test_stdc_features_are_the_segmenters(model, rng):
    encoder = keras_crosscbam.STDC1(include_top=False, input_shape=(*SIZE, 3))
    weights = {weight.path: weight for weight in model.weights}
    for weight in encoder.weights:
        weight.assign(weights[weight.path])
    images = pixels(rng)
    stages = {name: model.get_layer(name).output for name in ("stage3", "stage4", "stage5")}
    expected = predict(keras.Model(model.input, stages), images)
    actual = predict(encoder, images)
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-5)


@pytest.mark.parametrize("backbone", ["stdc1", "stdc2"])
def test_stdc_classifies(rng, backbone):
    model = keras_crosscbam.STDC(backbone, input_shape=(*SIZE, 3), num_classes=6)
    output = predict(model, pixels(rng))
    assert output.shape == (2, 6)
    np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_inference_model_shares_its_weights(training_model, rng):
    inference = keras_crosscbam.inference_model(training_model)
    own = {id(weight) for weight in training_model.weights}
    assert all(id(weight) in own for weight in inference.weights)
    assert not any(layer.name.startswith("aux_") for layer in inference.layers)
    images = pixels(rng)
    np.testing.assert_array_equal(
        predict(inference, images), predict(training_model, images)["main"]
    )


def test_inference_model_returns_a_model_without_auxiliary_head_as_it_is(model):
    assert keras_crosscbam.inference_model(model) is model


# --- freezing


def fit_one_step(model, rng):
    """Trains on one batch; returns the names of the layers changed, weight by weight."""
    before = {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.weights}
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(pixels(rng), rng.integers(0, 4, (2, *SIZE)), verbose=0)
    return {
        weight.path
        for weight in model.weights
        if not np.array_equal(ops.convert_to_numpy(weight), before[weight.path])
    }


def encoder_weights(model):
    return {weight.path for weight in model.weights if weight.path.startswith(("stem_", "stage"))}


def test_frozen_encoder_stays_bit_identical(rng):
    """Its BatchNormalization statistics included, while everything behind it trains."""
    model = small()
    keras_crosscbam.freeze_backbone(model)
    changed = fit_one_step(model, rng)
    assert not changed & encoder_weights(model)
    assert {"se_aspp/project/conv/kernel", "classifier/kernel", "classifier/bias"} <= changed
    assert {"neck3/bn/moving_mean", "neck3/bn/moving_variance"} <= changed


def test_thawed_encoder_trains_again(rng):
    model = small(use_se_aspp=False, fusion=None)
    keras_crosscbam.freeze_backbone(model)
    keras_crosscbam.freeze_backbone(model, trainable=True)
    changed = fit_one_step(model, rng)
    assert {
        "stem_conv1/conv/kernel",
        "stem_conv1/bn/moving_mean",
        "stage5_block2_conv1/conv/kernel",
        "stage3_block1_down_bn/moving_variance",
    } <= changed


def test_freezing_covers_the_encoder_and_no_more(model):
    copy = keras.models.clone_model(model)
    keras_crosscbam.freeze_backbone(copy)
    trainable = {weight.path for weight in copy.trainable_weights}
    assert trainable == {w.path for w in model.trainable_weights} - encoder_weights(model)


def test_freezing_needs_an_encoder():
    inputs = keras.Input((3,))
    with pytest.raises(ValueError, match="must have an STDC encoder"):
        keras_crosscbam.freeze_backbone(keras.Model(inputs, keras.layers.Dense(2)(inputs)))


# --- saving and copying


@pytest.mark.parametrize("kind", ["model", "training_model"])
def test_keras_file_round_trip(request, tmp_path, rng, kind):
    model, images = request.getfixturevalue(kind), pixels(rng)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        predict(loaded, images),
        predict(model, images),
    )


def test_clone_model(model, rng):
    clone, images = keras.models.clone_model(model), pixels(rng)
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(predict(clone, images), predict(model, images), atol=1e-6)


def test_config_round_trip(training_model, rng):
    copy, images = type(training_model).from_config(training_model.get_config()), pixels(rng)
    copy.set_weights(training_model.get_weights())
    assert copy.name == training_model.name
    np.testing.assert_allclose(
        predict(copy, images)["aux"], predict(training_model, images)["aux"], atol=1e-6
    )


def test_two_models_in_one_process_name_their_weights_alike(model):
    """Weights load by name: a second model must not count its layers on."""
    assert [w.path for w in small().weights] == [w.path for w in model.weights]


# --- mixed precision


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.02), ("bfloat16", 0.15)])
def test_mixed_precision(mixed_precision, model, rng, dtype, tolerance):
    mixed_precision(f"mixed_{dtype}")
    mixed = small()
    mixed.set_weights(model.get_weights())
    images = pixels(rng)
    logits, expected = mixed(images), predict(model, images)
    assert mixed.get_layer("stage5").compute_dtype == dtype
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    difference = np.abs(ops.convert_to_numpy(logits) - expected).max() / expected.std()
    print(f"{dtype}: logits differ by at most {difference:.1e} of their deviation")
    assert difference < tolerance


# --- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet50"}, r"one of \['stdc1', 'stdc2'\]. Received: 'resnet50'"),
        ({"input_shape": (64, 64)}, r"must be \(height, width, channels\).*Received: \(64, 64\)"),
        ({"input_shape": (64, 64, None)}, "fixed number of channels"),
        ({"input_tensor": np.zeros((1, 64, 64, 3))}, "must be a Keras tensor.*Received: ndarray"),
        ({"fusion": "add"}, r"`fusion` must be 'ccbam', 'sum' or None\. Received: 'add'"),
        ({"fusion": True}, r"must be 'ccbam', 'sum' or None\. Received: True"),
        ({"fusion": False}, r"must be 'ccbam', 'sum' or None\. Received: False"),
        ({"aspp_dilation_rates": ()}, r"one or more different positive integers. Received: \(\)"),
        ({"weights": "no such weights"}, "No weights 'no such weights' for cross_cbam_stdc1"),
        ({"backbone_weights": "no such weights"}, "No weights 'no such weights' for stdc1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_crosscbam.CrossCBAM(**{"input_shape": (*SIZE, 3), **arguments})


# --- imports


def run_python(code, backend):
    """What a fresh interpreter prints."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def imported(names, backend):
    """Which of the modules importing the package brings in."""
    code = f"import sys, keras_crosscbam; print(*({names!r} & sys.modules.keys()))"
    return run_python(code, backend).split()


def test_import_leaves_exporters_and_runtimes_alone():
    optional = {"onnx", "onnxruntime", "tensorrt", "openvino"}
    assert imported(optional, keras.backend.backend()) == []


def test_import_does_without_matplotlib():
    """Keras imports it where it is installed, so it has to be out of reach here."""
    code = "import sys; sys.modules['matplotlib'] = None; import keras_crosscbam; print('fine')"
    assert run_python(code, keras.backend.backend()).strip() == "fine"


def test_import_under_jax_leaves_other_backends_alone():
    pytest.importorskip("jax")
    assert imported({"tensorflow", "torch"}, "jax") == []
