"""Wrong files of annotations: one sentence each, which names the file, and nothing is written."""

import json
import re
import sys
import zipfile

import numpy as np
import pytest
from annotated_folders import FOLDERS, SCENE, coco, cvat, cvat_content, images, labelme, mask, write
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.datasets.conversion.drawing import draw
from keras_crosscbam.datasets.conversion.formats import read_annotations, recognize
from keras_crosscbam.datasets.conversion.source import Source

COCO = "annotations/instances_default.json"


def edit(name, change):
    """A function that changes the content of a JSON file in a folder."""

    def apply(root):
        content = json.loads((root / name).read_text())
        change(content)
        write(root / name, content)

    return apply


def put(name, text):
    return lambda root: write(root / name, text)


def delete(name):
    return lambda root: (root / name).unlink()


def first(key, value, part="annotations"):
    """A function that gives the first entry of a list in COCO's file another value."""
    return edit(COCO, lambda content: content[part][0].update({key: value}))


def shape(**fields):
    return edit("a.json", lambda content: content["shapes"][0].update(fields))


def region(**fields):
    def change(tasks):
        tasks[0]["annotations"][0]["result"][0]["value"].update(fields)

    return edit("project-1.json", change)


def supervisely_object(index, **fields):
    return edit("ds0/ann/a.jpg.json", lambda content: content["objects"][index].update(fields))


def cityscapes_object(**fields):
    name = "gtFine/train/bonn/bonn_00000a_000019_gtFine_polygons.json"
    return edit(name, lambda content: content["objects"][1].update(fields))


def in_cvat(shapes):
    return put("annotations.xml", cvat_content(shapes=shapes))


def panoptic(change):
    return edit("annotations/panoptic_default.json", change)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "yyyyyyyy">]><annotations><image id="0" '
    'name="&x;.jpg" width="16" height="12"/></annotations>'
)

WRONG = [
    ("coco", put(COCO, "{"), "instances_default.json: cannot be read as JSON"),
    (
        "coco",
        delete("images/a.jpg"),
        "instances_default.json: 1 of the images that it names do not exist in .*a.jpg",
    ),
    ("coco", first("file_name", "../../x.jpg", "images"), "json: names .*is outside of"),
    ("coco", first("category_id", 4), "json: annotation 0: category_id 4 is not among"),
    ("coco", first("image_id", 40), "json: annotation 0: image_id 40 is not among the images"),
    (
        "coco",
        first("segmentation", [[1, 1, 5, 5]]),
        "annotation 0: a polygon needs at least 3 corners",
    ),
    ("coco", first("segmentation", [[1, 1, 5]]), "annotation 0: expected lists of x, y"),
    ("coco", first("segmentation", [[1, 1, 5, "a", 3, 3]]), "annotation 0: expected corners"),
    ("coco", first("segmentation", {"size": [12, 16], "counts": [5]}), "add up to 192 pixels"),
    ("coco", first("segmentation", {"size": [12, 16], "counts": "02"}), "add up to 192 pixels"),
    ("coco", first("segmentation", {"size": [12, 16], "counts": "~"}), "is not allowed in a run"),
    ("coco", first("segmentation", {"size": [12, 15], "counts": [180]}), "and the size .12, 16."),
    (
        "labelme",
        edit("a.json", lambda c: c.update(imageWidth=17)),
        "are for 17x12 pixels, the image",
    ),
    ("coco", first("width", "16", "images"), "a.jpg: expected a whole number named 'width'"),
    ("coco-panoptic", panoptic(lambda c: c["annotations"].pop()), "an image has no annotation"),
    (
        "coco-panoptic",
        panoptic(lambda c: c["annotations"][0]["segments_info"].pop()),
        r"a.png: contains segments that are not listed: \[300\]",
    ),
    (
        "coco-panoptic",
        delete("annotations/panoptic_default/a.png"),
        "the mask .*a.png does not exist",
    ),
    ("yolo", put("labels/train/a.txt", "0 0.1 0.1 0.5 0.5"), "a.txt: line 1: expected a polygon"),
    ("yolo", put("labels/train/a.txt", "2 0 0 1 0 1 1"), r"a.txt: line 1: the class must be 0..1"),
    (
        "yolo",
        put("labels/train/a.txt", "0 0 0 1 1"),
        "a.txt: line 1: expected a polygon. Received: a box",
    ),
    ("yolo", put("labels/train/a.txt", "0 0 0 1 1 1"), "a.txt: line 1: expected pairs"),
    ("yolo", put("labels/train/a.txt", "0 0 0"), "a.txt: line 1: a polygon needs at least 3"),
    (
        "yolo",
        put("labels/train/a.txt", "0 0 0 90 0 90 90"),
        r"a.txt: line 1: expected fractions in 0..1",
    ),
    (
        "yolo",
        put("data.yaml", "names: [a, a]\ntrain: images"),
        "data.yaml: names must be different",
    ),
    ("yolo", put("data.yaml", "names: [a]\ntrain: nowhere"), "data.yaml: train is 'nowhere'"),
    ("yolo", put("data.yaml", "names: [a]\ntrain: ../../etc"), "data.yaml: train is '../../etc'"),
    ("yolo", put("data.yaml", "names: ["), "data.yaml: cannot be read as YAML"),
    ("labelme", put("a.json", "["), "a.json: cannot be read as JSON"),
    ("labelme", shape(points=[[1, 1], [2, 2]]), r"a.json: shape 0 \(lake\): a polygon needs"),
    ("labelme", shape(shape_type="spiral"), r"a.json: shape 0 \(lake\): shape_type 'spiral'"),
    ("labelme", shape(shape_type="mask", points=[[0, 0], [1, 1]], mask="!"), "not in Base64"),
    ("labelme", shape(label=None), "a.json: shape 0: expected text named 'label'"),
    ("labelme", edit("a.json", lambda c: c.update(imagePath="../../etc/x.png")), "is outside of"),
    (
        "labelme",
        edit("a.json", lambda c: c.update(imagePath="x.jpg")),
        "a.json: 1 of the images that it names",
    ),
    (
        "cvat",
        put("annotations.xml", "<annotations><image"),
        "annotations.xml: cannot be read as XML",
    ),
    ("cvat", put("annotations.xml", BOMB), "annotations.xml: has a document type or entities"),
    (
        "cvat",
        put("annotations.xml", "<annotations><track id='0'/></annotations>"),
        "CVAT for video",
    ),
    ("cvat", in_cvat('<polygon label="boat" points="1,1;2,2"/>'), "a.jpg: polygon 0: .* 3 corners"),
    (
        "cvat",
        in_cvat('<polygon label="cat" points="1,1;2,2;3,1"/>'),
        "'cat' is not among the labels",
    ),
    ("cvat", in_cvat('<ellipse label="boat" cx="1" cy="1" rx="0" ry="1"/>'), "above 0"),
    (
        "cvat",
        in_cvat('<mask label="boat" rle="1,2" left="0" top="0" width="2" height="2"/>'),
        "annotations.xml: image a.jpg: mask 0: the runs must add up to 2x2",
    ),
    (
        "cvat",
        in_cvat('<box label="boat" xtl="1" ytl="1" xbr="x" ybr="2"/>'),
        "xbr must be a number",
    ),
    ("label-studio", region(rle=[1, 2, 3]), "project-1.json: task 0: region 0: the rle ends too"),
    ("label-studio", region(rle=[0] * 20), "rle must have 16x12 pixels with 4 values each"),
    ("label-studio", region(rle=[300]), "rle must be a list of numbers"),
    ("label-studio", region(brushlabels=["a", "b"]), "expected one label"),
    (
        "label-studio",
        delete("media/a.jpg"),
        "project-1.json: 1 of the images that it names .*a.jpg",
    ),
    (
        "label-studio",
        edit(
            "project-1.json",
            lambda c: c[0]["data"].update(image="s3://b/../../x.jpg?d=../../x.jpg"),
        ),
        "project-1.json: names '../../x.jpg', which is outside of",
    ),
    (
        "supervisely",
        supervisely_object(0, classTitle="cat"),
        "a.jpg.json: object 0: the class 'cat'",
    ),
    ("supervisely", supervisely_object(1, bitmap={"data": "eHh4", "origin": [0, 0]}), "not zlib"),
    (
        "supervisely",
        supervisely_object(0, points={"exterior": [[1, 1]]}),
        "object 0: a polygon needs",
    ),
    ("supervisely", delete("ds0/img/a.jpg"), "a.jpg.json: 1 of the images"),
    ("cityscapes", cityscapes_object(polygon=[[1, 1]]), "polygons.json: object 1: a polygon needs"),
    ("cityscapes", cityscapes_object(label=3), "object 1: expected text named 'label'"),
    ("voc", delete("JPEGImages/a.jpg"), "SegmentationClass: 1 of the images .*: a"),
    ("voc of CVAT", put("labelmap.txt", "lake:1,2\n"), "labelmap.txt: line 1: expected NAME:RED"),
    ("voc of CVAT", put("labelmap.txt", "lake:1,2,3::\n"), r"a.png: 2 colors belong to no class"),
    (
        "roboflow",
        put("train/_classes.csv", "Pixel Value, Class\nx, lake\n"),
        "_classes.csv: expected",
    ),
    ("roboflow", put("train/_classes.csv", "v, c\n0, background\n"), r"a_mask.png: expected ids"),
    ("mapillary", edit("config_v1.2.json", lambda c: c["labels"].pop(0)), "a.png: 1 colors belong"),
    (
        "mapillary",
        edit("config_v1.2.json", lambda c: c["labels"][0].update(color=[1, 2])),
        "config_v1.2.json: lake: expected three numbers",
    ),
    ("ade20k", put("objectInfo150.txt", "h\nlake\n"), "objectInfo150.txt: expected lines"),
    ("ade20k", put("objectInfo150.txt", "h\n1\tlake\n"), "a.png: expected ids"),
    (
        "folders",
        put("classes.txt", "background\nlake\n"),
        "contain the id 2, but there are only names for 0..1",
    ),
    ("folders", delete("labels/a.png"), "1 images have no mask: .*a.jpg"),
    ("suffix", delete("a_mask.png"), "1 images have no mask: .*a.jpg"),
    (
        "suffix, of LabelMe",
        delete("a_json/label_names.txt"),
        "a_json/label.png: expected label_names.txt",
    ),
    (
        "suffix, of LabelMe",
        put("a_json/label_names.txt", "_background_"),
        "label.png: expected ids",
    ),
]


@pytest.mark.parametrize(("case", "damage", "message"), WRONG)
def test_a_wrong_file_gets_a_sentence(case, damage, message, tmp_path):
    make, name = FOLDERS[case]
    make(tmp_path / "in")
    damage(tmp_path / "in")
    with pytest.raises(ValueError, match=message) as raised:
        kc.datasets.convert(tmp_path / "in", tmp_path / "out", format=name)
    assert str(tmp_path / "in") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_outside_of_the_folder_is_opened(tmp_path):
    """The file that the path leads to is there and would be readable."""
    labelme(tmp_path / "in/annotations")
    images(tmp_path, names=("secret",))
    edit("a.json", lambda c: c.update(imagePath="..\\..\\secret.jpg"))(tmp_path / "in/annotations")
    with pytest.raises(ValueError, match=r"a\.json: names .*secret.jpg', which is outside of"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_a_path_to_a_sibling_folder_stays_inside(tmp_path):
    """LabelMe on Windows writes such paths."""
    labelme(tmp_path / "in/annotations")
    (tmp_path / "in/images").mkdir()
    for path in (tmp_path / "in/annotations").glob("*.jpg"):
        path.rename(tmp_path / "in/images" / path.name)
    for path in (tmp_path / "in/annotations").glob("*.json"):
        target = f"..\\images\\{path.stem}.jpg"
        edit(path.name, lambda c, target=target: c.update(imagePath=target))(path.parent)
    assert sum(kc.datasets.convert(tmp_path / "in", tmp_path / "out").frames.values()) == 5


def test_an_image_that_is_there_twice_is_not_guessed(tmp_path):
    coco(tmp_path / "in")
    images(tmp_path / "in/copies", names=("a",))
    (tmp_path / "in/images").rename(tmp_path / "in/photos")
    with pytest.raises(ValueError, match=r"1 of the images .* or exist more than once: a\.jpg"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_arguments(tmp_path):
    coco(tmp_path / "in")
    convert = kc.datasets.convert
    for arguments, message in (
        ({"format": "tiff"}, "`format` must be one of coco, .* Received: 'tiff'"),
        ({"unlabeled": "void"}, "`unlabeled` must be 'background' or 'ignore'. Received: 'void'"),
        ({"val_share": 0}, "`val_share` must be between 0 and 1. Received: 0"),
        ({"val_share": 2}, "`val_share` must be a number, at least 0 and at most 1. Received: 2"),
        ({"group": "("}, r"`group` must be a regular expression .* Received: '\('"),
        (
            {"group": "drive"},
            "`group` must have a match in the path of each image. .* 5 of them: .*a.jpg",
        ),
        ({"group": "."}, "at least two images, or groups of images. Received: 1"),
        ({"classes": ["a"]}, "`classes` must be None here, since coco lists its classes"),
        ({"images": tmp_path / "no"}, "no: no such folder of images"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(tmp_path / "in", tmp_path / "out", **arguments)
    with pytest.raises(ValueError, match="must be a new or empty folder"):
        convert(tmp_path / "in", tmp_path / "in")
    with pytest.raises(ValueError, match="nothing: no such file or folder"):
        convert(tmp_path / "nothing", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_folders_that_are_not_clear(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: has none of the formats coco, "):
        kc.datasets.convert(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"empty: does not contain files of the format voc \(Pascal VOC\)"
    ):
        kc.datasets.convert(tmp_path / "empty", tmp_path / "out", format="voc")
    coco(tmp_path / "both")
    cvat(tmp_path / "both")
    with pytest.raises(ValueError, match="several formats: coco, cvat"):
        kc.datasets.convert(tmp_path / "both", tmp_path / "out")
    kc.datasets.convert(tmp_path / "both", tmp_path / "out", format="cvat")
    with pytest.raises(ValueError, match=r"already has a dataset\.yaml"):
        kc.datasets.convert(tmp_path / "out", tmp_path / "again")
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(ValueError, match=r"a\.zip: is an archive. Unpack it first"):
        kc.datasets.convert(tmp_path / "a.zip", tmp_path / "again")


def test_no_classes(tmp_path):
    coco(tmp_path / "in")
    nothing = {"annotations": [], "categories": [{"id": 0, "name": "background"}]}
    edit(COCO, lambda content: content.update(nothing))(tmp_path / "in")
    with pytest.raises(ValueError, match="in: contains no class except background"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_two_masks_of_one_image(tmp_path):
    FOLDERS["folders"][0](tmp_path / "in")
    mask(tmp_path / "in/masks/a.png", SCENE)
    with pytest.raises(ValueError, match=r"masks/a\.png: has the same counterpart as .*labels/a"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_too_many_classes(tmp_path):
    coco(tmp_path / "in")
    more = [{"id": 100 + i, "name": f"c{i}"} for i in range(252)]
    edit(COCO, lambda content: content["categories"].extend(more))(tmp_path / "in")
    with pytest.raises(ValueError, match="more than 253 classes"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


def test_images_of_one_name(tmp_path):
    images(tmp_path / "in/images", names=("a",))
    images(tmp_path / "in/images", "png", names=("a",))
    content = {"categories": [{"id": 1, "name": "lake"}], "annotations": []}
    sizes = {"height": SCENE.shape[0], "width": SCENE.shape[1]}
    content["images"] = [
        {"id": i, "file_name": name, **sizes} for i, name in enumerate(("a.jpg", "a.png"))
    ]
    write(tmp_path / "in/instances.json", content)
    with pytest.raises(ValueError, match=r"images/a.jpg and images/a.png would have the same name"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(("make", "package"), [(coco, "pycocotools"), (cvat, "defusedxml")])
def test_a_missing_package_gets_a_sentence(make, package, tmp_path, monkeypatch):
    make(tmp_path / "in")
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = re.escape(f"needs {package}: pip install 'keras-crosscbam[convert]'")
    with pytest.raises(ModuleNotFoundError, match=message):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")
    # Other formats do without.
    labelme(tmp_path / "other")
    kc.datasets.convert(tmp_path / "other", tmp_path / "out")


def test_a_damaged_image_is_named(tmp_path):
    FOLDERS["voc"][0](tmp_path / "in")
    (tmp_path / "in/JPEGImages/b.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"b\.jpg: not a readable image"):
        kc.datasets.convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("seen_as", ["upright", "stored"])
def test_annotations_follow_the_orientation_of_the_image(seen_as, tmp_path):
    """The size of a mask tells whether its tool turned the image."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    root = tmp_path / "in"
    upright = SCENE
    stored = np.rot90(upright, 1)
    for name in "abc":
        path = root / f"images/{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (*stored.shape, 3), np.uint8)
        Image.fromarray(pixels).save(path, exif=exif)
        mask(
            root / f"labels/{name}.png",
            np.ascontiguousarray(upright if seen_as == "upright" else stored),
        )
    result = kc.datasets.convert(root, tmp_path / "out")
    data = kc.datasets.load_dataset(tmp_path / "out", "train")
    np.testing.assert_array_equal(data[0][1], upright)
    assert any("3 images are rotated by their EXIF orientation" in note for note in result.notes)


def nodes(content, path=()):
    """The paths to all values of a JSON file, of lists the first two."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content[:2])
    for key, value in items:
        if isinstance(value, dict | list):
            yield from nodes(value, (*path, key))
        else:
            yield (*path, key)


OTHER_VALUES = (None, True, -1, 5, 1e300, "x", "", [], [1], [[]], {}, [{}])


@pytest.mark.parametrize(
    ("case", "file"),
    [
        ("coco", COCO),
        ("coco, compressed", COCO),
        ("coco-panoptic", "annotations/panoptic_default.json"),
        ("labelme", "a.json"),
        ("labelme, masks", "a.json"),
        ("label-studio", "project-1.json"),
        ("supervisely", "meta.json"),
        ("supervisely", "ds0/ann/a.jpg.json"),
        ("cityscapes", "gtFine/train/bonn/bonn_00000a_000019_gtFine_polygons.json"),
        ("mapillary", "config_v1.2.json"),
    ],
)
def test_any_other_value_is_read_or_refused(case, file, tmp_path):
    """Each value of a file in turn is of another kind: labels come out, or a sentence."""
    make, name = FOLDERS[case]
    make(tmp_path)
    text, refused = (tmp_path / file).read_text(), 0
    for path in list(nodes(json.loads(text))):
        for value in OTHER_VALUES:
            content = json.loads(text)
            place = content
            for key in path[:-1]:
                place = place[key]
            if path:
                place[path[-1]] = value
            else:
                content = value
            write(tmp_path / file, content if content != "" else '""')
            try:
                source = Source(tmp_path)
                for frame in read_annotations(source, recognize(source, name)).frames:
                    if frame.is_annotated:
                        draw(frame)
            except Exception as error:
                if not isinstance(error, ValueError) or str(tmp_path) not in str(error):
                    raise AssertionError(f"{path} = {value!r}") from error
                refused += 1
    assert refused > 20


def test_any_other_attribute_of_cvat_is_read_or_refused(tmp_path):
    cvat(tmp_path)
    shapes = (
        '<box label="boat" xtl="4" ytl="2" xbr="8" ybr="6" rotation="10" z_order="1"/>'
        '<ellipse label="lake" cx="8" cy="6" rx="6" ry="4" z_order="0"/>'
    )
    for text in (cvat_content(), cvat_content(shapes=shapes)):
        for attribute in re.finditer(r'(?<= )(\w+)="[^"]*"', text):
            for value in ("", "x", "-1", "1e300", "nan", "1,1", "1,1;2,2;3,1"):
                changed = f'{attribute[1]}="{value}"'
                for other in (changed, ""):
                    edited = text[: attribute.start()] + other + text[attribute.end() :]
                    write(tmp_path / "annotations.xml", edited)
                    try:
                        source = Source(tmp_path)
                        for frame in read_annotations(source, "cvat").frames:
                            draw(frame)
                    except Exception as error:
                        if not isinstance(error, ValueError) or str(tmp_path) not in str(error):
                            raise AssertionError(changed) from error
