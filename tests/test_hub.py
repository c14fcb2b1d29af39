"""Models on the Hugging Face Hub: real round trips with huggingface_hub over a loopback server."""

import json
import logging
import sys

import keras
import numpy as np
import pytest
import tiny_network
import yaml
from hub_server import TOKEN, Hub
from PIL import Image
from small_network import SMALL

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.demo import networks
from keras_crosscbam.hub.address import Address
from keras_crosscbam.hub.card import MARK, readme
from keras_crosscbam.images import STREET
from keras_crosscbam.models.weights import find_weights

MISSING = "huggingface_hub is not installed (extra `hub`): tests of the Hub are left out"
REPO = "user/roads"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub, with someone logged in and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants", reason=MISSING)
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.close()


def small(weights=None):
    classes = None if weights else kc.datasets.CAMVID_CLASSES
    return kc.CrossCBAM(weights=weights, classes=classes, input_shape=(None, None, 3), **SMALL)


def load(address):
    """The arrays of a weights file by the names of its layers."""
    return find_weights(address, "").variables


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the smallest network, and its scores on an image."""
    keras.utils.set_random_seed(3)
    model = small()
    path = tmp_path_factory.mktemp("weights") / "roads.weights.h5"
    model.save_weights(path)
    return path, scores(model)


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        np.array_equal(*pair)
        for name in ours
        for pair in zip(ours[name], theirs[name], strict=True)
    )


def scores(model):
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3)).astype(np.float32)
    return keras.ops.convert_to_numpy(model(image))


@pytest.fixture
def onnx(tmp_path):
    return tiny_network.onnx_file(tmp_path / "tiny.onnx", size=(None, None))


def failure(function, *arguments, **more):
    """The message of a `ValueError`, which is one line."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        function(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_make_a_round_trip(hub, weights, capsys):
    path, expected = weights
    assert cli.main(["push", str(path), REPO, "--license", "apache-2.0"]) == 0
    assert f"{hub.address}/{REPO}/commit/{hub.commits(REPO)[-1]}\n" in capsys.readouterr().out
    files = hub.repos[REPO][-1]
    assert files[path.name] == path.read_bytes()
    manifest = json.loads(files["manifest.json"])["models"]
    assert manifest[path.name]["files"] == {path.name: file_sha256(path)}
    address = f"hf://{REPO}@{hub.commits(REPO)[-1]}/{path.name}"
    assert same(load(address), load(path))
    model = small(f"hf://{REPO}")
    np.testing.assert_array_equal(scores(model), expected)
    assert model.classes == kc.datasets.CAMVID_CLASSES

    card = files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "keras"
    assert "image-segmentation" in front["tags"]
    assert front["metrics"] == ["mean_iou"]


def test_an_exported_file_makes_a_round_trip(hub, onnx, tmp_path, capsys):
    expected = kc.segment(onnx, STREET, size=32)
    kc.hub.push(onnx, REPO)
    np.testing.assert_array_equal(kc.segment(f"hf://{REPO}", STREET, size=32), expected)
    address = f"onnxruntime:hf://{REPO}/tiny.onnx"
    assert next(iter(networks([address]))) == f"hf://{REPO}/tiny.onnx (onnxruntime)"
    out = ["--out", str(tmp_path), "--size", "32"]
    assert cli.main(["segment", str(STREET), "--model", address, *out]) == 0
    np.testing.assert_array_equal(Image.open(tmp_path / "street_labels.png"), expected)
    capsys.readouterr()
    assert failure(find_weights, f"hf://{REPO}", "") == (
        f"hf://{REPO}: the repository has no weights file. Name a file: hf://{REPO}/FILE"
    )
    card = hub.repos[REPO][-1]["README.md"].decode()
    assert "Classes, in order: a, b, c, d." in card


@pytest.mark.slow
def test_several_networks_of_one_repository(hub, onnx, tmp_path):
    (tmp_path / "ir").mkdir()
    xml = tiny_network.openvino_file(tmp_path / "ir" / "tiny.xml", output="logits")
    for path in (onnx, xml):
        kc.hub.push(path, REPO)
    assert {"tiny.onnx", "tiny.xml", "tiny.bin"} < hub.repos[REPO][-1].keys()
    address = f"hf://{REPO}/tiny.xml"
    np.testing.assert_array_equal(kc.segment(address, STREET), kc.segment(xml, STREET))
    run = kc.runtime.load(f"openvino:hf://{REPO}/tiny.onnx")
    assert "openvino" in type(run).__module__
    assert failure(kc.runtime.load, f"hf://{REPO}") == (
        f"hf://{REPO}: the repository has several networks (tiny.onnx, tiny.xml). Name a file: "
        f"hf://{REPO}/FILE"
    )
    assert "## tiny.onnx" in hub.repos[REPO][-1]["README.md"].decode()


def test_a_tampered_file_is_refused(hub, weights):
    path, _ = weights
    kc.hub.push(path, REPO)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    hub.add(REPO, **{path.name: bytes(content)})
    message = failure(load, f"hf://{REPO}")
    assert message.startswith(f"hf://{REPO}/{path.name}: the SHA-256 of the file is ")
    assert f"but the repository's manifest.json says {file_sha256(path)}" in message
    # The commit before is intact.
    load(f"hf://{REPO}@{hub.commits(REPO)[-2]}")
    pinned = f"hf://{REPO}@{hub.commits(REPO)[-2]}#sha256={'0' * 64}"
    assert "expected 0000" in failure(load, pinned)


def test_the_cache_serves_when_the_hub_does_not(hub, weights, monkeypatch):
    path, _ = weights
    kc.hub.push(path, REPO)
    load(f"hf://{REPO}")
    hub.close()
    assert same(load(f"hf://{REPO}"), load(path))
    # Without this, huggingface_hub tries again for 20 seconds.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(load(f"hf://{REPO}"), load(path))
    assert failure(load, "hf://user/other") == (
        "hf://user/other/manifest.json: the Hugging Face Hub cannot be reached, and the file is "
        "not in the cache of earlier downloads"
    )
    assert "the Hugging Face Hub could not be used" in failure(kc.hub.push, path, REPO)


def test_private_repositories_need_a_login(hub, weights, monkeypatch):
    path, _ = weights
    kc.hub.push(path, REPO, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    expected = "there is no such repository on the Hugging Face Hub, or it is private"
    assert expected in failure(load, f"hf://{REPO}")
    assert expected in failure(kc.runtime.load, "hf://user/nothing")
    assert "could not be used (" in failure(kc.hub.push, path, "user/new")


def test_what_is_not_there_is_named(hub, weights, capsys):
    path, _ = weights
    kc.hub.push(path, REPO)
    assert "has no such revision" in failure(load, f"hf://{REPO}@v9")
    assert failure(load, f"hf://{REPO}/other.weights.h5") == (
        f"hf://{REPO}/other.weights.h5: its manifest.json lists only roads.weights.h5"
    )
    assert "has no network" in failure(kc.runtime.load, f"hf://{REPO}")
    capsys.readouterr()
    assert cli.main(["segment", str(STREET), "--model", "hf://user/nothing"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("crosscbam segment: hf://user/nothing")
    assert error.count("\n") == 1


def test_a_repository_without_a_manifest(hub, weights, caplog):
    path, _ = weights
    hub.add(REPO, **{path.name: path.read_bytes()})
    assert "has no manifest.json, so a file has to be named" in failure(load, f"hf://{REPO}")
    address = f"hf://{REPO}/{path.name}"
    with caplog.at_level(logging.WARNING, "keras_crosscbam"):
        assert same(load(address), load(path))
    assert "the SHA-256 of the file was not verified" in caplog.text
    assert "no such file" in failure(load, f"hf://{REPO}/other.weights.h5")


@pytest.mark.parametrize(
    "manifest",
    [
        b"[]",
        b"\xff",
        b'{"models": {"../a.weights.h5": {"files": {"../a.weights.h5": "00"}}}}',
        b'{"models": {"a.weights.h5": {"files": {"/etc/passwd": "00"}}}}',
        b'{"models": {"a.weights.h5": {"files": {}}}}',
        b'{"models": {"a.weights.h5": {"files": {"a.weights.h5": null}}}}',
        b'{"models": {"a.weights.h5": {"files": {"a.weights.h5": "0"}, "entry": {"classes": []}}}}',
    ],
    ids=["list", "binary", "outside", "absolute", "no files", "no digest", "classes"],
)
def test_other_manifests_are_refused(hub, manifest):
    hub.add(REPO, **{"manifest.json": manifest, "a.weights.h5": b"content"})
    assert "not the manifest of a repository" in failure(load, f"hf://{REPO}")


def test_a_readme_written_by_hand_stays(hub, onnx):
    kc.hub.push(onnx, REPO)
    own = hub.repos[REPO][-1]["README.md"].replace(MARK.encode(), b"Our roads.")
    hub.add(REPO, **{"README.md": own})
    kc.hub.push(tiny_network.onnx_file(onnx.with_name("other.onnx")), REPO)
    assert hub.repos[REPO][-1]["README.md"] == own
    assert set(json.loads(hub.repos[REPO][-1]["manifest.json"])["models"]) == {
        "tiny.onnx",
        "other.onnx",
    }


def test_an_unreadable_file_is_not_uploaded(hub, tmp_path, capsys):
    (tmp_path / "cut.weights.h5").write_bytes(b"no weights")
    assert cli.main(["push", str(tmp_path / "cut.weights.h5"), REPO]) == 2
    assert "cut.weights.h5: the weights file cannot be read" in capsys.readouterr().err
    assert "no such file" in failure(kc.hub.push, tmp_path / "none.onnx", REPO)
    assert "A repository on the Hub is USER/NAME" in failure(kc.hub.push, "m.onnx", "roads")
    assert hub.repos == {}


def test_the_card_of_shipped_weights_has_their_figures():
    entry = kc.list_weights()["camvid"][0]
    model = {"files": {entry["file"]: entry["sha256"]}, "use": "", "classes": None, "entry": entry}
    card = readme(REPO, {entry["file"]: model})
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["datasets"]) == ("other", ["camvid"])
    assert front["metrics"] == ["accuracy", "mean_iou"]
    values = [result["metrics"][0]["value"] for result in front["model-index"][0]["results"]]
    assert entry["test_mean_iou"] in values
    assert entry["license"] in card
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert [line for line in headings if line.startswith("# ")] == ["# roads"]
    assert "### Limits" in headings


def test_the_card_of_a_training_has_no_paths(hub, weights, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    path = run / "best.weights.h5"
    path.write_bytes(weights[0].read_bytes())
    recipe = {"name": "camvid-m", "batch_size": 8, "learning_rate": 0.001, "seed": 4}
    recipe["weights"] = "/home/me/secret.weights.h5"
    data = {"name": "roads", "train_frames": 12, "root": "/home/me"}
    (run / "run.json").write_text(json.dumps({"recipe": recipe, "data": data}))
    (run / "log.csv").write_text("epoch,val_mean_iou\n1,0.25\n2,0.5\n3,\n")
    kc.hub.push(path, REPO)
    files = hub.repos[REPO][-1]
    card = files["README.md"].decode()
    assert "Recipe `camvid-m`, 12 frames of roads, 3 epochs; batch 8" in card
    assert "Validation mean IoU: 50.00 %" in card
    assert yaml.safe_load(card.split("---")[1])["datasets"] == ["roads"]
    assert b"/home/me" not in files["README.md"] + files["manifest.json"]


def test_the_command_says_how_to_get_the_library(capsys, monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert cli.main(["push", str(weights[0]), REPO]) == 2
    assert capsys.readouterr().err == (
        "crosscbam push: Models on the Hugging Face Hub need huggingface_hub, which is not "
        "installed. Run `pip install keras-crosscbam[hub]`.\n"
    )
    with pytest.raises(ImportError, match=r"keras-crosscbam\[hub\]"):
        load(f"hf://{REPO}")


@pytest.mark.slow
def test_folders_and_descriptions_go_along(hub, tmp_path):
    """A SavedModel is a folder, and the description of a LiteRT file is a file next to it."""
    image = tiny_network.images()[0]
    for model in (
        tiny_network.saved_model(tmp_path / "network"),
        tiny_network.tflite_file(tmp_path / "network.tflite"),
    ):
        kc.hub.push(model, REPO)
        run = kc.runtime.load(f"hf://{REPO}/{model.name}")
        assert run.classes == tiny_network.TABLE
        np.testing.assert_array_equal(run(image), kc.runtime.load(model)(image))
    assert {"network/saved_model.pb", "network.tflite.json"} < hub.repos[REPO][-1].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CrossCBAM_S", "STDC1", "small"])
def test_the_code_of_the_card_loads_the_weights(hub, tmp_path, name):
    options = {"num_classes": 4} if name == "STDC1" else {"classes": list("abcd")}
    builder, more = (kc.CrossCBAM, SMALL) if name == "small" else (getattr(kc, name), {})
    model = builder(input_shape=(None, None, 3), **options, **more)
    model.save_weights(path := tmp_path / "mine.weights.h5")
    kc.hub.push(path, REPO)
    names = {}
    exec(hub.repos[REPO][-1]["README.md"].decode().split("```python\n")[1].split("```")[0], names)
    for ours, theirs in zip(model.weights, names["model"].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if "classes" in options:
        assert list(names["model"].classes.names) == options["classes"]


@pytest.mark.parametrize(
    "text",
    ["hf://name", "hf://user/name/../x", "hf://user/name/", "hf://user/name@", "hf://../name"],
)
def test_other_addresses_are_refused(text):
    assert "An address on the Hub is hf://USER/NAME" in failure(Address.parse, text)


@pytest.mark.parametrize(
    "text", ["hf://user/name", "hf://u.s/n-a_me@refs/pr/3/a/b.onnx", "hf://user/name@v1.0"]
)
def test_addresses_are_texts(text):
    assert str(Address.parse(text)) == text
