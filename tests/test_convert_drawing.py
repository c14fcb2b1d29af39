"""Which pixels shapes cover, against references written apart, and the codes of masks."""

import json
import subprocess
import sys

import numpy as np
import pytest
from annotated_folders import brush_code, counts_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from keras_crosscbam.datasets.conversion import brush, coco, cvat
from keras_crosscbam.datasets.conversion.drawing import (
    Ellipse,
    Filled,
    Outlined,
    Pasted,
    box,
    fill,
    fill_outlined,
)

HEIGHT, WIDTH = 9, 11
MASKS = arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 9)))
CORNERS = st.tuples(st.floats(-4, 15), st.floats(-4, 13))
RINGS = st.lists(CORNERS, min_size=3, max_size=7)
WHOLE_RINGS = st.lists(st.tuples(st.integers(-2, 13), st.integers(-2, 11)), min_size=3, max_size=7)


def inside(rings, x, y):
    """Whether a ray to the left of a point crosses the rings an odd number of times."""
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y0 <= y) != (y1 <= y):
                (xa, ya), (xb, yb) = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
                crossings += xa + (y - ya) * ((xb - xa) / (yb - ya)) <= x
    return crossings % 2 == 1


def reference(rings, height=HEIGHT, width=WIDTH):
    return np.array(
        [[inside(rings, x + 0.5, y + 0.5) for x in range(width)] for y in range(height)]
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(RINGS, WHOLE_RINGS), min_size=1, max_size=3))
@example([[(0.5, 0.5), (4.5, 0.5), (4.5, 4.5)]])
def test_fill_takes_the_pixels_whose_centers_are_inside(rings):
    np.testing.assert_array_equal(fill(rings, HEIGHT, WIDTH), reference(rings))


@settings(max_examples=100, deadline=None)
@given(st.one_of(RINGS, WHOLE_RINGS))
def test_outlined_is_what_pillow_draws(ring):
    """On the whole image at once, where the package draws the part that the polygon is in."""
    whole = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(whole).polygon(ring, fill=1, outline=1)
    np.testing.assert_array_equal(fill_outlined(ring, HEIGHT, WIDTH), np.asarray(whole))


@settings(max_examples=100, deadline=None)
@given(CORNERS, CORNERS)
def test_polygons_that_share_an_edge_share_no_pixel(one, other):
    """Two halves of the image along any line: each pixel belongs to one of them."""
    frame = [(-20.0, -20.0), (40.0, -20.0), (40.0, 40.0), (-20.0, 40.0)]
    upper = fill([[frame[0], frame[1], one, other]], HEIGHT, WIDTH).astype(int)
    lower = fill([[other, one, frame[1], frame[2], frame[3], frame[0]]], HEIGHT, WIDTH).astype(int)
    np.testing.assert_array_equal((upper + lower) % 2, np.ones((HEIGHT, WIDTH)))


@settings(max_examples=100, deadline=None)
@given(WHOLE_RINGS)
def test_outlined_is_inside_and_outline(ring):
    """All pixels that the closed polygon holds, and none that is a pixel or more away from it."""
    drawn = fill_outlined(ring, HEIGHT, WIDTH)
    edges = list(zip(ring, [*ring[1:], ring[0]], strict=True))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            away = min(_distance(x, y, *edge) for edge in edges)
            if away >= 1:
                assert drawn[y, x] == inside([ring], x, y)
            if away == 0 and any(corner == (x, y) for corner in ring):
                assert drawn[y, x]


def _distance(x, y, one, other):
    (x0, y0), (x1, y1) = one, other
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    along = 0 if length == 0 else ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
    along = min(max(along, 0), 1)
    return np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


def test_polygons_of_cityscapes_are_those_of_its_own_scripts(tmp_path, rng):
    """cityscapesScripts draws the same file, in a process of its own."""
    objects = [
        {"label": label, "polygon": rng.integers(-3, 40, (corners, 2)).tolist()}
        for label, corners in (("road", 4), ("car", 7), ("sky", 3), ("person", 9), ("rider", 5))
    ]
    content = {"imgHeight": 30, "imgWidth": 40, "objects": objects}
    (tmp_path / "a_polygons.json").write_text(json.dumps(content))
    code = (
        "from cityscapesscripts.preparation.json2labelImg import json2labelImg; import sys;"
        "json2labelImg(sys.argv[1], sys.argv[2], 'ids')"
    )
    files = [str(tmp_path / "a_polygons.json"), str(tmp_path / "ids.png")]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    canvas = np.zeros((30, 40), np.uint8)
    for item, number in zip(objects, (7, 26, 23, 24, 25), strict=True):
        Outlined(number, np.array(item["polygon"], float)).paint(canvas)
    np.testing.assert_array_equal(canvas, np.asarray(Image.open(tmp_path / "ids.png")))


@settings(max_examples=100, deadline=None)
@given(WHOLE_RINGS)
def test_polygons_of_coco_differ_from_centers_at_the_outline_alone(ring):
    """pycocotools has a rule of its own, so that only pixels beside an edge may differ."""
    code = coco._run_lengths([[float(n) for corner in ring for n in corner]], (HEIGHT, WIDTH), "")
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    coco.Region(1, code).paint(canvas)
    edges = list(zip(ring, [*ring[1:], ring[0]], strict=True))
    for y, x in np.argwhere(canvas.astype(bool) != reference([ring])):
        assert min(_distance(x + 0.5, y + 0.5, *edge) for edge in edges) < 1


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_codes_of_coco(mask):
    from pycocotools import mask as reference_code

    size = mask.shape
    compressed = reference_code.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    for counts in (counts_of(mask), compressed):
        code = coco._run_lengths({"size": list(size), "counts": counts}, size, "")
        canvas = np.zeros(size, np.uint8)
        coco.Region(1, code).paint(canvas)
        np.testing.assert_array_equal(canvas, mask)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12))
def test_any_code_of_coco_is_read_or_refused(text):
    """pycocotools writes beyond its memory for codes of more pixels than the image has."""
    try:
        code = coco._run_lengths({"size": [4, 5], "counts": text}, (4, 5), "a")
    except ValueError:
        return
    coco.Region(1, code).paint(np.zeros((4, 5), np.uint8))


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_codes_of_the_brush(mask):
    np.testing.assert_array_equal(brush.decode(brush_code(mask), *mask.shape, ""), mask)
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), *mask.shape, ""), mask)


def test_codes_of_the_brush_of_literal_values():
    """A block of values as they are, with widths of lengths that Label Studio does not write."""
    bits = f"{8:032b}" + f"{7:05b}" + "".join(f"{w - 1:04b}" for w in (2, 3, 5, 9))
    bits += f"0{1:02b}{7:03b}" + "".join(f"{v:08b}" for v in (9, 9, 9, 0, 9, 9, 9, 1))
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert brush.decode(code, 1, 2, "").tolist() == [[False, True]]


def test_long_runs_of_the_brush():
    mask = np.zeros((300, 301), bool)
    mask[200:, 1:] = True
    np.testing.assert_array_equal(brush.decode(brush.encode(mask), 300, 301, ""), mask)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_codes_of_cvat(mask):
    text = ", ".join(map(str, counts_of(mask.T)))
    np.testing.assert_array_equal(cvat._bitmap(text, *mask.shape, ""), mask)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (3, 2), (-2, -1), (9, 7), (-9, -9), (30, 30)])
def test_bitmaps_are_cut_off_at_the_border(left, top):
    bitmap = np.array([[True, False, True], [True, True, False]])
    canvas, expected = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
    Pasted(5, bitmap, left, top).paint(canvas)
    for y, x in np.argwhere(bitmap):
        if 0 <= y + top < HEIGHT and 0 <= x + left < WIDTH:
            expected[y + top, x + left] = 5
    np.testing.assert_array_equal(canvas, expected)


def test_turned_boxes_and_ellipses():
    """A quarter turn swaps width and height; positive angles turn x to y."""
    wide, high = (np.zeros((20, 20), np.uint8) for _ in range(2))
    Filled(1, (box(4, 8, 16, 12, angle=90),)).paint(wide)
    Filled(1, (box(8, 4, 12, 16),)).paint(high)
    np.testing.assert_array_equal(wide, high)
    for angle, corner in ((30, (1, 0)), (-30, (0, 1))):
        canvas = np.zeros((40, 40), np.uint8)
        Ellipse(1, (20, 20), (18, 4), angle).paint(canvas)
        ys, xs = np.nonzero(canvas)
        # Turned clockwise on the screen, the right end is lower.
        assert (np.corrcoef(xs, ys)[0, 1] > 0.5) == (corner == (1, 0))
    whole = np.zeros((20, 20), np.uint8)
    Ellipse(1, (10, 10), (7.5, 7.5)).paint(whole)
    y, x = np.mgrid[:20, :20] + 0.5
    np.testing.assert_array_equal(whole, (x - 10) ** 2 + (y - 10) ** 2 <= 7.5**2)
