"""Under `channels_first` in Keras' configuration all is channels_last, and gives the same."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_network import SMALL

import keras_crosscbam as kc
from keras_crosscbam import runtime
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.datasets.keras_augmentation import KerasAugmentation
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.models.surgery import inference_model, with_input_size
from keras_crosscbam.training import SegmentationCrossEntropy
from keras_crosscbam.training.validation import SegmentationValidation

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
SIZE = (48, 64)


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (1, *SIZE, 3)).astype(np.float32)


def build(**options):
    keras.utils.set_random_seed(3)
    return kc.CrossCBAM(num_classes=4, input_shape=(*SIZE, 3), aspp_filters=128, **options)


def expected_of(builder, images):
    """What a model gives that is built and run under channels_last."""
    keras.config.set_image_data_format("channels_last")
    try:
        model = builder()
        return keras.tree.map_structure(np.array, model(images)), model.get_weights()
    finally:
        keras.config.set_image_data_format("channels_first")


@pytest.mark.parametrize(
    "options",
    [{"aux_head": True}, {"fusion": "sum"}, {"fusion": None, "use_se_aspp": False}],
    ids=str,
)
def test_a_network_gives_the_same(channels_first, images, options):
    expected, weights = expected_of(lambda: build(**options), images)
    model = build(**options)
    model.set_weights(weights)
    found = model(images)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
    )


def test_encoders_give_the_same(channels_first, images):
    for top in (True, False):

        def encoder(top=top):
            keras.utils.set_random_seed(3)
            return kc.STDC1(input_shape=(*SIZE, 3), num_classes=5, include_top=top)

        expected, _ = expected_of(encoder, images)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), encoder()(images), expected
        )


def test_training_judging_and_saving(channels_first, made_camvid, images, tmp_path):
    train, val = (load_camvid(made_camvid, split) for split in ("train", "val"))
    model = kc.CrossCBAM(num_classes=11, input_shape=(None, None, 3), **SMALL)
    model.compile("adam", loss=SegmentationCrossEntropy())
    batches = training_batches(train, SIZE, batch_size=2)
    history = model.fit(batches, steps_per_epoch=1, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    validated = SegmentationValidation(model, val, size=SIZE)()
    assert validated["val_mean_iou"] == pytest.approx(
        kc.evaluate(model, val, SIZE)["mean_iou"], abs=0.05
    )
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    keras.config.set_image_data_format("channels_last")
    also_loaded = keras.saving.load_model(tmp_path / "m.keras")
    expected = model(images)
    for other in (loaded, also_loaded, with_input_size(model, SIZE)):
        np.testing.assert_allclose(other(images), expected, atol=1e-5)


def test_files_of_channels_last_are_loaded(channels_first, images, tmp_path):
    def saved():
        model = build()
        model.save(tmp_path / "m.keras")
        return model

    expected, _ = expected_of(saved, images)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "export"),
    [
        ("m.onnx", kc.export.to_onnx),
        pytest.param("m.tflite", kc.export.to_litert, marks=pytest.mark.slow),
    ],
)
def test_exported_files_give_the_same(channels_first, images, tmp_path, name, export):
    model = inference_model(build(aux_head=True))
    kernel = model.get_layer("classifier").kernel
    kernel.assign(5 * np.random.default_rng(0).normal(size=kernel.shape))
    export(model, tmp_path / name)
    received = runtime.load(tmp_path / name).logits(images)
    np.testing.assert_allclose(received, model(images), atol=1e-3)


def test_the_peers_are_built(channels_first):
    from peers import PEERS

    for name in ("stdc1-seg", "pp-liteseg-t", "ddrnet-23-slim"):
        assert PEERS[name]((128, 256, 3), num_classes=4).output_shape == (None, 128, 256, 4)


def test_augmentation_of_the_other_layout_is_refused(channels_first):
    with pytest.raises(ValueError, match='give it data_format="channels_last"'):
        KerasAugmentation(keras.layers.RandomFlip("horizontal"))
    KerasAugmentation(keras.layers.RandomFlip("horizontal", data_format="channels_last"))
