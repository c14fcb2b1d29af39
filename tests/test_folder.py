"""People's own data: the YAML with all its mistakes, the two folders, and whose layout is whose."""

import re
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_crosscbam.classes import numbered_classes
from keras_crosscbam.datasets import (
    IGNORE,
    ColorEncoding,
    IndexEncoding,
    load_dataset,
    load_folder,
    split_images,
)
from keras_crosscbam.datasets.folder import read_class_file
from keras_crosscbam.datasets.label_statistics import decode_leniently

DOCS = Path(__file__).parents[1] / "docs" / "own-data.md"
TWO = {"name": "mine", "classes": [{"name": "a"}, {"name": "b"}]}
IDS = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def class_file(folder, content):
    path = folder / "dataset.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def tree(root, content=TWO, names=("a", "town/b"), mask=IDS):
    root.mkdir(exist_ok=True)
    class_file(root, content)
    for name in names:
        save(root / f"images/train/{name}.png", IMAGE)
        save(root / f"masks/train/{name}.png", mask)
    return root


def of_ids(*classes, **fields):
    named = [{"name": f"c{i}", **entry} for i, entry in enumerate(classes)]
    return {"name": "mine", "classes": named, **fields}


def of_colors(*classes, **fields):
    return of_ids(*classes, masks="colors", **fields)


# The class file


def test_defaults(tmp_path):
    read = read_class_file(class_file(tmp_path, TWO))
    assert read.name == "mine"
    assert read.classes.names == ("a", "b")
    assert read.classes.colors == numbered_classes(2).colors
    assert read.encoding == IndexEncoding({0: 0, 1: 1, 255: IGNORE})


def test_ids(tmp_path):
    content = of_ids({"id": 7}, {}, {"ids": [26, 27], "color": [1, 2, 3]}, ignore=[0, 9])
    read = read_class_file(class_file(tmp_path, content))
    assert read.encoding == IndexEncoding({0: IGNORE, 9: IGNORE, 7: 0, 1: 1, 26: 2, 27: 2})
    assert read.classes.colors[2] == (1, 2, 3)


@pytest.mark.parametrize("entry", [{"id": 255}, {"ids": [3, 255]}])
def test_a_class_may_have_the_id_255(tmp_path, entry):
    """The default of `ignore` gives way to what the file says."""
    ids = read_class_file(class_file(tmp_path, of_ids({}, entry))).encoding.ids
    assert (ids[0], ids[255], IGNORE in ids.values()) == (0, 1, False)
    ids = read_class_file(class_file(tmp_path, of_ids({}, entry, ignore=[7]))).encoding.ids
    assert (ids[7], ids[255]) == (IGNORE, 1)


def test_an_empty_ignore_leaves_255_a_stray(tmp_path):
    assert read_class_file(class_file(tmp_path, TWO | {"ignore": []})).encoding.ids == {0: 0, 1: 1}


def test_colors(tmp_path):
    content = of_colors(
        {"color": [1, 2, 3]},
        {"color": [0, 0, 0], "also": [[4, 5, 6], [7, 8, 9]]},
        ignore=[[255, 255, 255]],
    )
    read = read_class_file(class_file(tmp_path, content))
    assert read.classes.colors == ((1, 2, 3), (0, 0, 0))
    assert read.encoding == ColorEncoding(
        {(1, 2, 3): 0, (0, 0, 0): 1, (4, 5, 6): 1, (7, 8, 9): 1, (255, 255, 255): IGNORE}
    )


def test_colors_left_out_are_none_that_others_have(tmp_path):
    taken = numbered_classes(3).colors
    content = of_ids({}, {"color": list(taken[0])}, {}, {"color": list(taken[1])})
    colors = read_class_file(class_file(tmp_path, content)).classes.colors
    assert colors[1::2] == taken[:2]
    assert len(set(colors)) == 4


@pytest.mark.parametrize("count", [2, 254])
def test_fewest_and_most_classes(tmp_path, count):
    read = read_class_file(class_file(tmp_path, of_ids(*[{}] * count)))
    assert len(set(read.classes.colors)) == len(read.classes) == count


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (of_ids({}), IndexEncoding({0: 0, 1: 1, 255: IGNORE})),
        (of_ids({"id": 255}), IndexEncoding({0: 0, 255: 1})),
        (
            of_ids({"ids": [3, 4]}, background=[0, 1], ignore=[2]),
            IndexEncoding({0: 0, 1: 0, 3: 1, 4: 1, 2: IGNORE}),
        ),
        (
            of_ids({"id": 7}, background="rest"),
            IndexEncoding(
                {**dict.fromkeys(range(255), 0), 7: 1, 255: IGNORE},
                rest=frozenset(range(255)) - {7},
            ),
        ),
        (
            of_colors({"color": [255, 255, 255]}),
            ColorEncoding({(0, 0, 0): 0, (255, 255, 255): 1}),
        ),
        (
            of_colors({"color": [255, 0, 0]}, background="rest", ignore=[[0, 0, 0]]),
            ColorEncoding({(0, 0, 0): IGNORE, (255, 0, 0): 1}, rest=0),
        ),
    ],
)
def test_one_class_is_label_1_and_background_label_0(tmp_path, content, encoding):
    read = read_class_file(class_file(tmp_path, content))
    assert read.encoding == encoding
    assert read.classes.names == ("background", "c0")
    assert read.classes.num_classes == 1
    assert len(set(read.classes.colors)) == 2


@given(data=st.data())
def test_the_rest_of_the_colors_is_background(data):
    colors = [(0, 0, 0), (255, 0, 0), (1, 2, 3), (254, 0, 0)]
    chosen = data.draw(st.lists(st.sampled_from(range(4)), min_size=6, max_size=6))
    mask = np.array([colors[i] for i in chosen], np.uint8).reshape(2, 3, 3)
    encoding = ColorEncoding({(0, 0, 0): IGNORE, (255, 0, 0): 1}, rest=0)
    expected = np.array([IGNORE, 1, 0, 0])[chosen].reshape(2, 3)
    np.testing.assert_array_equal(encoding.decode(mask), expected)
    labels, unknown = decode_leniently(mask, encoding)
    np.testing.assert_array_equal(labels, expected)
    assert unknown == {}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_documented_files(tmp_path, number):
    content = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)[number]
    read = read_class_file(class_file(tmp_path, content))
    expected = [
        IndexEncoding({255: IGNORE, 0: 0, 7: 1, 26: 2, 27: 2, 28: 2}),
        ColorEncoding(
            {
                (0, 0, 0): IGNORE,
                (128, 64, 128): 0,
                (0, 0, 142): 1,
                (0, 0, 70): 1,
                (0, 60, 100): 1,
            }
        ),
        IndexEncoding({0: 0, 255: 1}),
    ]
    assert read.encoding == expected[number]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file must be a mapping of fields. Received: None"),
        ("- a", "the file must be a mapping"),
        ("name: [", "cannot be read as YAML"),
        ("\0", "cannot be read as YAML"),
        ("name: a\nname: b", "cannot be read as YAML .*'name' is a duplicate key"),
        ("a: 2020-99-99", "cannot be read as YAML"),
        ("[" * 500, "cannot be read as YAML"),
        ({"classes": TWO["classes"]}, "the file must have the field name"),
        ({"name": "mine"}, "the file must have the field classes"),
        (
            TWO | {"colors": []},
            "the file has an unknown field 'colors'. Known fields: name, classes",
        ),
        (TWO | {"name": 3}, "name must be text .*Received: 3"),
        (TWO | {"masks": "color"}, "masks must be ids, indices or colors. Received: 'color'"),
        (TWO | {"masks": ["ids"]}, "masks must be ids, indices or colors"),
        (TWO | {"range": 255}, r"range must be \[low, high\] with low < high. Received: 255"),
        (TWO | {"range": [0]}, "range must be"),
        (TWO | {"range": [0, 0]}, "range must be"),
        (TWO | {"range": [0, float("inf")]}, "range must be"),
        (TWO | {"range": [False, 9]}, "range must be"),
        (TWO | {"ignore": 255}, "ignore must be a list. Received: 255"),
        (TWO | {"ignore": [256]}, r"ignore\[0\] must be a whole number in 0..255. Received: 256"),
        (TWO | {"ignore": [9, 9]}, r"ignore\[1\] is 9, which is already used for ignore\[0\]"),
        (TWO | {"ignore": [1]}, r"classes\[1\].id is 1, which is already used for ignore\[0\]"),
        (TWO | {"classes": {"a": 0}}, "classes must be a list. Received: {'a': 0}"),
        (of_ids(), "classes must be a list of 1 to 254. Received: 0"),
        (of_ids(*[{}] * 255), "classes must be a list of 1 to 254. Received: 255"),
        (
            TWO | {"background": [0]},
            "background is only for data sets with one class.*Received: 2 classes",
        ),
        (of_ids({}, background=0), "background must be a list. Received: 0"),
        (of_ids({}, background=[]), "background must be a non-empty list, or rest"),
        (
            of_ids({}, background=[0, 1]),
            r"background\[1\] is 1, which is already used for classes\[0\].id",
        ),
        (
            of_ids({"id": 0}),
            r"the default of background is 0, which is already used for classes\[0\].id",
        ),
        (
            of_ids({}, ignore=[0]),
            r"the default of background is 0, which is already used for ignore\[0\]",
        ),
        (
            of_ids({"name": "background"}),
            r"classes\[0\].name is 'background', which is already used for the background, label 0",
        ),
        (
            of_colors({"color": [0, 0, 0]}),
            r"the default of background is \[0, 0, 0\], which is already used for classes\[0\].col",
        ),
        (TWO | {"classes": ["a", "b"]}, r"classes\[0\] must be a mapping .*Received: 'a'"),
        (TWO | {"classes": [{"name": "a"}, {"id": 3}]}, r"classes\[1\] must have the field name"),
        ("name: m\nclasses: [{name: a}, {name: no}]", r"classes\[1\].name must be text"),
        (TWO | {"classes": [{"name": " "}, {}]}, r"classes\[0\].name must be text"),
        (
            TWO | {"classes": [{"name": "a"}, {"name": "a"}]},
            r"classes\[1\].name is 'a', which is already used for classes\[0\].name",
        ),
        (of_ids({}, {"paint": [1, 2, 3]}), r"classes\[1\] has an unknown field 'paint'"),
        (
            of_colors({"color": [1, 2, 3]}, {"color": [3, 2, 1], "colour": [3, 2, 1]}),
            "a class must have either color or colour, not both",
        ),
        (of_ids({}, {"also": []}), r"classes\[1\] has an unknown field 'also'"),
        (of_ids({}, {"id": -1}), r"classes\[1\].id must be .*Received: -1"),
        (of_ids({}, {"id": True}), r"classes\[1\].id must be .*Received: True"),
        (of_ids({}, {"id": 1.0}), r"classes\[1\].id must be .*Received: 1.0"),
        (of_ids({}, {"id": [1]}), r"classes\[1\].id must be .*Received: \[1\]"),
        (of_ids({}, {"id": 0}), r"classes\[1\].id is 0, which is already used for classes\[0\].id"),
        (
            of_ids({}, {"id": 255}, ignore=[255]),
            r"classes\[1\].id is 255, which is already used for ignore\[0\]",
        ),
        (of_ids({}, {"id": 1, "ids": [2]}), r"classes\[1\] must have either id or ids"),
        (of_ids({}, {"ids": 2}), r"classes\[1\].ids must be a list. Received: 2"),
        (of_ids({}, {"ids": []}), r"classes\[1\].ids must contain at least one id"),
        (of_ids({}, {"ids": [4, "5"]}), r"classes\[1\].ids\[1\] must be .*Received: '5'"),
        (
            of_ids({}, {"ids": [4, 0]}),
            r"classes\[1\].ids\[1\] is 0, which is already used for classes\[0\].id",
        ),
        (of_ids({}, {"color": "red"}), r"classes\[1\].color must be \[red, green, blue\]"),
        (of_ids({}, {"color": [1, 2]}), r"classes\[1\].color must be \[red, green, blue\]"),
        (of_ids({}, {"color": [1, 2, 256]}), r"classes\[1\].color\[2\] must be .*Received: 256"),
        (
            of_ids({"color": [1, 2, 3]}, {"color": [1, 2, 3]}),
            r"classes\[1\].color is \[1, 2, 3\], which is already used for classes\[0\].col",
        ),
        (of_colors({}, {}), r"classes\[0\] must have the field color"),
        (of_colors({"color": [1, 2, 3], "id": 0}, {}), r"classes\[0\] has an unknown field 'id'"),
        (
            of_colors({"color": [1, 2, 3], "also": [1, 2, 3]}, {}),
            r"classes\[0\].also\[0\] must be \[red, green, blue\]. Received: 1",
        ),
        (
            of_colors({"color": [1, 2, 3]}, {"color": [3, 2, 1], "also": [[1, 2, 3]]}),
            r"classes\[1\].also\[0\] is \[1, 2, 3\], which is already used for classes\[0\].col",
        ),
        (
            of_colors({}, {}, ignore=[255]),
            r"ignore\[0\] must be \[red, green, blue\]. Received: 255",
        ),
        (TWO | {"mask_suffix": 3}, "mask_suffix must be text .*Received: 3"),
        (TWO | {"mask_suffix": ""}, "mask_suffix must be text .*Received: ''"),
        (
            TWO | {"mask_suffix": "_mask.PNG"},
            "mask_suffix must be the end .*without extension, .*Received: '_mask.PNG'",
        ),
        (
            TWO | {"mask_suffix": "town/_mask"},
            "mask_suffix must be the end of the names of the masks",
        ),
    ],
)
def test_mistakes_name_file_and_field(tmp_path, content, message):
    path = class_file(tmp_path, content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}") as caught:
        read_class_file(path)
    assert "\n" not in str(caught.value)


def test_missing_class_file(tmp_path):
    with pytest.raises(ValueError, match=r"dataset.yaml: no such file"):
        load_folder(tmp_path, "train")


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text(max_size=3)
)
fields = st.sampled_from(
    ["name", "masks", "ignore", "background", "classes", "color", "id", "ids", "also", "x"]
)
anything = st.recursive(
    scalars | st.just("colors"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(content=st.one_of(anything.map(yaml.safe_dump), st.text(max_size=60)))
def test_whatever_it_holds_the_file_is_named(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("yaml") / "dataset.yaml"
    path.write_bytes(content.encode(errors="surrogatepass"))
    try:
        read_class_file(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - no error is fine as well


@settings(deadline=None, max_examples=50)
@given(data=st.data(), groups=st.lists(st.integers(1, 4), min_size=2, max_size=20))
def test_masks_of_ids_are_decoded_as_the_file_says(tmp_path_factory, data, groups):
    shuffled = data.draw(st.permutations(range(256)))
    starts = np.cumsum([0, *groups]).tolist()
    ids = [shuffled[a:b] for a, b in pairwise(starts)]
    ignored = shuffled[starts[-1] : starts[-1] + 2]
    content = of_ids(*({"ids": group} for group in ids), ignore=ignored)
    path = class_file(tmp_path_factory.mktemp("ids"), content)
    mask = np.array([[*chain(*ids), *ignored]], np.uint8)
    labels = read_class_file(path).encoding.decode(mask)
    expected = [label for label, group in enumerate(ids) for _ in group] + [IGNORE, IGNORE]
    assert labels.tolist() == [expected]


# The folders


def test_reads_images_and_labels_of_subfolders(tmp_path):
    data = load_folder(tree(tmp_path), "train")
    assert data.name == "mine"
    assert data.pairs == tuple(
        (tmp_path / f"images/train/{name}.png", tmp_path / f"masks/train/{name}.png")
        for name in ("a", "town/b")
    )
    image, labels = data[1]
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(labels, IDS)


def test_masks_of_colors(tmp_path):
    content = of_colors({"color": [9, 9, 9]}, {"color": [1, 2, 3], "also": [[3, 2, 1]]})
    colors = [[(9, 9, 9), (1, 2, 3)], [(3, 2, 1), (9, 9, 9)]]
    tree(tmp_path, content, names=["a"], mask=np.array(colors, np.uint8))
    save(tmp_path / "images/train/a.png", IMAGE[:, :2])
    assert load_folder(tmp_path, "train")[0][1].tolist() == [[0, 1], [1, 0]]


def test_either_spelling(tmp_path):
    american = of_colors({"color": [9, 9, 9]}, {"color": [1, 2, 3], "also": [[3, 2, 1]]})
    british = of_ids({"colour": [9, 9, 9]}, {"colour": [1, 2, 3], "also": [[3, 2, 1]]})
    british["masks"] = "colours"
    for name, content in (("american", american), ("british", british)):
        (tmp_path / name).mkdir()
        class_file(tmp_path / name, content)
    read = [read_class_file(tmp_path / name / "dataset.yaml") for name in ("american", "british")]
    assert read[0] == read[1]


def test_masks_of_indices(tmp_path):
    """A palette of black and white to look at: 255 is no id here, whatever the file shows."""
    tree(tmp_path, TWO, names=["a"])
    mask = Image.fromarray(IDS % 254)
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.save(tmp_path / "masks/train/a.png")
    with pytest.raises(ValueError, match=r"masks/train/a.png: .*`masks: indices`"):
        load_folder(tmp_path, "train")[0]
    class_file(tmp_path, TWO | {"masks": "indices"})
    data = load_folder(tmp_path, "train")
    assert data.encoding == IndexEncoding({0: 0, 1: 1, 255: IGNORE}, stored=True)
    np.testing.assert_array_equal(data[0][1], IDS % 254)


def test_images_of_another_range(tmp_path):
    tree(tmp_path, TWO | {"range": [100, 355.0]}, names=["a"])
    save(tmp_path / "images/train/a.png", 100 + IDS.astype(np.uint16))
    image, _ = load_folder(tmp_path, "train").subset([0])[0]
    np.testing.assert_array_equal(image, IDS[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize("extension", [".jpg", ".bmp", ".TIFF", ".webp"])
def test_images_may_have_any_extension(tmp_path, extension):
    tree(tmp_path, names=["v1.2-a"])
    (tmp_path / "images/train/v1.2-a.png").unlink()
    save(tmp_path / f"images/train/v1.2-a{extension}", IMAGE)
    (pair,) = load_folder(tmp_path, "train").pairs
    assert [path.name for path in pair] == [f"v1.2-a{extension}", "v1.2-a.png"]


def test_files_that_are_no_images_are_passed_over(tmp_path):
    tree(tmp_path)
    (tmp_path / "images/train/.ipynb_checkpoints").mkdir()
    for stray in ("Thumbs.db", "notes.txt", ".DS_Store", "._a.png", ".ipynb_checkpoints/a.png"):
        (tmp_path / "images/train" / stray).write_bytes(b"")
    assert len(load_folder(tmp_path, "train")) == 2


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match=r"images: .*\['train'\]. Received: 'val'"):
        load_folder(tree(tmp_path), "val")


def test_empty_split(tmp_path):
    (tree(tmp_path) / "images/val").mkdir()
    with pytest.raises(ValueError, match="the val split has no frames here"):
        load_folder(tmp_path, "val")


def test_unpaired_frames_are_named_in_one_error(tmp_path):
    tree(tmp_path, names=[f"{i}" for i in range(9)])
    for i in range(7):
        (tmp_path / f"masks/train/{i}.png").unlink()
    (tmp_path / "images/train/8.png").unlink()
    message = "1 frames lack their image: 8; 7 frames lack their mask: 0, 1, 2, 3, 4 and 2 more$"
    with pytest.raises(ValueError, match=message):
        load_folder(tmp_path, "train")


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_two_files_of_one_name(tmp_path, folder):
    tree(tmp_path)
    save(tmp_path / folder / "train/town/b.bmp", IMAGE)
    with pytest.raises(ValueError, match=rf"{folder}/train/town/b.png: b.bmp has the same name"):
        load_folder(tmp_path, "train")


def test_linked_subfolders_are_read(tmp_path):
    tree(tmp_path / "other", names=["x", "y/z"])
    root = tree(tmp_path / "mine", names=["a"])
    for folder in ("images", "masks"):
        (root / folder / "train/town").symlink_to(tmp_path / "other" / folder / "train")
        (root / folder / "train/again").symlink_to(root / folder)
    data = load_folder(root, "train")
    names = [image.relative_to(root / "images/train").as_posix() for image, _ in data.pairs]
    assert names == ["a.png", "town/x.png", "town/y/z.png"]
    np.testing.assert_array_equal(data[2][1], IDS)


@pytest.mark.parametrize("name", ["b.png", "town"])
def test_links_that_lead_nowhere_are_named(tmp_path, name):
    tree(tmp_path, names=["a"])
    for folder in ("images", "masks"):
        (tmp_path / folder / "train" / name).symlink_to("/gone")
    for load in (load_folder, split_images):
        with pytest.raises(
            ValueError, match=f"images/train/{name}: a link to /gone, which does not exist"
        ):
            load(tmp_path, "train")


def test_a_linked_folder_of_masks_that_is_gone_is_named(tmp_path):
    tree(tmp_path, names=["a"])
    (tmp_path / "masks/train/a.png").unlink()
    (tmp_path / "masks/train").rmdir()
    (tmp_path / "masks/train").symlink_to("/gone")
    with pytest.raises(ValueError, match="masks/train: a link to /gone"):
        load_folder(tmp_path, "train")


# Masks with a suffix

SUFFIXED = TWO | {"mask_suffix": "_mask"}


def rename(root, ending, folder="masks"):
    """Puts an ending behind the names of all masks, and the masks into another folder."""
    for mask in sorted((root / "masks/train").rglob("*.png")):
        place = root / folder / "train" / mask.relative_to(root / "masks/train")
        mask.rename(place.with_name(f"{mask.stem}{ending}.png"))
    return root


def pair_names(data):
    return [tuple(path.name for path in pair) for pair in data.pairs]


@pytest.mark.parametrize("suffix", ["_mask", ".mask", ".jpg", "-Label Ids"])
def test_masks_with_a_suffix(tmp_path, suffix):
    root = rename(tree(tmp_path, TWO | {"mask_suffix": suffix}), suffix)
    save(root / "masks/train/a_colored.png", IMAGE)
    data = load_folder(root, "train")
    assert pair_names(data) == [("a.png", f"a{suffix}.png"), ("b.png", f"b{suffix}.png")]
    np.testing.assert_array_equal(data[1][1], IDS)


def test_masks_beside_their_images(tmp_path):
    root = rename(tree(tmp_path, SUFFIXED), "_mask", folder="images")
    with pytest.raises(ValueError, match="lack their mask"):
        load_folder(root, "train")  # a folder of masks is there, and empty
    (root / "masks/train/town").rmdir()
    (root / "masks/train").rmdir()
    data = load_folder(root, "train")
    assert pair_names(data) == [("a.png", "a_mask.png"), ("b.png", "b_mask.png")]
    np.testing.assert_array_equal(data[0][1], IDS)
    assert [path.name for path in split_images(root, "train")] == ["a.png", "b.png"]


def test_a_mask_beside_images_without_its_image(tmp_path):
    root = rename(tree(tmp_path, SUFFIXED), "_mask", folder="images")
    (root / "masks").rename(tmp_path / "unused")
    (root / "images/train/a.png").unlink()
    with pytest.raises(ValueError, match=r"1 frames lack their image: a$"):
        load_folder(root, "train")


@pytest.mark.parametrize("folder", ["masks", "images"])
def test_a_suffix_that_the_file_does_not_name_is_suggested(tmp_path, folder):
    root = rename(tree(tmp_path, TWO), "_mask", folder)
    if folder == "images":
        (root / "masks").rename(tmp_path / "unused")
    message = "lack their mask: .*If masks are named NAME_mask, write `mask_suffix: _mask`$"
    with pytest.raises(ValueError, match=message):
        load_folder(root, "train")


def test_no_suffix_is_suggested_where_there_is_none(tmp_path):
    root = tree(tmp_path, names=["a_1", "b_2", "b_2_x", "c"])
    (root / "masks").rename(tmp_path / "unused")
    with pytest.raises(ValueError, match=r"4 frames lack their mask: a_1, b_2, b_2_x, c$"):
        load_folder(root, "train")


def test_images_of_a_split_without_masks(tmp_path):
    tree(tmp_path)
    save(tmp_path / "images/test/new.jpg", IMAGE)
    assert split_images(tmp_path, "test") == (tmp_path / "images/test/new.jpg",)
    with pytest.raises(ValueError, match="1 frames lack their mask: new"):
        load_folder(tmp_path, "test")


# Which layout a folder has


def test_the_layout_is_recognized(tmp_path):
    tree(tmp_path / "own")
    save(tmp_path / "camvid/val/a.png", IMAGE)
    save(tmp_path / "camvid/valannot/a.png", np.zeros((2, 3), np.uint8))
    (tmp_path / "camvid/val.txt").write_text("val/a.png valannot/a.png")
    save(tmp_path / "original/701_StillsRaw_full/0016E5_07959.png", IMAGE)
    save(tmp_path / "original/LabeledApproved_full/0016E5_07959_L.png", 0 * IMAGE)
    save(tmp_path / "city/leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png", IMAGE)
    save(tmp_path / "city/gtFine/val/ulm/ulm_0_1_gtFine_labelIds.png", IDS)
    names = {
        folder: load_dataset(tmp_path / folder, "train" if folder == "own" else "val").name
        for folder in ("own", "camvid", "original", "city")
    }
    assert names == {
        "own": "mine",
        "camvid": "camvid",
        "original": "camvid",
        "city": "cityscapes",
    }


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_a_folder_of_no_layout(tmp_path, folder):
    message = "no data set. Expected dataset.yaml.*leftImg8bit/.*train.txt or 701_StillsRaw_full/"
    for load in (load_dataset, split_images):
        with pytest.raises(ValueError, match=message):
            load(tmp_path / folder, "train")
