"""CamVid's two layouts, read from small made trees and, where at hand, from the real frames."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from keras_crosscbam.datasets import (
    CAMVID_CLASSES,
    IGNORE,
    ClassTable,
    ColorEncoding,
    IndexEncoding,
    load_camvid,
)
from keras_crosscbam.datasets.camvid import ORIGINAL_CLASSES

# Every class once, then the unlabeled rest: as ids, as colors, and the labels they stand for.
IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLORS = np.array([*CAMVID_CLASSES.colors, (0, 0, 0)], np.uint8).reshape(3, 4, 3)
LABELS = np.where(IDS == 11, IGNORE, IDS)
IMAGE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)

# The image and the mask of the only frame in each layout.
INDEX_FILES = "val/a.png", "valannot/a.png"
INDEX_LINE = "val/a.png valannot/a.png"
ORIGINAL_FILES = "701_StillsRaw_full/0016E5_07959.png", "LabeledApproved_full/0016E5_07959_L.png"


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def index_tree(root, line=INDEX_LINE, image=INDEX_FILES[0]):
    """A val split of one frame in SegNet's layout."""
    save(root / image, IMAGE)
    save(root / INDEX_FILES[1], IDS)
    (root / "val.txt").write_text(line)


def original_tree(root, image=ORIGINAL_FILES[0]):
    """A val split of one frame in the original layout."""
    save(root / image, IMAGE)
    save(root / ORIGINAL_FILES[1], COLORS)


both_layouts = pytest.mark.parametrize(
    ("tree", "files"),
    [(index_tree, INDEX_FILES), (original_tree, ORIGINAL_FILES)],
    ids=["index", "original"],
)


def raises_naming(*names):
    """Expects a `ValueError` whose message holds all the names, in this order."""
    return pytest.raises(ValueError, match="(?s)" + ".*".join(re.escape(str(n)) for n in names))


# Reading


@both_layouts
def test_reads_image_and_labels(tmp_path, tree, files):
    tree(tmp_path)
    data = load_camvid(tmp_path, "val")
    image, labels = data[0]
    assert data.pairs == (tuple(tmp_path / file for file in files),)
    assert data.classes is CAMVID_CLASSES
    assert image.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(labels, LABELS)


@both_layouts
@pytest.mark.parametrize("extension", [".jpg", ".bmp", ".tif", ".PNG"])
def test_images_may_have_any_extension(tmp_path, tree, files, extension):
    # The index layout's list goes on saying .png, as in copies whose images were converted.
    tree(tmp_path, image=files[0].replace(".png", extension))
    image, _ = load_camvid(tmp_path, "val")[0]
    np.testing.assert_allclose(image, IMAGE, atol=25 if extension == ".jpg" else 0)


@pytest.mark.parametrize(
    "line",
    [
        "/SegNet/CamVid/val/a.png /SegNet/CamVid/valannot/a.png",
        "/SegNet/CamVid/val/a.jpg /SegNet/CamVid/valannot/a.bmp",
        "./val/a.png ./valannot/a.png",
        "\n  val/a.png\tvalannot/a.png  \n\n",
    ],
)
def test_lists_as_others_wrote_them(tmp_path, line):
    index_tree(tmp_path, line)
    assert load_camvid(tmp_path, "val").pairs == (tuple(tmp_path / f for f in INDEX_FILES),)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize(
    "line", [INDEX_LINE, r"val\a.png valannot\a.png", r"C:\d\val\a.png .\valannot\a.png"]
)
def test_lists_as_windows_writes_them(tmp_path, encoding, line):
    """With a byte-order mark, backslashes, and two characters at the end of a line."""
    index_tree(tmp_path)
    (tmp_path / "val.txt").write_bytes(f"{line}\r\n{line}\r\n".encode(encoding))
    assert load_camvid(tmp_path, "val").pairs == (tuple(tmp_path / f for f in INDEX_FILES),) * 2


def test_list_that_is_no_text(tmp_path):
    index_tree(tmp_path)
    (tmp_path / "val.txt").write_bytes(b"val/\xff.png valannot/a.png")
    with raises_naming(tmp_path / "val.txt", "UTF-8"):
        load_camvid(tmp_path, "val")


def test_the_list_determines_the_order(tmp_path):
    index_tree(tmp_path, "val/a.png valannot/a.png\nval/0.png valannot/a.png\n")
    save(tmp_path / "val/0.png", IMAGE)
    data = load_camvid(tmp_path, "val")
    assert [image.stem for image, _ in data.pairs] == ["a", "0"]
    assert data.subset([1]).pairs == data.pairs[1:]


def test_index_mask_with_a_palette(tmp_path):
    index_tree(tmp_path)
    mask = Image.fromarray(IDS)
    # These colors are no ids, and two ids share one: only the indices tell the classes apart.
    mask.putpalette([200, 100, 50] * 2 + [v for c in CAMVID_CLASSES.colors for v in c])
    mask.save(tmp_path / INDEX_FILES[1])
    with Image.open(tmp_path / INDEX_FILES[1]) as mask:
        assert mask.mode == "P"
    np.testing.assert_array_equal(load_camvid(tmp_path, "val")[0][1], LABELS)


def test_index_mask_of_16_bits(tmp_path):
    index_tree(tmp_path)
    save(tmp_path / INDEX_FILES[1], IDS.astype(np.uint16))
    with Image.open(tmp_path / INDEX_FILES[1]) as mask:
        assert mask.mode == "I;16"
    np.testing.assert_array_equal(load_camvid(tmp_path, "val")[0][1], LABELS)


def test_color_mask_with_transparency(tmp_path):
    original_tree(tmp_path)
    save(tmp_path / ORIGINAL_FILES[1], np.dstack([COLORS, np.full((3, 4), 9, np.uint8)]))
    with Image.open(tmp_path / ORIGINAL_FILES[1]) as mask:
        assert mask.mode == "RGBA"
    np.testing.assert_array_equal(load_camvid(tmp_path, "val")[0][1], LABELS)


def test_the_32_original_classes_are_merged(tmp_path):
    groups = {
        "Sky": "Sky",
        "Building": "Building Wall Bridge Tunnel",
        "Pole": "Column_Pole TrafficCone",
        "Road": "Road LaneMkgsDriv LaneMkgsNonDriv",
        "Pavement": "Sidewalk ParkingBlock RoadShoulder",
        "Tree": "Tree VegetationMisc",
        "SignSymbol": "SignSymbol Misc_Text TrafficLight",
        "Fence": "Fence",
        "Car": "Car SUVPickupTruck Truck_Bus Train",
        "Pedestrian": "Pedestrian Animal",
        "Bicyclist": "Bicyclist MotorcycleScooter",
        "unlabeled": "Void Archway CartLuggagePram Child OtherMoving",
    }
    original_tree(tmp_path)
    save(tmp_path / ORIGINAL_FILES[0], np.zeros((4, 8, 3), np.uint8))
    colors = [color for color, _ in ORIGINAL_CLASSES.values()]
    save(tmp_path / ORIGINAL_FILES[1], np.array(colors, np.uint8).reshape(4, 8, 3))
    labels = load_camvid(tmp_path, "val")[0][1].ravel()
    table = dict(enumerate(CAMVID_CLASSES.names)) | {IGNORE: "unlabeled"}
    merged = {name: table[label] for name, label in zip(ORIGINAL_CLASSES, labels, strict=True)}
    assert merged == {name: group for group, names in groups.items() for name in names.split()}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("0001TP_006690", "train"),
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0006R0_f00930", "train"),
        ("0016E5_07920", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_07980", "train"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f00000", "test"),
    ],
)
def test_original_frames_are_split_by_sequence(tmp_path, name, split):
    save(tmp_path / f"701_StillsRaw_full/{name}.png", IMAGE)
    save(tmp_path / f"LabeledApproved_full/{name}_L.png", COLORS)
    assert [image.stem for image, _ in load_camvid(tmp_path, split).pairs] == [name]


# Errors


def test_unknown_split(tmp_path):
    index_tree(tmp_path)
    with raises_naming("train", "val", "test", "validation"):
        load_camvid(tmp_path, "validation")


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_neither_layout(tmp_path, folder):
    with raises_naming(tmp_path / folder, "train.txt", "701_StillsRaw_full"):
        load_camvid(tmp_path / folder, "train")


@pytest.mark.parametrize("line", ["val/a.png", "val/a.png valannot/a.png 0.5"])
def test_malformed_line_of_a_list(tmp_path, line):
    index_tree(tmp_path, f"{INDEX_LINE}\n{line}\n")
    with raises_naming(tmp_path / "val.txt", "line 2", line):
        load_camvid(tmp_path, "val")


@pytest.mark.parametrize("missing", INDEX_FILES)
def test_listed_file_is_missing(tmp_path, missing):
    index_tree(tmp_path)
    (tmp_path / missing).unlink()
    with raises_naming(tmp_path / "val.txt", "line 1", missing):
        load_camvid(tmp_path, "val")


@pytest.mark.parametrize("missing", ORIGINAL_FILES)
def test_original_frame_without_its_partner(tmp_path, missing):
    original_tree(tmp_path)
    (tmp_path / missing).unlink()
    with raises_naming(tmp_path, "0016E5_07959"):
        load_camvid(tmp_path, "val")


@pytest.mark.parametrize("name", ["0099XX_00030", "0016E5_last", "copy"])
def test_original_frame_of_no_known_sequence(tmp_path, name):
    original_tree(tmp_path)
    save(tmp_path / f"701_StillsRaw_full/{name}.png", IMAGE)
    save(tmp_path / f"LabeledApproved_full/{name}_L.png", COLORS)
    with raises_naming(name):
        load_camvid(tmp_path, "val")


def test_empty_list(tmp_path):
    index_tree(tmp_path, line="\n")
    with raises_naming(tmp_path, "val"):
        load_camvid(tmp_path, "val")


def test_split_without_frames(tmp_path):
    original_tree(tmp_path)
    with raises_naming(tmp_path, "test"):
        load_camvid(tmp_path, "test")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_id(tmp_path, dtype):
    index_tree(tmp_path)
    save(tmp_path / INDEX_FILES[1], np.full((3, 4), 12, dtype))
    with raises_naming(tmp_path / INDEX_FILES[1], "[12]"):
        load_camvid(tmp_path, "val")[0]


def test_id_beyond_8_bits(tmp_path):
    index_tree(tmp_path)
    # Cut to 8 bits this would be the valid id 1.
    save(tmp_path / INDEX_FILES[1], np.full((3, 4), 257, np.uint16))
    with raises_naming(tmp_path / INDEX_FILES[1], "257"):
        load_camvid(tmp_path, "val")[0]


def test_unknown_color(tmp_path):
    original_tree(tmp_path)
    save(tmp_path / ORIGINAL_FILES[1], np.where(COLORS == 64, np.uint8(65), COLORS))
    with raises_naming(tmp_path / ORIGINAL_FILES[1], "65"):
        load_camvid(tmp_path, "val")[0]


@both_layouts
def test_mask_of_the_other_layout(tmp_path, tree, files):
    tree(tmp_path)
    save(tmp_path / files[1], COLORS if tree is index_tree else IDS)
    with raises_naming(tmp_path / files[1], "layout"):
        load_camvid(tmp_path, "val")[0]


@both_layouts
def test_sizes_of_image_and_mask_differ(tmp_path, tree, files):
    tree(tmp_path)
    save(tmp_path / files[0], IMAGE[:, :3])
    with raises_naming(tmp_path / files[1], "4x3", tmp_path / files[0], "3x3"):
        load_camvid(tmp_path, "val")[0]


@both_layouts
@pytest.mark.parametrize("which", [0, 1], ids=["image", "mask"])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"GIF87a", lambda b: b[: len(b) // 2]])
def test_damaged_file(tmp_path, tree, files, which, damage):
    tree(tmp_path)
    file = tmp_path / files[which]
    file.write_bytes(damage(file.read_bytes()))
    with raises_naming(file):
        load_camvid(tmp_path, "val")[0]


@both_layouts
@pytest.mark.parametrize("which", [0, 1], ids=["image", "mask"])
def test_file_that_vanished(tmp_path, tree, files, which):
    tree(tmp_path)
    data = load_camvid(tmp_path, "val")
    (tmp_path / files[which]).unlink()
    with raises_naming(tmp_path / files[which], "no such file"):
        data[0]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".tif"])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whatever_the_damage_the_file_is_named(tmp_path_factory, extension, data):
    root = tmp_path_factory.mktemp("damaged")
    file = root / INDEX_FILES[0].replace(".png", extension)
    index_tree(root, image=file.relative_to(root))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        load_camvid(root, "val")[0]  # some damage does no harm
    except ValueError as error:
        assert str(file) in str(error)  # noqa: PT017 - no error is fine as well


# Encodings and class tables

bytes_ = st.integers(0, 255)
colors = st.tuples(bytes_, bytes_, bytes_)
grids = array_shapes(min_dims=2, max_dims=2, max_side=9)


@settings(deadline=None, max_examples=50)
@given(ids=st.dictionaries(bytes_, bytes_, min_size=1, max_size=20), data=st.data())
def test_index_encoding_round_trip(ids, data):
    mask = data.draw(arrays(np.uint8, grids, elements=st.sampled_from(sorted(ids))))
    labels = IndexEncoding(ids).decode(mask)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[ids[i] for i in row] for row in mask.tolist()]


@settings(deadline=None, max_examples=50)
@given(table=st.dictionaries(colors, bytes_, min_size=1, max_size=40), data=st.data())
def test_color_encoding_round_trip(table, data):
    palette = sorted(table)
    chosen = data.draw(arrays(np.uint8, grids, elements=st.integers(0, len(palette) - 1)))
    labels = ColorEncoding(table).decode(np.array(palette, np.uint8)[chosen])
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[table[palette[i]] for i in row] for row in chosen.tolist()]


@settings(deadline=None, max_examples=50)
@given(ids=st.dictionaries(bytes_, bytes_, min_size=1), stray=bytes_)
def test_index_encoding_names_a_stray_id(ids, stray):
    ids.pop(stray, None)
    with raises_naming(f"[{stray}]"):
        IndexEncoding(ids or {(stray + 1) % 256: 0}).decode(np.array([[stray]], np.uint8))


@settings(deadline=None, max_examples=50)
@given(table=st.dictionaries(colors, bytes_), stray=colors)
def test_color_encoding_names_a_stray_color(table, stray):
    table.pop(stray, None)
    with raises_naming(stray):
        ColorEncoding(table).decode(np.array([[stray]], np.uint8))


def test_class_table_needs_a_color_per_class():
    with raises_naming("2 names", "1 colors"):
        ClassTable(names=("a", "b"), colors=((0, 0, 0),))


# The real frames


@pytest.mark.parametrize(("split", "frames"), [("train", 367), ("val", 101)])
def test_real_number_of_frames(data_root, split, frames):
    assert len(load_camvid(data_root / "camvid-480x360", split)) == frames


def test_real_lists_follow_the_split_rule(data_root, tmp_path):
    """The published lists, made into empty files of the original layout, are found again."""
    listed = {
        split: [image.stem for image, _ in load_camvid(data_root / "camvid-480x360", split).pairs]
        for split in ("train", "val")
    }
    for folder, ending in (("701_StillsRaw_full", ".png"), ("LabeledApproved_full", "_L.png")):
        (tmp_path / folder).mkdir()
        for name in listed["train"] + listed["val"]:
            (tmp_path / folder / f"{name}{ending}").touch()
    for split, names in listed.items():
        found = [image.stem for image, _ in load_camvid(tmp_path, split).pairs]
        assert sorted(found) == sorted(names)


def test_real_class_shares(data_root):
    data = load_camvid(data_root / "camvid-480x360", "train")
    counts = data.count_pixels()
    labeled = [0.169, 0.233, 0.010, 0.317, 0.045, 0.097, 0.012, 0.011, 0.059, 0.006, 0.003]
    assert counts.shape == (367, 11)
    np.testing.assert_allclose(counts.sum(axis=0) / (367 * 360 * 480), labeled, atol=1e-3)
    for frame in (0, 200, 366):
        ids = np.asarray(Image.open(data.pairs[frame][1]))
        assert counts[frame].tolist() == [(ids == i).sum() for i in range(11)]


def test_real_colors_are_those_of_the_original_table(data_root):
    table = {}
    for line in (data_root / "camvid-960x720-val/label_colors.txt").read_text().splitlines():
        *color, name = line.split()
        table[name] = tuple(map(int, color))
    assert {name: color for name, (color, _) in ORIGINAL_CLASSES.items()} == table


def test_real_layouts_agree(data_root):
    """The 32 colors of the full-size masks, merged, are the 11 classes of the index masks."""
    small = load_camvid(data_root / "camvid-480x360", "val")
    full = load_camvid(data_root / "camvid-960x720-val", "val")
    assert [i.stem for i, _ in full.pairs] == [i.stem for i, _ in small.pairs]
    # The index labels were subsampled on this grid: the other three offsets agree on 98.6 to
    # 99.0 % of the pixels, this one on 99.90 %.
    equal = [full[i][1][1::2, ::2] == small[i][1] for i in range(0, len(small), 5)]
    assert np.mean(equal) > 0.998
