"""Labels that are too few to learn from or to judge by are refused before anything is trained."""

import logging

import numpy as np
import pytest
import yaml
from PIL import Image
from training_program import TINY

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.datasets import CAMVID_CLASSES, IGNORE, load_dataset, load_folder
from keras_crosscbam.datasets.label_statistics import check_labels, enough_classes
from keras_crosscbam.doctor import inspect_dataset, report
from keras_crosscbam.training import segmentation as fit

BINARY = np.array([[0, 255, 255], [0, 0, 255], [0, 0, 0], [0, 0, 0]], np.uint8)  # a quarter is 255
ADVICE = (
    "only background is labeled, and no other class; 25 % of the pixels have the id 255, which "
    "does not count. If they belong to object, write `id: 255` in its entry of dataset.yaml, and "
    "leave 255 out of `ignore`"
)


def tree(root, classes, train=BINARY, val=BINARY, **fields):
    for split, mask in (("train", train), ("val", val)):
        for number in range(2):
            image = np.full((*mask.shape[:2], 3), number + 10 * len(split), np.uint8)
            for kind, array in (("images", image), ("masks", mask)):
                path = root / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in classes]
    content = {"name": "mine", "classes": entries, **fields}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content))
    return root


def errors(root):
    return [f.message for f in inspect_dataset(root).findings if f.level == "error"]


def refused(root, out):
    """What `train` says; it must say so before it makes the folder of the run."""
    with pytest.raises(ValueError, match=r"^mine, ") as raised:
        fit.train(load_folder(root, "train"), load_folder(root, "val"), TINY, out)
    assert not out.exists()
    return str(raised.value)


# Masks of 0 and 255


@pytest.mark.parametrize("fields", [{}, {"ignore": [255]}])
def test_a_class_that_ignore_leaves_out_is_found(tmp_path, fields):
    root = tree(tmp_path / "data", ["background", "object"], **fields)
    assert errors(root) == [f"train: {ADVICE}", f"val: {ADVICE}"]
    assert report(inspect_dataset(root)).endswith("not ready to train (errors: 2, warnings: 2)")
    assert refused(root, tmp_path / "run") == f"mine, train: {ADVICE}"


def test_what_is_advised_mends_it(tmp_path):
    root = tree(tmp_path, ["background", {"name": "object", "id": 255}])
    findings = inspect_dataset(root)
    assert findings.findings == ()
    assert [summary.counts.tolist() for summary in findings.splits] == [[18, 6]] * 2
    assert load_folder(root, "val")[0][1].max() == 1


def test_a_validation_split_alone_is_refused_too(tmp_path):
    root = tree(tmp_path / "data", ["background", "object"], train=np.minimum(BINARY, 1))
    assert errors(root) == [f"val: {ADVICE}"]
    assert refused(root, tmp_path / "run") == f"mine, val: {ADVICE}"


def test_several_classes_without_a_label(tmp_path):
    root = tree(tmp_path, ["sky", "road", "car"])
    assert "If they belong to one of road, car, write `id: 255`" in errors(root)[0]


def test_one_class_and_nothing_ignored(tmp_path):
    root = tree(tmp_path / "data", ["a", "b"], 0 * BINARY, np.minimum(BINARY, 1))
    assert errors(root) == ["train: only a is labeled, and no other class"]
    assert refused(root, tmp_path / "run") == f"mine, {errors(root)[0]}"


def test_an_ignored_color_that_may_be_a_class(tmp_path):
    mask = np.where(BINARY[..., None] > 0, np.uint8([1, 2, 3]), np.uint8([9, 9, 9]))
    classes = [{"name": "a", "color": [9, 9, 9]}, {"name": "b", "color": [4, 4, 4]}]
    root = tree(tmp_path / "data", classes, mask, mask, masks="colors", ignore=[[1, 2, 3]])
    advice = (
        "25 % of the pixels have the color [1, 2, 3], which does not count. If they belong to b, "
    )
    assert advice + "write `color: [1, 2, 3]` in" in errors(root)[0]
    assert advice in refused(root, tmp_path / "run")


def test_stray_ids_are_not_taken_for_ignored_ones(tmp_path):
    unknown = BINARY.copy()
    unknown[2:] = 7
    root = tree(tmp_path, ["background", "object"], unknown, np.minimum(BINARY, 1))
    stray, few = errors(root)
    assert "ids that stand for no class" in stray
    assert "have the id 255, which does not count" in few


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    root = tree(tmp_path / "data", ["background", "object"])
    arguments = ["train", "--data", str(root), "--recipe", "finetune-m", "--out"]
    assert cli.main([*arguments, str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"crosscbam train: mine, train: {ADVICE}"
    assert cli.main(["doctor", str(root)]) == 1


# Nothing labeled


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_label_is_refused(tmp_path, split):
    void = np.full_like(BINARY, IGNORE)
    root = tree(
        tmp_path / "data", ["a", "b"], **{"train": BINARY % 2, "val": BINARY % 2, split: void}
    )
    assert refused(root, tmp_path / "run") == f"mine, {split}: no pixel is labeled"


def test_evaluation_without_a_label_is_refused(small_network, tmp_path):
    void = np.full_like(BINARY, IGNORE)
    root = tree(tmp_path, list(CAMVID_CLASSES.names), val=void)
    with pytest.raises(ValueError, match="'mine' has no labeled pixel in its 2 frames"):
        kc.evaluate(small_network, load_dataset(root, "val"))


@pytest.mark.parametrize(
    ("counts", "enough"),
    [([0], False), ([1], True), ([0, 0], False), ([0, 9], False), ([1, 1, 0], True)],
)
def test_one_label_is_enough_where_there_is_but_one_class(counts, enough):
    assert enough_classes(np.array(counts)) == enough


# Warnings


def test_every_class_that_never_occurs_is_named(tmp_path, caplog):
    """A dozen and more of them, so that none is shortened away."""
    names = [f"c{i}" for i in range(20)]
    data = load_folder(tree(tmp_path, names, BINARY % 2), "train")
    with caplog.at_level(logging.WARNING):
        check_labels(data, "train", data.count_pixels().sum(axis=0))
    (record,) = caplog.records
    text = f"mine, train: never seen, so never learned: {', '.join(names[2:])}"
    assert record.getMessage() == text


def test_training_warns_of_both_splits(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(fit, "open_run", None)  # the training ends where it would begin
    rest = np.minimum(BINARY, 2)
    root = tree(tmp_path, ["a", "b", "c"], train=BINARY % 2, val=rest)
    sets = load_folder(root, "train"), load_folder(root, "val")
    with pytest.raises(TypeError), caplog.at_level(logging.WARNING):
        fit.train(*sets, TINY, tmp_path / "run")
    assert [record.getMessage() for record in caplog.records] == [
        "mine, train: never seen, so never learned: c",
        "mine, val: never labeled, so never judged: b",
    ]


def test_the_doctor_warns_of_both_splits(tmp_path):
    root = tree(tmp_path, ["a", "b", "c"], BINARY % 2, np.minimum(BINARY, 2))
    assert [f.message for f in inspect_dataset(root).findings if f.level == "warning"] == [
        "train: never seen, so never learned: c",
        "val: never labeled, so never judged: b",
        "val: contains classes that train lacks: c",
    ]
