"""Weights: found by name, path and URL, verified, loaded whole or not at all."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest

import keras_crosscbam as kc
from keras_crosscbam import manifest
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.manifest import MANIFEST
from keras_crosscbam.models.weights import find_weights

ANY_SIZE = (None, None, 3)
IMAGE = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def donor():
    """A network for five classes with an auxiliary head, all weights random."""
    keras.utils.set_random_seed(3)
    model = kc.CrossCBAM_M(num_classes=5, input_shape=ANY_SIZE, aux_head=True)
    # Fresh BatchNormalization layers are all alike, which would hide a mix-up.
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if "/bn/" in weight.path or "_bn/" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def inference(donor):
    return kc.inference_model(donor)


@pytest.fixture(scope="module")
def file(inference, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "donor.weights.h5"
    inference.save_weights(path)
    return path


@pytest.fixture
def shipped(file, tmp_path, monkeypatch):
    """A weights folder that ships the donor as "streets", in place of the real one."""
    folder = tmp_path / "weights"
    folder.mkdir()
    target = folder / "cross_cbam_stdc1_streets.weights.h5"
    shutil.copy(file, target)
    entry = {
        "name": "streets",
        "architecture": "cross_cbam_stdc1",
        "file": target.name,
        "sha256": file_sha256(target),
        "classes": "none of the known tables",
    }
    (folder / MANIFEST).write_text(json.dumps({"weights": [entry]}))
    monkeypatch.setattr(manifest, "_FOLDERS", (folder,))
    return target


def outputs(model):
    return keras.ops.convert_to_numpy(model(IMAGE, training=False))


def snapshot(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def unchanged(model, before):
    return all(np.array_equal(a, b) for a, b in zip(snapshot(model), before, strict=True))


def test_path_follows_the_files_number_of_classes(inference, file):
    model = kc.CrossCBAM_M(weights=file, input_shape=ANY_SIZE)
    assert model.output_shape[-1] == 5
    np.testing.assert_array_equal(outputs(model), outputs(inference))


def test_file_of_a_compiled_trained_model_loads(donor, tmp_path):
    """`save_weights` after `fit` writes optimizer state too, which is passed over."""
    model = kc.inference_model(donor)
    model.compile("sgd", loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "trained.weights.h5")
    loaded = kc.CrossCBAM_M(weights=tmp_path / "trained.weights.h5", input_shape=ANY_SIZE)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))


def test_auxiliary_head_in_the_file_alone_is_left_out(donor, inference, tmp_path):
    donor.save_weights(tmp_path / "training.weights.h5")
    model = kc.CrossCBAM_M(weights=tmp_path / "training.weights.h5", input_shape=ANY_SIZE)
    np.testing.assert_array_equal(outputs(model), outputs(inference))


def test_auxiliary_head_in_the_model_alone_stays_and_is_logged(inference, file, caplog):
    model = kc.CrossCBAM_M(weights=file, input_shape=ANY_SIZE, aux_head=True)
    np.testing.assert_array_equal(outputs(kc.inference_model(model)), outputs(inference))
    (record,) = caplog.records
    assert (
        "loaded all layers except aux_classifier, aux_fcn/bn, aux_fcn/conv" in record.getMessage()
    )


def test_other_number_of_classes_loads_all_but_the_head(inference, file, caplog):
    model = kc.CrossCBAM_M(weights=file, input_shape=ANY_SIZE, num_classes=7)
    theirs = {weight.path: weight for weight in inference.weights}
    for weight in model.weights:
        if not weight.path.startswith("classifier/"):
            np.testing.assert_array_equal(weight, theirs[weight.path], err_msg=weight.path)
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "loaded all layers except classifier, for which the file has no fitting weights"
    )


def test_backbone_weights_fill_the_encoder_alone(inference, file):
    model = kc.CrossCBAM_M(backbone_weights=file, input_shape=ANY_SIZE, num_classes=5)
    theirs = {weight.path: weight for weight in inference.weights}
    equal = {
        weight.path: np.array_equal(weight, theirs[weight.path])
        for weight in model.weights
        if weight.path.endswith("kernel")
    }
    assert all(same for path, same in equal.items() if path.startswith(("stem", "stage")))
    assert not any(same for path, same in equal.items() if not path.startswith(("stem", "stage")))


def test_classifier_file_serves_as_backbone_weights(tmp_path):
    classifier = kc.STDC1(num_classes=4, input_shape=ANY_SIZE)
    classifier.save_weights(tmp_path / "stdc1.weights.h5")
    model = kc.CrossCBAM_M(backbone_weights=tmp_path / "stdc1.weights.h5", num_classes=5)
    np.testing.assert_array_equal(
        model.get_layer("stage5_block2_conv3").conv.kernel,
        classifier.get_layer("stage5_block2_conv3").conv.kernel,
    )
    again = kc.STDC1(num_classes=4, input_shape=ANY_SIZE, weights=tmp_path / "stdc1.weights.h5")
    np.testing.assert_array_equal(again(IMAGE), classifier(IMAGE))


def test_name_is_looked_up_in_the_manifest(shipped, inference):
    model = kc.CrossCBAM_M1(weights="streets", input_shape=ANY_SIZE)
    np.testing.assert_array_equal(outputs(model), outputs(inference))
    assert list(kc.list_weights()) == ["streets"]


def test_unknown_name_lists_what_exists(shipped):
    with pytest.raises(ValueError, match=r"No weights 'citys' .*'streets' for cross_cbam_stdc1"):
        kc.CrossCBAM_M(weights="citys")


def test_name_without_the_backbone_lists_what_exists(shipped):
    with pytest.raises(ValueError, match="No weights 'streets' for cross_cbam_stdc2"):
        kc.CrossCBAM_L(weights="streets")


def test_tampered_shipped_file_is_refused(shipped):
    data = bytearray(shipped.read_bytes())
    data[len(data) // 2] ^= 1
    shipped.write_bytes(data)
    with pytest.raises(ValueError, match=r"SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
        kc.CrossCBAM_M(weights="streets")
    # The same file by its path: its name is known, so it is held against the manifest too.
    with pytest.raises(ValueError, match="SHA-256"):
        kc.CrossCBAM_M(weights=shipped)


def test_hash_in_the_path_is_checked(file):
    kc.CrossCBAM_M(weights=f"{file}#sha256={file_sha256(file)}", input_shape=ANY_SIZE)
    with pytest.raises(ValueError, match="SHA-256"):
        kc.CrossCBAM_M(weights=f"{file}#sha256={'0' * 64}", input_shape=ANY_SIZE)


def test_missing_shipped_file_asks_for_reinstallation(shipped):
    shipped.unlink()
    with pytest.raises(ValueError, match="Reinstall keras_crosscbam from its wheel"):
        kc.CrossCBAM_M(weights="streets")


@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_truncated_file_is_refused(file, tmp_path, kept):
    data = file.read_bytes()
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(data[: kept if kept > 1 else int(kept * len(data))])
    with pytest.raises(ValueError, match="the weights file cannot be read and may be incomplete"):
        kc.CrossCBAM_M(weights=cut)


def test_other_hdf5_file_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["temperature"] = np.arange(3)
    with pytest.raises(ValueError, match="not a Keras weights file"):
        kc.CrossCBAM_M(weights=tmp_path / "other.h5")


def test_file_left_out_of_the_wheel_is_loaded_by_its_path(shipped, tmp_path):
    entries = json.loads((shipped.parent / MANIFEST).read_text())
    entries["weights"][0]["in_wheel"] = False
    (shipped.parent / MANIFEST).write_text(json.dumps(entries))
    downloaded = shipped.rename(tmp_path / shipped.name)
    with pytest.raises(ValueError, match=f"not part of the wheel.* Download {shipped.name}"):
        kc.CrossCBAM_M(weights="streets")
    assert kc.CrossCBAM_M(weights=downloaded).output_shape[-1] == 5
    downloaded.write_bytes(downloaded.read_bytes()[:-1])
    with pytest.raises(ValueError, match="SHA-256"):
        kc.CrossCBAM_M(weights=downloaded)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.*: no such weights file"):
        kc.CrossCBAM_M(weights=tmp_path / "nowhere.weights.h5")


@pytest.mark.parametrize(
    ("arguments", "mismatch"),
    [
        ({"backbone": "stdc2"}, "stage3_block3_conv1/conv is missing"),
        ({"aspp_filters": 128}, "se_aspp/branch_rate1/conv: the model has"),
        ({"aspp_dilation_rates": (1, 3, 5)}, "se_aspp/branch_rate5/conv is missing"),
        ({"fusion": None}, "does not exist in the model"),
        ({"aspp_filters": 512}, "lateral4/conv does not exist in the model"),
    ],
)
def test_wrong_architecture_names_the_mismatch(file, arguments, mismatch):
    arguments = {"backbone": "stdc1", "input_shape": ANY_SIZE, **arguments}
    with pytest.raises(ValueError, match="No weights were changed") as error:
        kc.CrossCBAM(weights=file, **arguments)
    problems = find_weights(file, "").mismatches(kc.CrossCBAM(num_classes=5, **arguments))
    assert any(mismatch in problem for problem in problems)
    assert problems[0] in str(error.value)


def test_weights_of_another_width_are_refused_in_one_sentence(file, tmp_path):
    model = kc.CrossCBAM_S(num_classes=5, input_shape=ANY_SIZE)
    before = snapshot(model)
    with pytest.raises(
        ValueError,
        match=r"donor\.weights\.h5 does not fit the model 'cross_cbam_s': its encoder is 2 times "
        r"as wide \(the first layer has 32 filters, that of the model 16\)\. No weights were "
        r"changed\. "
        "Build the model with the `alpha` of the weights",
    ):
        find_weights(file, "").load_into(model)
    assert unchanged(model, before)
    model.save_weights(tmp_path / "narrow.weights.h5")
    for given in ({"weights": file}, {"backbone_weights": file}):
        with pytest.raises(ValueError, match="its encoder is 2 times as wide"):
            kc.CrossCBAM_S(input_shape=ANY_SIZE, **given)
    with pytest.raises(ValueError, match=r"its encoder is 0\.5 times as wide"):
        kc.CrossCBAM_M(weights=tmp_path / "narrow.weights.h5", input_shape=ANY_SIZE)


def test_narrow_weights_load_by_path_and_name(shipped, tmp_path):
    model = kc.CrossCBAM_S(num_classes=5, input_shape=ANY_SIZE)
    path = tmp_path / "narrow.weights.h5"
    model.save_weights(path)
    np.testing.assert_array_equal(
        outputs(kc.CrossCBAM_S1(weights=path, input_shape=ANY_SIZE)), outputs(model)
    )
    with pytest.raises(ValueError, match="No weights 'streets' for cross_cbam_stdc1_050"):
        kc.CrossCBAM_S(weights="streets")
    with pytest.raises(ValueError, match="No weights 'streets' for stdc1_050"):
        kc.CrossCBAM_S(backbone_weights="streets")
    # The manifest names it like any other.
    target = shipped.with_name("cross_cbam_stdc1_050_streets.weights.h5")
    shutil.copy(path, target)
    listed = json.loads((shipped.parent / MANIFEST).read_text())
    listed["weights"].append(
        {
            **listed["weights"][0],
            "architecture": "cross_cbam_stdc1_050",
            "file": target.name,
            "sha256": file_sha256(target),
        }
    )
    (shipped.parent / MANIFEST).write_text(json.dumps(listed))
    np.testing.assert_array_equal(
        outputs(kc.CrossCBAM_S(weights="streets", input_shape=ANY_SIZE)), outputs(model)
    )


def test_nothing_is_loaded_by_halves(file, tmp_path):
    """One wrong layer at the end, and not a single weight before it changes."""
    import h5py

    broken = tmp_path / "broken.weights.h5"
    shutil.copy(file, broken)
    with h5py.File(broken, "r+") as opened:
        bias = opened["layers/ccbam/low_spatial_attention/conv/vars"]
        del bias["1"]
        bias["1"] = np.zeros(2)
    model = kc.CrossCBAM_M(num_classes=5, input_shape=ANY_SIZE)
    before = snapshot(model)
    with pytest.raises(ValueError, match="ccbam4/low_spatial_attention/conv"):
        find_weights(broken, "").load_into(model)
    assert unchanged(model, before)


def test_url_is_fetched_and_verified(file, tmp_path, monkeypatch, inference):
    """A real HTTP server on the loopback interface, and Keras' cache in a folder of the test's."""
    monkeypatch.setattr(keras.utils, "get_file", partial(keras.utils.get_file, cache_dir=tmp_path))
    handler = partial(SimpleHTTPRequestHandler, directory=str(file.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        model = kc.CrossCBAM_M(weights=f"{url}#sha256={file_sha256(file)}", input_shape=ANY_SIZE)
        np.testing.assert_array_equal(outputs(model), outputs(inference))
        with pytest.raises(ValueError, match=r"could not be downloaded: .*hash"):
            kc.CrossCBAM_M(weights=f"{url}#sha256={'0' * 64}", input_shape=ANY_SIZE)
        with pytest.raises(ValueError, match=r"could not be downloaded: .*404"):
            kc.CrossCBAM_M(weights=f"{url}.weights.h5", input_shape=ANY_SIZE)
    finally:
        server.shutdown()


def test_every_shipped_file_matches_its_entry():
    for entries in kc.list_weights().values():
        for entry in entries:
            found = find_weights(entry["name"], entry["architecture"])
            assert found.num_classes == entry["num_classes"]
            assert len(found.classes or entry["class_names"]) == entry["num_classes"]
