"""Conversion of annotations of every format: the labels, what is told, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from annotated_folders import (
    FOLDERS,
    FRAMES,
    SCENE,
    coco,
    coco_content,
    counts_of,
    cvat_content,
    images,
    mask,
    write,
)
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.datasets.conversion import conversion as conversion_module
from keras_crosscbam.doctor import inspect_dataset


def all_labels(out):
    """The labels of each image by its name, whatever its split."""
    labels = {}
    for split in sorted(path.name for path in (out / "images").iterdir()):
        if (out / "masks" / split).is_dir():
            data = load_dataset(out, split)
            labels |= {data.pairs[i][0].stem: data[i][1] for i in range(len(data))}
    return labels


@pytest.mark.parametrize("case", FOLDERS)
def test_every_format(case, tmp_path):
    """The folder is recognized, and the labels are those of the scene, pixel by pixel."""
    make, name = FOLDERS[case]
    expected = make(tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert result.format == name
    labels = all_labels(tmp_path / "out")
    assert len(labels) >= len(FRAMES)
    for array in labels.values():
        np.testing.assert_array_equal(array, expected)
    assert inspect_dataset(tmp_path / "out").ok
    files = [path for path in tmp_path.iterdir() if path.name not in ("in", "out")]
    assert files == []


# What is told and what is chosen


def test_the_report_tells_what_was_assumed(tmp_path):
    coco(tmp_path / "in")
    text = str(kc.datasets.convert(tmp_path / "in", tmp_path / "out"))
    assert "read as COCO instances (--format coco)" in text
    assert "images: 4 train, 1 val" in text
    assert "classes: background, lake, boat" in text
    assert "smaller areas are drawn over larger ones" in text
    share = 100 * (SCENE == 0).mean()
    assert f"unlabeled: {share:.1f} % of the pixels are label 0, background" in text
    assert "seed 0" in text


def test_unlabeled_pixels_are_ignored_if_told(tmp_path):
    coco(tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out", unlabeled="ignore")
    assert result.names == ("lake", "boat")
    expected = np.array([255, 0, 1], np.uint8)[SCENE]
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], expected)


def test_unlabeled_pixels_of_a_scene_are_background_if_told(tmp_path):
    FOLDERS["mapillary"][0](tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out", unlabeled="background")
    assert result.names == ("background", "lake", "boat")
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], SCENE)


def test_unlabeled_is_refused_where_each_pixel_has_an_id(tmp_path):
    FOLDERS["folders"][0](tmp_path / "in")
    (tmp_path / "in/classes.txt").write_text("sky\nlake\nboat\n")
    with pytest.raises(ValueError, match="`unlabeled` must be None here"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out", unlabeled="ignore")


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize("bits", [1, 8])
def test_one_kind_of_object(white, bits, tmp_path):
    """Masks of two values, whatever is white, make one class with one logit."""
    images(tmp_path / "in/images")
    for name in FRAMES:
        picture = Image.fromarray(np.where(SCENE == 2, white, 0).astype(np.uint8))
        path = mask(tmp_path / f"in/masks/{name}.png", np.asarray(picture))
        if bits == 1:
            picture.point(lambda v: 255 * (v > 0)).convert("1").save(path)
    kc.datasets.convert(tmp_path / "in", tmp_path / "out", classes=["boat"])
    data = load_dataset(tmp_path / "out", "train")
    assert (data.classes.names, data.classes.num_classes) == (("background", "boat"), 1)
    np.testing.assert_array_equal(data[0][1], SCENE == 2)


def test_masks_of_two_kinds_of_white_are_refused(tmp_path):
    images(tmp_path / "in/images")
    for i, name in enumerate(FRAMES):
        path = mask(tmp_path / f"in/masks/{name}.png", (SCENE == 2).astype(np.uint8))
        if i == 0:
            Image.fromarray(SCENE == 2).save(path)
    with pytest.raises(ValueError, match=r"a\.png: stores 0 and 1 and shows black and white"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_masks_of_colors_need_a_table(tmp_path):
    images(tmp_path / "in/images")
    colors = np.array([(0, 0, 0), (0, 0, 200), (200, 0, 0)], np.uint8)
    for name in FRAMES:
        mask(tmp_path / f"in/labels/{name}.png", colors[SCENE])
    with pytest.raises(ValueError, match="expected one channel of class ids"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in/class_dict.csv", "name,r,g,b\nland,0,0,0\nlake,0,0,200\nboat,200,0,0\n")
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    data = load_dataset(tmp_path / "out", "train")
    assert data.classes.names == ("land", "lake", "boat")
    assert data.classes.colors == ((0, 0, 0), (0, 0, 200), (200, 0, 0))
    np.testing.assert_array_equal(data[0][1], SCENE)


def test_classes_without_names_are_numbered(tmp_path):
    FOLDERS["folders"][0](tmp_path / "in")
    (tmp_path / "in/classes.txt").unlink()
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert result.names == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("case", ["labelme", "label-studio"])
def test_the_order_of_classes_can_be_given(case, tmp_path):
    FOLDERS[case][0](tmp_path / "in")
    convert = kc.datasets.convert
    with pytest.raises(ValueError, match=r"`classes` must contain .* also boat\. Received: lake"):
        convert(tmp_path / "in", tmp_path / "out", classes=["lake", "car"])
    names = ["lake", "car", "boat"]
    result = convert(tmp_path / "in", tmp_path / "out", classes=names)
    assert result.names == ("background", *names)


def test_splits_of_the_source_are_kept(tmp_path):
    FOLDERS["voc"][0](tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert result.frames == {"train": 3, "val": 2}
    assert [p.stem for p in sorted((tmp_path / "out/images/val").iterdir())] == ["d", "e"]


def test_images_to_predict_on_are_kept_without_masks(tmp_path):
    FOLDERS["mapillary"][0](tmp_path / "in")
    result = kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert result.frames == {"train": 3, "val": 2, "test": 1}
    assert kc.datasets.split_images(tmp_path / "out", "test")[0].name == "t.jpg"
    assert not (tmp_path / "out/masks/test").exists()


def test_groups_stay_together(tmp_path):
    root = tmp_path / "in"
    names = [f"drive{drive}/{frame}" for drive in range(5) for frame in range(4)]
    images(root / "images", names=names)
    for name in names:
        mask(root / f"labels/{name}.png", SCENE)
    result = kc.datasets.convert(root, tmp_path / "out", group=r"(drive\d)/")
    assert result.frames == {"train": 16, "val": 4}
    drives = [
        {path.parent.name for path in (tmp_path / "out/images" / split).rglob("*.jpg")}
        for split in ("train", "val")
    ]
    assert len(drives[1]) == 1
    assert drives[0].isdisjoint(drives[1])


def test_crowds_lie_under_objects(tmp_path):
    """A crowd is of its class, but lies under what is outlined, however small it is."""
    coco(tmp_path / "in")
    path = tmp_path / "in/annotations/instances_default.json"
    content = json.loads(path.read_text())
    crowd = np.zeros(SCENE.shape, bool)
    crowd[0:2, :] = True
    crowd[6, 10] = True
    content["annotations"].append(
        {
            "id": 99,
            "image_id": 1,
            "category_id": 9,
            "iscrowd": 1,
            "segmentation": {"size": list(SCENE.shape), "counts": counts_of(crowd)},
        }
    )
    write(path, content)
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    expected = SCENE.copy()
    expected[0] = 2
    expected[1, [0, 13, 14, 15]] = 2
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], expected)


# The command


def test_the_command_converts_and_examines(tmp_path, capsys):
    coco(tmp_path / "in")
    command = ["convert", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--seed", "3"]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "read as COCO instances" in out
    assert "seed 3" in out
    assert "ready to train (errors: 0" in out
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert error == f"crosscbam convert: {tmp_path / 'out'}: must be a new or empty folder\n"


def test_the_command_says_what_the_doctor_finds(tmp_path, capsys):
    """Boxes in place of masks of one class alone are nothing to learn from."""
    root = tmp_path / "in"
    images(root / "images")
    for name in FRAMES:
        mask(root / f"labels/{name}.png", np.full(SCENE.shape, 1, np.uint8))
    write(root / "classes.txt", "land\nlake\nboat\n")
    mask(root / "labels/a.png", np.full(SCENE.shape, 255, np.uint8))
    mask(root / "labels/b.png", np.full(SCENE.shape, 2, np.uint8))
    status = cli.main(["convert", str(root), "--out", str(tmp_path / "out")])
    assert status == 1
    assert "not ready to train" in capsys.readouterr().out


def test_one_file_and_images_elsewhere(tmp_path):
    coco(tmp_path / "in")
    (tmp_path / "in/images").rename(tmp_path / "photos")
    (tmp_path / "in/annotations/other.json").write_text("{")
    file = tmp_path / "in/annotations/instances_default.json"
    kc.datasets.convert(file, tmp_path / "out", images=tmp_path / "photos")
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], SCENE)


def test_an_interrupted_conversion_leaves_nothing(tmp_path, monkeypatch):
    coco(tmp_path / "in")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion_module, "write_class_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_images_of_one_name_in_two_splits(tmp_path):
    """The split of the annotation file says which one is meant."""
    root = tmp_path / "in"
    for split, labels in (("train", SCENE == 1), ("val", SCENE == 2)):
        names = ("0001", "0002")
        images(root / split, names=names)
        content = coco_content(names)
        code = {"size": list(SCENE.shape), "counts": counts_of(labels)}
        content["annotations"] = [
            {"id": i, "image_id": i, "category_id": 3, "segmentation": code} for i in (1, 2)
        ]
        write(root / f"annotations/instances_{split}.json", content)
    kc.datasets.convert(root, tmp_path / "out")
    for split, label in (("train", 1), ("val", 2)):
        data = load_dataset(tmp_path / "out", split)
        assert [path.stem[-4:] for path, _ in data.pairs] == ["0001", "0002"]
        np.testing.assert_array_equal(data[0][1], label == SCENE)


def test_polygons_of_one_name_in_two_splits(tmp_path):
    root, size = tmp_path / "in", {"imgHeight": 12, "imgWidth": 16}
    for split, label in (("train", "lake"), ("val", "boat")):
        images(root / f"images/{split}", names=("1", "2"))
        for name in ("1", "2"):
            item = {"label": label, "polygon": [[0, 0], [9, 0], [9, 9]]}
            write(root / f"gt/{split}/{name}_polygons.json", {**size, "objects": [item]})
    kc.datasets.convert(root, tmp_path / "out")
    for split, label in (("train", 1), ("val", 0)):
        data = load_dataset(tmp_path / "out", split)
        assert len(data) == 2
        assert set(np.unique(data[0][1])) == {label, 255}


def test_masks_of_one_name_in_two_folders(tmp_path):
    FOLDERS["mapillary"][0](tmp_path / "in")
    folder = tmp_path / "in/training"
    images(folder / "images/more", names=("a",))
    mask(folder / "v1.2/labels/more/a.png", np.full((*SCENE.shape, 3), (0, 0, 200), np.uint8))
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    data = load_dataset(tmp_path / "out", "train")
    labels = {
        path.relative_to(tmp_path / "out/images/train"): data[i][1]
        for i, (path, _) in enumerate(data.pairs)
    }
    assert (labels[Path("more/a.jpg")] == 0).all()
    assert (labels[Path("a.jpg")] == 1).any()


@pytest.mark.parametrize(
    "places",
    [
        "path: /home/me/datasets/lakes\ntrain: images/train\nval: images/val\n",
        "train: ../images/train\nval: ../images/val\n",
        "train: /home/me/lakes/images/train\nval: /home/me/lakes/images/val\n",
        "path: .\ntrain: [images/train]\nval: val.txt\n",
    ],
)
def test_paths_of_yolo(places, tmp_path):
    """As Ultralytics and Roboflow write them, on whatever machine; the file may be dataset.yaml."""
    root = tmp_path / "in"
    expected = FOLDERS["yolo"][0](root)
    (root / "data.yaml").unlink()
    write(root / "val.txt", "./images/val/f.jpg\n./images/val/g.jpg\n")
    write(root / "dataset.yaml", f"{places}names: [lake, boat]\n")
    result = kc.datasets.convert(root, tmp_path / "out")
    assert (result.format, result.frames) == ("yolo", {"train": 5, "val": 2})
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["f"], expected)


def test_an_image_without_a_file_of_polygons_is_background(tmp_path):
    FOLDERS["yolo"][0](tmp_path / "in")
    (tmp_path / "in/labels/train/a.txt").unlink()
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    assert (all_labels(tmp_path / "out")["a"] == 0).all()


def test_links_to_folders_are_followed(tmp_path):
    coco(tmp_path / "elsewhere")
    (tmp_path / "in").mkdir()
    for name in ("images", "annotations"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere" / name)
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], SCENE)


def test_the_shapes_of_cvat(tmp_path):
    """A box and an ellipse by z_order, the ellipse below although it comes later in the file."""
    images(tmp_path / "in/images")
    shapes = (
        '<box label="boat" xtl="4" ytl="2" xbr="8" ybr="6" z_order="1"/>'
        '<ellipse label="lake" cx="8" cy="6" rx="6" ry="4" z_order="0"/>'
    )
    write(tmp_path / "in/annotations.xml", cvat_content(shapes=shapes))
    kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    y, x = np.mgrid[:12, :16] + 0.5
    expected = (((x - 8) / 6) ** 2 + ((y - 6) / 4) ** 2 <= 1).astype(np.uint8)
    expected[2:6, 4:8] = 2
    np.testing.assert_array_equal(all_labels(tmp_path / "out")["a"], expected)
