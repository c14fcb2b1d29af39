"""Networks and data sets that number the same classes differently, and those of other classes."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from named_network import NAMES, named_network
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.classes import CITYSCAPES_IDS, ClassTable, class_table, numbered_classes
from keras_crosscbam.cli import main
from keras_crosscbam.datasets import CAMVID_CLASSES, CITYSCAPES_CLASSES, load_dataset, load_folder
from keras_crosscbam.datasets.class_mapping import agreed_classes, relabeling
from keras_crosscbam.export.parity import ParityError, check
from keras_crosscbam.label_files import write_best_and_worst, write_predictions
from keras_crosscbam.segmentation import segment_files
from keras_crosscbam.training import RECIPES
from keras_crosscbam.training.segmentation import train

ORDER = ("tree", "road", "sky", "car")
SIZE = (16, 24)


def write_folder(root, names, frames=("a", "b"), splits=("train", "val")):
    """Frames of noise, and masks of what the network says of them with a quarter put wrong."""
    network, rng = kc.runtime.load(named_network()), np.random.default_rng(1)
    for split in splits:
        for frame in frames:
            image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
            labels = network(image)
            labels[: SIZE[0] // 4] = 0
            numbers = np.array([names.index(n) if n in names else 0 for n in NAMES], np.uint8)
            for folder, array in (("images", image), ("masks", numbers[labels])):
                file = root / folder / split / f"{frame}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    classes = [{"name": name, "color": [10 * i, 0, 99]} for i, name in enumerate(names)]
    (root / "dataset.yaml").write_text(yaml.safe_dump({"name": "made", "classes": classes}))
    return root


@pytest.fixture
def straight(tmp_path):
    return load_folder(write_folder(tmp_path / "straight", NAMES), "val")


@pytest.fixture
def shuffled(tmp_path):
    """The same frames and masks, in another numbering."""
    return load_folder(write_folder(tmp_path / "shuffled", ORDER), "val")


# Accuracy


def test_the_same_names_in_another_order_are_mapped(straight, shuffled):
    expected, mapped = (
        kc.evaluate(named_network(), straight),
        kc.evaluate(named_network(), shuffled),
    )
    assert 0.4 < expected["mean_iou"] < 0.95
    for name in ("mean_iou", "iou", "pixel_accuracy"):
        assert mapped[name] == pytest.approx(expected[name]), name
    np.testing.assert_allclose(mapped["frame_iou"], expected["frame_iou"], rtol=1e-12)
    order = [NAMES.index(name) for name in ORDER]
    np.testing.assert_array_equal(mapped["confusion"], expected["confusion"][order][:, order])


@pytest.mark.parametrize("of", ["exported", "averaged", "file"])
def test_every_runtime_is_compared(straight, shuffled, tmp_path, of):
    model = named_network(shape=(*SIZE, 3))
    if of == "exported":
        kc.export.to_onnx(model, tmp_path / "m.onnx", output="labels", optimize_for=None)
        model = tmp_path / "m.onnx"
    elif of == "file":
        model.save(tmp_path / "m.keras")
        model = tmp_path / "m.keras"
    else:
        model = kc.runtime.TTARuntime(kc.runtime.load(model), flip=True)
    assert kc.evaluate(model, shuffled)["mean_iou"] == pytest.approx(
        kc.evaluate(model, straight)["mean_iou"]
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("road", "car", "sky", "person"),
            "different classes: only Keras model 'network' has tree; "
            "only the data set 'made' has person",
        ),
        (
            ("road", "car", "sky"),
            "has 4 classes, the data set 'made' 3: only Keras model 'network' has tree",
        ),
        (("Road", "car", "sky", "tree"), "'network' has road; only the data set 'made' has Road"),
    ],
)
def test_other_names_are_refused_and_shown(tmp_path, names, message):
    data = load_folder(write_folder(tmp_path, names), "val")
    with pytest.raises(ValueError, match=message):
        kc.evaluate(named_network(), data)
    with pytest.raises(ValueError, match=message):
        write_best_and_worst(named_network(), data, [0, 1], tmp_path / "out")


@pytest.mark.parametrize("names", [NAMES, tuple("abcd"), numbered_classes(4).names])
def test_unknown_classes_are_taken_as_numbered(straight, tmp_path, names):
    expected = kc.evaluate(named_network(), straight)["mean_iou"]
    unnamed = named_network(4)
    unnamed.set_weights(named_network().get_weights())
    assert kc.evaluate(unnamed, straight)["mean_iou"] == expected
    unnamed.classes = numbered_classes(4)
    assert kc.evaluate(unnamed, straight)["mean_iou"] == expected


def test_pictures_of_frames_are_in_the_data_sets_numbers(straight, shuffled, tmp_path):
    """Truth and prediction have the same colors where they agree, in either numbering."""
    for data in (straight, shuffled):
        (picture,) = write_best_and_worst(named_network(), data, [1.0, 0.5], tmp_path, count=1)[:1]
        pixels = np.asarray(Image.open(picture))[SIZE[0] // 4 : SIZE[0]]
        truth, predicted = (pixels[:, i * SIZE[1] : (i + 1) * SIZE[1]] for i in (1, 2))
        np.testing.assert_array_equal(truth, predicted)


def test_training_and_validation_must_have_the_same_classes(straight, shuffled, tmp_path):
    with pytest.raises(ValueError, match=r"same classes in the same order. Received: road, car"):
        train(straight, shuffled, RECIPES["camvid-m"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_lost_the_names_does_not_pass_the_comparison(tmp_path):
    model, frames = named_network(shape=(*SIZE, 3)), [np.zeros((1, *SIZE, 3), np.uint8)]
    named, shuffled, unnamed = (
        kc.runtime.load(m)
        for m in (model, named_network(ORDER, shape=(*SIZE, 3)), named_network(4))
    )
    assert check(named, named, frames).argmax_agreement == 1
    for other in (shuffled, unnamed):
        with pytest.raises(ParityError, match=r"has the classes .*, but Keras model 'network' has"):
            check(named, other, frames)


# Predictions as files


@pytest.mark.parametrize("given", ["data set", "paths"])
def test_predictions_have_the_data_sets_numbers(shuffled, tmp_path, given):
    images = [image for image, _ in shuffled.pairs]
    if given == "data set":
        files = write_predictions(named_network(), shuffled, tmp_path / "out")
    else:
        table = shuffled.classes
        files = write_predictions(named_network(), images, tmp_path / "out", classes=table)
    for file, (_, labels) in zip(files, shuffled, strict=True):
        written = np.asarray(Image.open(file))
        np.testing.assert_array_equal(written[SIZE[0] // 4 :], labels[SIZE[0] // 4 :])


def test_label_ids_go_by_name(tmp_path):
    """Of a network for Cityscapes' classes in another order."""
    order = np.random.default_rng(0).permutation(19)
    names = [CITYSCAPES_CLASSES.names[i] for i in order]
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    file = tmp_path / "leftImg8bit/test/bonn/bonn_000000_000001_leftImg8bit.png"
    file.parent.mkdir(parents=True)
    Image.fromarray(image).save(file)
    model = named_network(names)
    model.save(tmp_path / "m.keras")
    arguments = ["--data", str(tmp_path), "--model", str(tmp_path / "m.keras")]
    assert main(["predict", *arguments, "--label-ids", "--out", str(tmp_path / "ids")]) == 0
    written = np.asarray(Image.open(tmp_path / "ids" / file.name))
    expected = np.array(CITYSCAPES_IDS)[order][kc.segment(model, image)]
    np.testing.assert_array_equal(written, expected)


def test_the_command_refuses_to_predict_other_classes(tmp_path, capsys):
    root = write_folder(tmp_path / "data", ("person", "car", "sky", "tree"))
    named_network().save(tmp_path / "m.keras")
    arguments = ["--data", str(root), "--model", str(tmp_path / "m.keras"), "--split", "val"]
    assert main(["predict", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "has road; only the data set has person" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Tables that callers give


def test_a_table_given_lends_its_colors_and_not_its_order(tmp_path):
    colors = tuple((i, 2 * i, 255 - i) for i in range(4))
    given = ClassTable(ORDER, colors)
    run = kc.runtime.load(named_network(), given)
    assert run.classes.names == NAMES
    assert run.classes.colors == tuple(colors[ORDER.index(name)] for name in NAMES)
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)).save(image)
    with_table, without = (
        segment_files(named_network(), image, tmp_path, classes=table)[0].shares
        for table in (given, None)
    )
    assert with_table == without
    with pytest.raises(ValueError, match="only the class table given has person"):
        segment_files(named_network(), image, tmp_path, classes=class_table([*ORDER[:3], "person"]))


@pytest.mark.parametrize(
    ("carried", "given", "expected"),
    [
        (None, None, None),
        (CAMVID_CLASSES, None, CAMVID_CLASSES),
        (None, CAMVID_CLASSES, CAMVID_CLASSES),
        (CAMVID_CLASSES, numbered_classes(11), CAMVID_CLASSES),
        (numbered_classes(11), CAMVID_CLASSES, CAMVID_CLASSES),
        (None, numbered_classes(11), numbered_classes(11)),
    ],
)
def test_numbers_never_replace_names(carried, given, expected):
    assert agreed_classes(carried, given, "a network") == expected


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(9)), st.permutations(range(9)))
def test_mapping_there_and_back_changes_nothing(one, other):
    tables = [class_table([f"n{i}" for i in order]) for order in (one, other)]
    there = relabeling(*tables, "one", "other")
    back = relabeling(*tables[::-1], "other", "one")
    np.testing.assert_array_equal(back[there], np.arange(256))
    for label, name in enumerate(tables[0].names):
        assert tables[1].names[there[label]] == name


def test_real_weights_on_a_shuffled_camvid(data_root, tmp_path):
    """A frame of CamVid as one's own data, whose file names the classes backwards."""
    source = load_dataset(data_root / "camvid-480x360", "val")
    names = CAMVID_CLASSES.names[::-1]
    image, labels = source[0]
    labels = np.where(labels == 255, 255, 10 - labels).astype(np.uint8)
    for folder, array in (("images", image), ("masks", labels)):
        (tmp_path / folder / "val").mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / folder / "val" / "0.png")
    classes = [{"name": name} for name in names]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"name": "mine", "classes": classes}))
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))
    expected = kc.evaluate(model, source.subset([0]), size=240)
    found = kc.evaluate(model, load_folder(tmp_path, "val"), size=240)
    assert expected["mean_iou"] > 0.3
    assert found["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-12)
