"""Predictions as annotations, and back: the labels are those of the network, pixel by pixel."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.annotation_files import write_annotations
from keras_crosscbam.datasets import ClassTable, load_dataset
from keras_crosscbam.datasets.conversion.contours import joined, regions
from keras_crosscbam.datasets.conversion.drawing import fill
from keras_crosscbam.label_files import PredictionError
from keras_crosscbam.runtime.base import Runtime

FORMATS = ("coco", "yolo", "labelstudio", "cvat")
TABLE = ClassTable(("background", "a & b", "boat"), ((0, 0, 0), (0, 0, 200), (200, 0, 0)))
ISLANDS = np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool), 2, constant_values=True)


class Reds(Runtime):
    """The label is the number of thirds in the red of a pixel."""

    def __init__(self, table=TABLE):
        super().__init__("reds", None, len(table), table)

    def run(self, prepared):
        labels = np.round(prepared[..., 0] / 100).astype(int)
        return np.eye(len(self.classes), dtype=np.float32)[labels]


def folder(root, count=3):
    """A data set of blocks and single pixels, whose labels the network above knows."""
    rng, labels = np.random.default_rng(3), {}
    for i in range(count):
        blocks = rng.integers(0, 3, (4, 5)).repeat(5, axis=0).repeat(4, axis=1)
        single = rng.integers(0, 3, blocks.shape)
        label = np.where(rng.random(blocks.shape) < 0.2, single, blocks).astype(np.uint8)
        path = root / f"images/test/town {i}/é{i}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray((label * 100)[..., None].repeat(3, axis=-1)).save(path)
        labels[path.relative_to(root / "images/test").as_posix()] = label
    names = "".join(f"\n  - name: {name}" for name in TABLE.names)
    (root / "dataset.yaml").write_text(f"name: lakes\nclasses:{names}\n")
    return labels


@pytest.mark.parametrize("format", FORMATS)
def test_round_trip(format, tmp_path):
    expected = folder(tmp_path / "data")
    images = tmp_path / "data/images/test"
    files = [images / name for name in expected]
    write_annotations(Reds(), files, tmp_path / "pre", format, root=images)
    # Label Studio's files do not list the classes.
    classes = list(TABLE.names[1:]) if format == "labelstudio" else None
    result = kc.datasets.convert(tmp_path / "pre", tmp_path / "out", images=images, classes=classes)
    assert result.names == TABLE.names
    found = {}
    for split in ("train", "val"):
        data = load_dataset(tmp_path / "out", split)
        for i, (path, _) in enumerate(data.pairs):
            found[path.relative_to(tmp_path / "out/images" / split).as_posix()] = data[i][1]
    assert found.keys() == expected.keys()
    for name, labels in found.items():
        np.testing.assert_array_equal(labels, expected[name])


def test_coco_is_read_by_its_own_tools(tmp_path, capsys):
    from pycocotools.coco import COCO

    expected = folder(tmp_path / "data")
    images = tmp_path / "data/images/test"
    (path,) = write_annotations(
        Reds(), [images / name for name in expected], tmp_path / "pre", "coco", root=images
    )
    coco = COCO(str(path))
    capsys.readouterr()
    for entry in coco.dataset["images"]:
        labels = np.zeros((entry["height"], entry["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=entry["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == mask.sum()
            name = coco.loadCats(annotation["category_id"])[0]["name"]
            labels[mask] = TABLE.names.index(name)
        np.testing.assert_array_equal(labels, expected[entry["file_name"]])


@settings(max_examples=200, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 8))))
@example(ISLANDS)
@example(~ISLANDS)
@example(np.eye(4, dtype=bool))
@example(~np.eye(4, dtype=bool))
def test_outlines_give_the_mask_back(mask):
    """With holes as rings, with holes joined, and each region alone."""
    parts = regions(mask)
    rings = [ring for outer, holes in parts for ring in (outer, *holes)]
    np.testing.assert_array_equal(fill(rings, *mask.shape), mask)
    single = [fill([joined(outer, holes)], *mask.shape) for outer, holes in parts]
    np.testing.assert_array_equal(np.sum([*single, np.zeros(mask.shape)], axis=0), mask)
    for ring in rings:
        corners = [*ring, *ring[:2]]
        turns = zip(corners, corners[1:], corners[2:], strict=False)
        assert all((a[0] == b[0]) != (b[0] == c[0]) for a, b, c in turns)


@pytest.mark.parametrize("format", FORMATS)
def test_the_command(format, tmp_path, capsys):
    """What is read back is what the same network writes as label images."""
    from tiny_network import TABLE, onnx_file

    model = onnx_file(tmp_path / "m.onnx")
    expected = folder(tmp_path / "data", count=2)
    # Another order than the network's.
    listed = "".join(f"\n  - name: {name}" for name in reversed(TABLE.names))
    (tmp_path / "data/dataset.yaml").write_text(f"name: town\nclasses:{listed}\n")
    for kind, out in {"png": "png", format: "pre"}.items():
        command = ["predict", "--data", tmp_path / "data", "--model", model, "--format", kind]
        assert cli.main([str(word) for word in (*command, "--out", tmp_path / out)]) == 0
    assert "files in" in capsys.readouterr().out
    images = tmp_path / "data/images/test"
    command = ["convert", tmp_path / "pre", "--images", images, "--out", tmp_path / "out"]
    command += ["--classes", *TABLE.names] if format == "labelstudio" else []
    cli.main([str(word) for word in (*command, "--unlabeled", "ignore")])
    names = list(load_dataset(tmp_path / "out", "train").classes.names)
    assert sorted(names) == sorted(TABLE.names)
    for split in ("train", "val"):
        for path, mask in load_dataset(tmp_path / "out", split).pairs:
            name = path.relative_to(tmp_path / "out/images" / split).as_posix()
            assert name in expected
            with Image.open((tmp_path / "png" / name).with_suffix(".png")) as written:
                labels = np.asarray(written)
            order = np.array([names.index(n) for n in reversed(TABLE.names)], np.uint8)
            with Image.open(mask) as read:
                np.testing.assert_array_equal(np.asarray(read), order[labels])


def test_failures_and_refusals(tmp_path):
    folder(tmp_path / "data", count=2)
    files = sorted((tmp_path / "data/images/test").rglob("*.png"))
    files[0].write_bytes(b"no image")
    with pytest.raises(PredictionError, match=r"prediction failed for 1 of 2 images.*é0\.png"):
        write_annotations(Reds(), files, tmp_path / "pre", "labelstudio")
    (task,) = json.loads((tmp_path / "pre/tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=%C3%A91.png"
    with pytest.raises(ValueError, match=r"`format` must be one of coco, .* Received: 'voc'"):
        write_annotations(Reds(), files, tmp_path / "pre", "voc")
    with pytest.raises(ValueError, match="would have the same name, é1"):
        write_annotations(Reds(), [files[1], files[1]], tmp_path / "pre", "yolo")
    other = ClassTable(("x", "y", "z"), TABLE.colors)
    with pytest.raises(ValueError, match="have different classes"):
        write_annotations(Reds(), files, tmp_path / "none", "yolo", classes=other)
    assert not (tmp_path / "none").exists()
