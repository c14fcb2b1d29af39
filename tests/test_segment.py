"""Prediction on files as people have them: any size, mode and orientation, some of them broken."""

import sys

import numpy as np
import pytest
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.predictions import write_predictions
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.segment import image_files, segment_files
from keras_crosscbam.visualize import class_shares, colourise, overlay

TABLE = ClassTable(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))


class Brightness(Runtime):
    """Says "bright" where red is above one half."""

    def __init__(self):
        super().__init__("brightness", None, 2, TABLE)

    def run(self, prepared):
        red = prepared[..., :1] - 127.5
        return np.concatenate([-red, red], axis=-1)


def picture(height=30, width=50):
    """White on its left, black on its right; its top row is black too."""
    array = np.zeros((height, width, 3), np.uint8)
    array[1:, : width // 2] = 255
    return array


def expected(array):
    return (array[..., 0] > 0).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_mode_gives_the_same_labels(tmp_path, mode):
    image = Image.fromarray(picture())
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(file)
    for source in (file, str(file), image):
        np.testing.assert_array_equal(kc.segment(Brightness(), source), expected(picture()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    """Pillow's own transpositions, undone by hand, are the reference."""
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(picture())
    if stored is not None:
        image = image.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(
        kc.segment(Brightness(), tmp_path / "photo.png"), expected(picture())
    )


@pytest.mark.parametrize("shape", [(30, 50), (30, 50, 1), (30, 50, 3), (30, 50, 4)])
def test_arrays(shape):
    array = np.zeros(shape, np.uint8)
    array[:, 25:] = 255
    labels = kc.segment(Brightness(), array)
    assert labels.shape == (30, 50)
    np.testing.assert_array_equal(labels, array.reshape(30, 50, -1)[..., 0] > 0)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((2, 4, 4, 3), np.uint8), 3])
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(ValueError, match="Expected a path, a PIL image, or a uint8 array"):
        kc.segment(Brightness(), wrong)


def test_list_gives_a_list_each_at_its_own_size(network):
    labels = kc.segment(network, [picture(40, 70), STREET], size=64)
    assert [array.shape for array in labels] == [(40, 70), (563, 751)]


def test_folder(tmp_path):
    for name in ("a.png", "b.jpg", "b.bmp"):
        Image.fromarray(picture()).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    (tmp_path / "notes.txt").write_text("not an image")
    results = segment_files(Brightness(), tmp_path, tmp_path / "out")
    assert [result.path.name for result in results] == ["a.png", "b.bmp", "b.jpg", "broken.jpg"]
    assert [bool(result.error) for result in results] == [False, False, False, True]
    assert "broken.jpg: not a readable image" in results[-1].error
    # Two files share the stem "b" and keep their extensions apart.
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}_{kind}.png" for name in ("a", "b.bmp", "b.jpg") for kind in ("labels", "overlay")
    }
    labels = np.asarray(Image.open(tmp_path / "out" / "a_labels.png"))
    np.testing.assert_array_equal(labels, expected(picture()))
    assert results[0].shares == pytest.approx(class_shares(labels, TABLE))


class Failing(Brightness):
    """Breaks on images of some widths, as networks and machines do."""

    def run(self, prepared):
        if prepared.shape[2] == 51:
            raise MemoryError
        if prepared.shape[2] == 52:
            raise RuntimeError("the device\nis gone")
        return super().run(prepared)


def test_no_error_of_one_file_costs_the_others(tmp_path):
    for width, name in enumerate("abcd", start=50):
        Image.fromarray(picture(width=width)).save(tmp_path / f"{name}.png")
    (tmp_path / "out" / "d_labels.png").mkdir(parents=True)  # in the way of a result
    results = segment_files(Failing(), tmp_path, tmp_path / "out")
    assert [bool(result.error) for result in results] == [False, True, True, True]
    for result, said in zip(
        results[1:], ("MemoryError", "the device is gone", "d_labels"), strict=True
    ):
        assert result.path.name in result.error
        assert said in result.error
        assert "\n" not in result.error
    assert (tmp_path / "out" / "a_labels.png").is_file()


def test_a_wrong_size_is_an_error_of_no_file(tmp_path):
    run = Brightness()
    run.size = (30, 50)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    for command in (segment_files, lambda *a, **k: write_predictions(a[0], [a[1]], a[2], **k)):
        with pytest.raises(ValueError, match="brightness is fixed to 30x50"):
            command(run, tmp_path / "a.png", tmp_path / "out", size=60)
    assert not (tmp_path / "out").exists()


def test_no_memory_for_a_picture_is_said_as_such(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "a.png")

    def exhausted(path):
        raise MemoryError

    monkeypatch.setattr(sys.modules["keras_crosscbam.segment"], "read_image", exhausted)
    (result,) = segment_files(Brightness(), tmp_path, tmp_path / "out")
    assert result.error == f"{tmp_path / 'a.png'}: not enough memory (MemoryError)"


class Sized(Brightness):
    """Notes the sizes that it is run at."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def run(self, prepared):
        self.seen.append(prepared.shape[1:3])
        return super().run(prepared)


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [
        ((30, 50), 60, (60, 100)),
        ((30, 120), 60, (60, 240)),  # four to one, the last that is enlarged as asked for
        ((30, 150), 60, (48, 240)),
        ((1, 800), 600, (3, 2400)),
        ((800, 1), 600, (2400, 3)),
        ((1, 800), 10, (1, 800)),
        ((100, 1600), 60, (60, 960)),  # reducing is never limited
        ((1, 1), 600, (600, 600)),
        ((1, 800), (60, 90), (60, 90)),
        ((1, 800), None, (1, 800)),
    ],
)
def test_long_and_narrow_images_are_not_enlarged_without_end(image, size, expected):
    run = Sized()
    labels = run(np.zeros((*image, 3), np.uint8), size)
    assert labels.shape == image
    assert run.seen == [expected]


def test_a_strip_goes_through_the_network(network):
    assert kc.segment(network, np.zeros((1, 200, 3), np.uint8), size=64).shape == (1, 200)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(ValueError, match="the folder holds no images"):
        image_files(tmp_path)
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        image_files(tmp_path / "nowhere")


def test_shares_are_sorted_and_leave_absent_classes_out():
    labels = np.array([[1, 1, 1, 4]], np.uint8)
    assert list(class_shares(labels, CAMVID_CLASSES).items()) == [
        ("Building", 0.75),
        ("Pavement", 0.25),
    ]


def test_colours_of_labels_and_of_none():
    painted = colourise(np.array([[0, 1, 255]], np.uint8), TABLE)
    np.testing.assert_array_equal(painted, [[(0, 0, 200), (200, 0, 0), (0, 0, 0)]])


def test_overlay_mixes_image_and_colours():
    image, labels = np.full((20, 20, 3), 100, np.uint8), np.ones((20, 20), np.uint8)
    mixed = np.asarray(overlay(image, labels, TABLE, opacity=0.25, legend=False))
    np.testing.assert_array_equal(mixed, np.broadcast_to((125, 75, 75), (20, 20, 3)))


def test_legend_shows_the_colours_of_the_classes_present():
    image, labels = picture(120, 80), expected(picture(120, 80))
    labels[:] = 1
    canvas = np.asarray(overlay(image, labels, TABLE))
    column = canvas[:, 80:].reshape(-1, 3).tolist()
    assert [200, 0, 0] in column
    assert [0, 0, 200] not in column


def test_low_images_get_a_canvas_high_enough_for_the_legend():
    labels = np.arange(11, dtype=np.uint8).repeat(2)[None].repeat(8, axis=0)
    canvas = overlay(np.zeros((8, 22, 3), np.uint8), labels, CAMVID_CLASSES)
    assert canvas.height > 11 * 11


def test_the_photograph_is_there_and_upright():
    assert read_image(STREET).shape == (563, 751, 3)
