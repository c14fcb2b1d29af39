"""Masks as tools and optimizers write them: the ids are the right ones, or the file is refused."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from png_file import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, grays_as_palette, png

from keras_crosscbam.classes import numbered_classes
from keras_crosscbam.datasets import (
    CAMVID_CLASSES,
    IGNORE,
    ClassTable,
    ColorEncoding,
    IndexEncoding,
    SegmentationDataset,
)
from keras_crosscbam.datasets.masks import UnclearIdsError, read_mask

VOC = np.array([(0, 0, 0), *numbered_classes(255).colors], np.uint8)
OF_VOC = IndexEncoding({**{i: i for i in range(21)}, 255: IGNORE})
BOTH = IndexEncoding({0: 0, 1: 1, 255: IGNORE})


def blocks(*ids):
    """A mask in which each of the ids has some pixels."""
    return np.resize(np.array(ids, np.uint8), 35).reshape(5, 7)


def pixels(tmp_path, content, encoding):
    file = tmp_path / "mask.png"
    file.write_bytes(content)
    return read_mask(file, encoding).pixels


def refuses(tmp_path, *words):
    return pytest.raises(
        ValueError, match="(?s)" + ".*".join(map(re.escape, (f"{tmp_path}/mask.png: ", *words)))
    )


# Ids as grays


@settings(deadline=None, max_examples=150)
@given(
    used=st.sets(st.sampled_from([*range(21), 255]), min_size=1),
    further=st.sets(st.integers(0, 255)),
    shuffle=st.permutations(range(256)),
    data=st.data(),
)
def test_an_optimized_mask_has_the_ids_of_the_plain_one(
    tmp_path_factory, used, further, shuffle, data
):
    """Whatever the ids, other classes, and the order of the palette; black and white is unclear."""
    gray = data.draw(arrays(np.uint8, (3, 5), elements=st.sampled_from(sorted(used))))
    order = data.draw(st.sampled_from([sorted, lambda grays: [g for g in shuffle if g in grays]]))
    encoding = IndexEncoding(dict.fromkeys(used | further, 0))
    path = tmp_path_factory.mktemp("optimized") / "mask.png"
    path.write_bytes(grays_as_palette(gray, order))
    unclear = (set(np.unique(gray)) == {0, 255} and {0, 1} <= encoding.ids.keys()) or (
        set(np.unique(gray)) == {255} and 0 in encoding.ids
    )
    try:
        ids = read_mask(path, encoding).pixels
    except UnclearIdsError as error:
        assert unclear
        assert str(path) in str(error)  # noqa: PT017 - a result is fine as well
    else:
        assert not unclear
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, gray)


@pytest.mark.parametrize(
    ("grays", "bits"), [((0, 255), 1), ((0, 85, 170, 255), 2), ((0, 17, 34), 4), ((17, 255), 4)]
)
def test_gray_of_few_bits_has_the_ids_of_8_bits(tmp_path, grays, bits):
    gray = blocks(*grays)
    content = png(gray // (255 // (2**bits - 1)), bits)
    encoding = IndexEncoding(dict.fromkeys(grays, 0))
    np.testing.assert_array_equal(pixels(tmp_path, content, encoding), gray)


@pytest.mark.parametrize(
    ("kind", "palette"), [(GRAY, None), (PALETTE, [[0], [255]]), (PALETTE, [[255], [0]])]
)
@pytest.mark.parametrize(
    ("ids", "expected"),
    [((0, 255), "grays"), ((0, 1), "numbers"), ((0, 1, 255), "refused"), ((0, 7), "strays")],
)
def test_black_and_white(tmp_path, kind, palette, ids, expected):
    """Are 0 and 255, or 0 and 1, whichever the data set knows."""
    numbers, encoding = blocks(0, 1), IndexEncoding(dict.fromkeys(ids, 0))
    content = png(numbers, 1, kind, palette)
    grays = np.array([0, 255] if palette is None else palette, np.uint8).ravel()
    if expected == "refused" or (expected == "numbers" and grays[0] == 255):
        with refuses(tmp_path, "[0, 1]", "grays", "8-bit gray", "masks: indices"):
            pixels(tmp_path, content, encoding)
    else:
        wanted = numbers if expected == "numbers" else grays[numbers]
        np.testing.assert_array_equal(pixels(tmp_path, content, encoding), wanted)
    stored = IndexEncoding(encoding.ids, stored=True)
    np.testing.assert_array_equal(pixels(tmp_path, content, stored), numbers)


def test_all_black_is_clear(tmp_path):
    assert not pixels(tmp_path, png(blocks(0), 1), BOTH).any()


def test_bilevel_masks_of_other_formats(tmp_path):
    """Pillow writes an array of truth values with one bit."""
    for name in ("mask.png", "mask.bmp", "mask.tif"):
        Image.fromarray(blocks(0, 1) == 1).save(tmp_path / name)
        ids = read_mask(tmp_path / name, IndexEncoding({0: 0, 1: 1})).pixels
        np.testing.assert_array_equal(ids, blocks(0, 1))
        with pytest.raises(UnclearIdsError, match=name):
            read_mask(tmp_path / name, BOTH)


# Palettes whose indices are the ids


@pytest.mark.parametrize("ids", [(0, 1, 15, 20, 255), (0, 7), (7,), (0,)])
def test_indices_of_a_palette_of_colors(tmp_path, ids):
    """Number 7 of VOC is gray, 128: in a palette of colors no gray is an id."""
    mask = blocks(*ids)
    for size in (21, 256) if 255 not in ids else (256,):
        content = png(mask, 8, PALETTE, VOC[:size])
        np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), mask)


def test_grays_beside_a_color(tmp_path):
    content = png(blocks(0, 1, 2), 2, PALETTE, [(0, 0, 0), (3, 3, 3), (9, 0, 0)])
    np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), blocks(0, 1, 2))


@pytest.mark.parametrize("palette", [[[0]] * 4, [[255]] * 256, [[9], [0], [9], [3]]])
def test_equal_grays_are_no_ids(tmp_path, palette):
    content = png(blocks(2, 3), 8, PALETTE, palette)
    np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), blocks(2, 3))


def test_an_index_beyond_the_palette(tmp_path):
    content = png(blocks(0, 1, 3), 2, PALETTE, [[0], [2]])
    np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), blocks(0, 1, 3))
    with refuses(tmp_path, "index 3", "palette has 2"):
        pixels(tmp_path, content, ColorEncoding({(0, 0, 0): 0, (2, 2, 2): 1}))


def test_a_palette_of_grays_that_are_the_indices(tmp_path):
    for size in (4, 256):
        content = png(blocks(0, 1, 3), 8, PALETTE, np.arange(size)[:, None])
        np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), blocks(0, 1, 3))


@pytest.mark.parametrize(
    "content",
    [
        png(blocks(0, 1, 2), 4, PALETTE, 17 * np.arange(3)[:, None]),
        png(blocks(0, 1, 2), 4, PALETTE, 17 * np.arange(16)[:, None]),
        png(blocks(0, 1, 2), 8, PALETTE, [[0], [128], [255]]),
        png(blocks(0, 1, 2), 4),
        png(blocks(0, 1, 2), 2),
    ],
)
def test_a_ramp_of_grays_to_look_at(tmp_path, content):
    """Its grays are no class's and its numbers are: refused, unless the data set says which."""
    ids = {0: 0, 1: 1, 2: 2, 255: IGNORE}
    with refuses(tmp_path, "[0, 1, 2]", "grays [0, ", "masks: indices"):
        pixels(tmp_path, content, IndexEncoding(ids))
    stored = IndexEncoding(ids, stored=True)
    np.testing.assert_array_equal(pixels(tmp_path, content, stored), blocks(0, 1, 2))


@pytest.mark.parametrize(
    "content",
    [png(blocks(0, 3), 2), png(blocks(0, 2), 8, PALETTE, [[0], [128], [255]])],
)
def test_black_and_white_of_more_bits(tmp_path, content):
    """White may be the class with the last number, or 255, which does not count."""
    with refuses(tmp_path, "grays [0, 255]", "masks: indices"):
        pixels(tmp_path, content, IndexEncoding({**{i: i for i in range(4)}, 255: IGNORE}))


def test_grays_beside_a_color_that_is_not_in_use(tmp_path):
    content = png(blocks(0, 1, 2), 2, PALETTE, [(0, 0, 0), (2, 2, 2), (3, 3, 3), (255, 0, 0)])
    with refuses(tmp_path, "[0, 1, 2]", "grays [0, 2, 3]"):
        pixels(tmp_path, content, IndexEncoding({i: i for i in range(4)}))


def test_what_is_background_as_the_rest_does_not_tell_ids(tmp_path):
    rest = frozenset(range(255)) - {1}
    crack = IndexEncoding({**dict.fromkeys(rest, 0), 1: 1, 255: IGNORE}, rest=rest)
    with refuses(tmp_path, "[0, 1]", "grays [0, 200]"):
        pixels(tmp_path, png(blocks(0, 1), 1, PALETTE, [[0], [200]]), crack)
    np.testing.assert_array_equal(pixels(tmp_path, png(blocks(0, 1), 8), crack), blocks(0, 1))


def test_strays_are_those_of_the_plain_file(tmp_path):
    content = grays_as_palette(blocks(0, 2, 40))
    ids = pixels(tmp_path, content, IndexEncoding({0: 0, 2: 1}))
    with pytest.raises(ValueError, match=r"also received \[40\]"):
        IndexEncoding({0: 0, 2: 1}).decode(ids)


# Palettes that differ


def dataset(tmp_path, contents, encoding):
    pairs = []
    for number, content in enumerate(contents):
        pairs.append((tmp_path / f"{number}.jpg", tmp_path / f"{number}.png"))
        Image.new("RGB", (7, 5)).save(pairs[-1][0])
        pairs[-1][1].write_bytes(content)
    table = ClassTable(tuple(f"c{i}" for i in range(21)), tuple(map(tuple, VOC[:21].tolist())))
    return SegmentationDataset("mine", tuple(pairs), table, encoding)


@pytest.mark.parametrize("palettes", [((0, 15), (0, 8)), ((0, 1, 15), (0, 15)), ((0, 3), (4, 0))])
def test_optimized_palettes_of_colors_contradict_each_other(tmp_path, palettes):
    """Such files number the colors that occur; only side by side do they show it."""
    contents = [png(blocks(*range(len(p))), 2, PALETTE, VOC[list(p)]) for p in palettes]
    with pytest.raises(ValueError, match=r"mine: .* index \d is .*0.png.*1.png.*`masks: colors`"):
        dataset(tmp_path, contents, OF_VOC).count_pixels()
    read = dataset(tmp_path, contents, OF_VOC)
    assert read[0][1].shape == (5, 7)
    with pytest.raises(ValueError, match=r"mine: .* index \d is .*0.png.*1.png"):
        read[1]
    stored = IndexEncoding(OF_VOC.ids, stored=True)
    assert dataset(tmp_path, contents, stored).count_pixels().sum() == 70
    colors = ColorEncoding({tuple(c): i for i, c in enumerate(VOC[:21].tolist())})
    data = dataset(tmp_path, contents, colors)
    for index, chosen in enumerate(palettes):
        np.testing.assert_array_equal(data[index][1], np.array(chosen)[blocks(*range(len(chosen)))])


def test_one_palette_of_several_lengths_is_none(tmp_path):
    contents = [png(blocks(*ids), 8, PALETTE, VOC[: max(ids) + 1]) for ids in ((0, 7), (0, 15, 2))]
    contents += [png(blocks(0, 7, 20), 8), grays_as_palette(blocks(0, 2, 3))]
    assert dataset(tmp_path, contents, OF_VOC).count_pixels()[1, 15] > 0


# Colors


def test_masks_of_colors_may_have_a_palette(tmp_path):
    table = {tuple(color): label for label, color in enumerate(CAMVID_CLASSES.colors)}
    palette = np.array(CAMVID_CLASSES.colors)[::-1]
    content = png(blocks(0, 4, 10), 4, PALETTE, palette, opacity=[0, 9])
    colors = pixels(tmp_path, content, ColorEncoding(table))
    np.testing.assert_array_equal(colors, palette[blocks(0, 4, 10)])
    assert ColorEncoding(table).decode(colors).tolist() == (10 - blocks(0, 4, 10)).tolist()


@pytest.mark.parametrize(
    "content",
    [
        png(blocks(0, 128), 8),
        grays_as_palette(blocks(0, 128)),
        png(np.stack([blocks(0, 128), blocks(255)], axis=-1), 8, GRAY_ALPHA),
    ],
)
def test_colors_that_are_all_gray_may_be_stored_as_gray(tmp_path, content):
    table = {(0, 0, 0): IGNORE, (128, 128, 128): 0, (128, 0, 0): 1}
    colors = pixels(tmp_path, content, ColorEncoding(table))
    np.testing.assert_array_equal(colors, blocks(0, 128)[..., None].repeat(3, axis=-1))
    # Other grays are likely to be ids.
    del table[128, 128, 128]
    with pytest.raises(ValueError, match="Is this the index layout"):
        ColorEncoding(table).decode(pixels(tmp_path, content, ColorEncoding(table)))


# Transparency, 16 bits, floating point


def test_transparency_that_means_nothing(tmp_path):
    ids = blocks(0, 2, 3)
    for opacity in (blocks(255), blocks(0), np.where(ids == 2, 9, 255)):
        content = png(np.stack([ids, opacity], axis=-1), 8, GRAY_ALPHA)
        np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), ids)
        colors = VOC[ids]
        content = png(np.concatenate([colors, opacity[..., None]], axis=-1), 8, RGBA)
        table = ColorEncoding({tuple(c): 0 for c in VOC[:21].tolist()})
        np.testing.assert_array_equal(pixels(tmp_path, content, table), colors)
    content = png(ids, 2, PALETTE, VOC[:4], opacity=[0])
    np.testing.assert_array_equal(pixels(tmp_path, content, OF_VOC), ids)


def test_transparency_that_may_mean_something(tmp_path):
    """The same color is background where it is transparent, and a class where it is not."""
    ids, opacity = blocks(0, 0, 3), blocks(0, 255, 255)
    table = ColorEncoding({tuple(c): 0 for c in VOC[:21].tolist()})
    for content, encoding in (
        (png(np.stack([ids, opacity], axis=-1), 8, GRAY_ALPHA), OF_VOC),
        (png(np.concatenate([VOC[ids], opacity[..., None]], axis=-1), 8, RGBA), table),
        (png(blocks(0, 1), 1, PALETTE, VOC[[0, 0]], opacity=[0]), table),
    ):
        with refuses(tmp_path, "transparen"):
            pixels(tmp_path, content, encoding)


def test_ids_of_16_bits(tmp_path):
    ids = blocks(0, 2, 255)
    np.testing.assert_array_equal(pixels(tmp_path, png(ids, 16), OF_VOC), ids)
    with refuses(tmp_path, "0..255", "also: [514]"):
        pixels(tmp_path, png(2 * ids.astype(np.uint16) + 4 * (ids == 255), 16), OF_VOC)


def test_colors_of_16_bits(tmp_path):
    """Pillow keeps the upper byte of each: 8-bit values in 16 bits would all be black."""
    colors = VOC[blocks(0, 2, 20)].astype(np.uint16)
    table = ColorEncoding({tuple(c): i for i, c in enumerate(VOC[:21].tolist())})
    wide = pixels(tmp_path, png(257 * colors, 16, RGB), table)
    np.testing.assert_array_equal(wide, colors)
    with refuses(tmp_path, "16 bits", "8 bits"):
        pixels(tmp_path, png(colors, 16, RGB), table)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (blocks(0, 1).astype(np.int32) - 1, ("0..255", "also: [-1]")),
        (blocks(0, 1).astype(np.int32) * 300 - 1, ("0..255", "also: [-1, 299]")),
        (blocks(0, 1).astype(np.float32), ("floating-point", "whole numbers", "8-bit gray")),
    ],
)
def test_numbers_that_are_no_ids(tmp_path, array, words):
    Image.fromarray(array).save(tmp_path / "mask.tif")
    with pytest.raises(ValueError, match="(?s)mask.tif.*" + ".*".join(map(re.escape, words))):
        read_mask(tmp_path / "mask.tif", OF_VOC)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["L", "P", "1", "I;16", "RGB", "tif"])
def test_a_mask_is_turned_by_its_own_tag(tmp_path, orientation, kind):
    """By the transpositions that EXIF 2.3 defines: where its row 0 and its column 0 are shown."""
    stored = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
    image = Image.fromarray({"I;16": stored.astype(np.uint16), "1": stored == 1}.get(kind, stored))
    encoding = IndexEncoding({0: 0, 1: 1})
    if kind == "P":
        image.putpalette([0, 0, 0, 9, 0, 0])
    elif kind == "RGB":
        image, encoding = (
            Image.fromarray(VOC[stored]),
            ColorEncoding({(0, 0, 0): 0, (128, 0, 0): 1}),
        )
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"mask.{kind if kind == 'tif' else 'png'}"
    image.save(path, exif=exif)
    expected = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored[::-1].T,
        7: stored[::-1, ::-1].T,
        8: stored.T[::-1],
    }[orientation]
    mask = read_mask(path, encoding)
    np.testing.assert_array_equal(encoding.decode(mask.pixels), expected)
    assert mask.orientation == orientation


def test_sizes_that_differ_by_an_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(blocks(0, 1)).save(tmp_path / "a.png")
    data = SegmentationDataset(
        "a", ((tmp_path / "a.jpg", tmp_path / "a.png"),), CAMVID_CLASSES, BOTH
    )
    with pytest.raises(
        ValueError, match=r"a.png: the mask is 7x5.* 5x7 after EXIF orientation 1 of"
    ):
        data[0]
    Image.fromarray(blocks(0, 1)).save(tmp_path / "a.png", exif=exif)
    assert data[0][1].shape == data[0][0].shape[:2] == (7, 5)


# Damage


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_whatever_the_damage_the_mask_is_named(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("damaged") / "mask.png"
    content = bytearray(png(blocks(0, 1, 2), 2, PALETTE, VOC[:4], opacity=[1, 2, 3, 4, 5]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for encoding in (OF_VOC, ColorEncoding({(0, 0, 0): 0})):
        try:
            read_mask(file, encoding)
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017 - some damage does no harm
