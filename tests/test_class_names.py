"""The names of the classes: part of the model, of every file made of it, and of its weights."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from named_network import NAMES, named_network

import keras_crosscbam as kc
from keras_crosscbam.classes import class_table, numbered_classes
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable
from keras_crosscbam.layers import Scores
from keras_crosscbam.models.class_names import classes_of
from keras_crosscbam.models.surgery import inference_model, with_input_size
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.training import RECIPES, with_settings
from keras_crosscbam.training.training_model import training_model

ANY_SIZE = (None, None, 3)
ELEVEN = tuple(f"part {letter}" for letter in "abcdefghijk")
TABLE = ClassTable(("road", "car"), ((1, 2, 3), (250, 251, 252)))


def classifier(model):
    return [keras.ops.convert_to_numpy(w) for w in model.get_layer("classifier").weights]


def messages(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("keras_crosscbam")]


# In the model


def through_file(model, folder):
    model.save(folder / "m.keras")
    return keras.saving.load_model(folder / "m.keras")


COPIES = {
    "saved": through_file,
    "cloned": lambda model, _: keras.models.clone_model(model),
    "without auxiliary head": lambda model, _: inference_model(model),
    "of another size": lambda model, _: with_input_size(model, (64, 96)),
    "by its configuration": lambda model, _: type(model).from_config(model.get_config()),
    "wrapped": lambda model, _: keras.Model(model.input, model.output),
    "all of it": lambda model, folder: through_file(
        keras.models.clone_model(inference_model(with_input_size(model, (64, 96)))), folder
    ),
}


@pytest.mark.parametrize("copy", COPIES)
def test_names_and_colors_go_with_the_model(tmp_path, copy):
    made = COPIES[copy](named_network(TABLE, aux_head=True), tmp_path)
    assert classes_of(made) == TABLE
    assert kc.runtime.load(inference_model(made)).classes == TABLE
    if copy != "wrapped":
        assert made.classes == TABLE


def test_the_model_is_a_functional_one():
    image = keras.Input((1,))
    functional = type(keras.Model(image, keras.layers.Identity()(image)))
    assert isinstance(named_network(), functional)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_names_survive_on_every_backend(backend, tmp_path):
    """Made and copied on another backend, read on this one."""
    program = f"""
import keras
from named_network import named_network
from keras_crosscbam.models.surgery import with_input_size
model = with_input_size(keras.models.clone_model(named_network()), (8, 8))
model.save({str(tmp_path / "m.keras")!r})
model.save_weights({str(tmp_path / "m.weights.h5")!r})
fresh = named_network(4)
fresh.load_weights({str(tmp_path / "m.weights.h5")!r})
assert fresh.classes.names == {NAMES}, fresh.classes
assert keras.saving.load_model({str(tmp_path / "m.keras")!r}).classes.names == {NAMES}
"""
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(paths)}
    run = [sys.executable, "-c", program]
    subprocess.run(run, env=environment, check=True, capture_output=True, text=True)
    assert kc.runtime.load(tmp_path / "m.keras").classes.names == NAMES
    model = named_network(4)
    model.load_weights(tmp_path / "m.weights.h5")
    assert model.classes.names == NAMES


def test_names_set_later_are_kept(tmp_path):
    model = named_network(4)
    assert model.classes is None
    model.classes = list("abcd")
    assert through_file(model, tmp_path).classes.names == tuple("abcd")
    assert keras.models.clone_model(model).classes.names == tuple("abcd")
    with pytest.raises(ValueError, match=r"network has 4 classes\. Received: 2 names"):
        model.classes = ["a", "b"]


@pytest.mark.parametrize(
    "behind",
    [
        lambda x: keras.layers.Softmax()(x),
        lambda x: keras.layers.Activation("softmax")(x),
        lambda x: keras.ops.softmax(x),
        lambda x: keras.layers.UpSampling2D()(x),
    ],
)
def test_names_are_seen_through_what_keeps_the_channels(behind):
    model = named_network()
    assert classes_of(keras.Model(model.input, behind(model.output))).names == NAMES
    nested = keras.Sequential([keras.Input(ANY_SIZE), model, keras.layers.Softmax()])
    assert kc.runtime.load(nested).classes.names == NAMES


def test_a_new_head_on_top_has_no_names():
    model = named_network()
    more = keras.Model(model.input, keras.layers.Conv2D(4, 1)(model.output))
    assert classes_of(more) is None
    assert kc.runtime.load(more).classes == numbered_classes(4)


def test_other_models_may_have_the_attribute():
    image = keras.Input(ANY_SIZE)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    model.classes = TABLE
    assert kc.runtime.load(model).classes == TABLE
    assert kc.runtime.load(with_input_size(model, (8, 8))).classes == TABLE


# In the builders


def test_classes_say_how_many_there_are():
    model = kc.CrossCBAM_M(classes=["background", "road", "car"], input_shape=(64, 96, 3))
    assert model.output_shape == (None, 64, 96, 3)
    assert model.classes == class_table(["background", "road", "car"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": TABLE, "num_classes": 3}, "Received: num_classes=3, 2 classes"),
        ({"classes": "road"}, "ClassTable or a list of names. Received: 'road'"),
        ({"classes": [1, 2]}, "ClassTable or a list of names"),
        ({"classes": []}, "ClassTable or a list of names"),
        ({"classes": ["a", "b", "a"]}, r"must differ. Received duplicates: \['a'\]"),
    ],
)
def test_classes_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.CrossCBAM_M(**arguments)


def test_scores_must_be_of_the_classes_named():
    with pytest.raises(ValueError, match=r"must be the number of classes, 2\. Received: 3 scores"):
        Scores(TABLE)([np.zeros((1, 2, 2, 3)), np.zeros((1, 4, 4, 3))])


# Weights


@pytest.fixture(scope="module")
def camvid():
    return kc.CrossCBAM_M(weights="camvid", input_shape=ANY_SIZE)


def test_eleven_classes_of_ones_own_get_a_new_head(camvid, caplog):
    model = kc.CrossCBAM_M(weights="camvid", classes=ELEVEN, input_shape=ANY_SIZE)
    assert model.classes.names == ELEVEN
    assert not np.array_equal(classifier(model)[0], classifier(camvid)[0])
    for ours, theirs in zip(model.weights, camvid.weights, strict=True):
        if not ours.path.startswith("classifier/"):
            np.testing.assert_array_equal(ours, theirs)
    (message,) = messages(caplog)
    assert "loaded all layers except classifier" in message
    assert "only the file has Sky, Building" in message
    assert "only the model has part a, part b" in message


def test_the_same_names_in_another_order_keep_their_scores(camvid):
    order = np.random.default_rng(0).permutation(11)
    names = [CAMVID_CLASSES.names[i] for i in order]
    model = kc.CrossCBAM_M(weights="camvid", classes=names, input_shape=ANY_SIZE)
    for ours, theirs in zip(classifier(model), classifier(camvid), strict=True):
        np.testing.assert_array_equal(ours, theirs[..., order])


@pytest.mark.parametrize("arguments", [{}, {"classes": CAMVID_CLASSES}])
def test_the_weights_own_classes_are_loaded_without_a_word(camvid, caplog, arguments):
    model = kc.CrossCBAM_M(weights="camvid", input_shape=ANY_SIZE, **arguments)
    assert model.classes == CAMVID_CLASSES
    np.testing.assert_array_equal(classifier(model)[0], classifier(camvid)[0])
    assert messages(caplog) == []


def test_a_number_alone_means_the_weights_own_classes_and_says_so(camvid, caplog):
    model = kc.CrossCBAM_M(weights="camvid", num_classes=11, input_shape=ANY_SIZE)
    assert model.classes == CAMVID_CLASSES
    np.testing.assert_array_equal(classifier(model)[0], classifier(camvid)[0])
    (message,) = messages(caplog)
    assert "num_classes=11 equals the number of its classes (Sky, Building" in message
    assert "Pass `classes=` for other classes" in message


def test_another_number_has_no_names():
    model = kc.CrossCBAM_M(weights="camvid", num_classes=5, input_shape=ANY_SIZE)
    assert model.classes is None


@pytest.mark.parametrize("recipe", ["finetune-m", "finetune-l"])
def test_fine_tuning_on_as_many_classes_starts_with_a_new_head(recipe, caplog):
    run = SimpleNamespace(
        weights="camvid",
        state=None,
        deepen=lambda model, _: model,
        narrow=lambda model, *_: model,
    )
    own = SimpleNamespace(classes=class_table(ELEVEN), channels=3)
    recipe = with_settings(RECIPES[recipe], [])
    model = training_model(own, recipe, run, [])
    assert model.classes.names == ELEVEN
    theirs = find_weights("camvid", inference_model(model).name).variables["classifier"][0]
    assert not np.array_equal(classifier(model)[0], theirs)
    assert "only the model has part a" in messages(caplog)[0]


def test_weights_files_hold_the_names(tmp_path, monkeypatch):
    """Of training models and of inference models, float16 files of the publishing tool too."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    from publish_weights import to_float16

    trained = kc.CrossCBAM_M(classes=TABLE, input_shape=ANY_SIZE, aux_head=True)
    inference_model(trained).save_weights(tmp_path / "m.weights.h5")
    trained.save_weights(tmp_path / "training.weights.h5")
    to_float16(tmp_path / "m.weights.h5", tmp_path / "half.weights.h5")
    for name in ("m", "training", "half"):
        file = tmp_path / f"{name}.weights.h5"
        assert find_weights(file, "").classes == TABLE
        assert kc.CrossCBAM_M(weights=file, input_shape=ANY_SIZE).classes == TABLE


def test_keras_own_loading_takes_and_compares_the_names(tmp_path):
    named_network().save_weights(tmp_path / "m.weights.h5")
    unnamed = named_network(4, seed=1)
    unnamed.load_weights(tmp_path / "m.weights.h5")
    assert unnamed.classes.names == NAMES
    for names in (tuple("abcd"), NAMES[::-1]):
        with pytest.raises(
            ValueError, match="weights in the file are for the classes road, car, sky, tree"
        ):
            named_network(names).load_weights(tmp_path / "m.weights.h5")


def test_weights_without_names_are_taken_for_the_models(tmp_path, caplog):
    """As every file of version 0.1 is."""
    named_network(4).save_weights(tmp_path / "m.weights.h5")
    model = named_network()
    before = classifier(named_network(4))[0]
    find_weights(tmp_path / "m.weights.h5", "").load_into(model)
    assert model.classes.names == NAMES
    np.testing.assert_array_equal(classifier(model)[0], before)
    (message,) = messages(caplog)
    assert "does not name its classes: its head is assumed to be for road, car" in message


@pytest.mark.parametrize(
    "damaged", [b"\xff\xfe", b"{", b"[]", b'{"names": 3}', b'{"names": ["a"], "colors": []}']
)
def test_damaged_names_are_refused_by_the_name_of_the_file(tmp_path, damaged):
    named_network().save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "r+") as file:
        entry = file["layers/scores/vars"]
        del entry["classes"]
        entry["classes"] = np.frombuffer(damaged, np.uint8)
    with pytest.raises(ValueError, match=r"m.weights.h5: the class names in it cannot be read"):
        find_weights(tmp_path / "m.weights.h5", "")


# In exported files


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    return through_file(named_network(shape=(16, 24, 3)), tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (kc.export.to_onnx, "m.onnx"),
        (kc.export.to_openvino, "m.xml"),
        (kc.export.to_litert, "m.tflite"),
        (kc.export.to_saved_model, "m"),
    ],
)
def test_exports_of_a_loaded_file_have_the_names(reloaded, tmp_path, write, name):
    write(reloaded, tmp_path / name)
    run = kc.runtime.load(tmp_path / name)
    assert run.description.classes == class_table(NAMES)
    assert run.classes == class_table(NAMES)


# The table itself


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_any_names_go_through_configuration_and_weights(names):
    table = class_table(names)
    layer = Scores(table)
    config = json.loads(json.dumps(layer.get_config()))
    assert Scores.from_config(config).classes == table
    store, fresh = {}, Scores()
    layer.save_own_variables(store)
    fresh.load_own_variables(store)
    assert fresh.classes == table


def test_the_log_is_read_where_it_is_written():
    """Else the tests above that expect silence would prove nothing."""
    assert logging.getLogger("keras_crosscbam").getEffectiveLevel() <= logging.WARNING
