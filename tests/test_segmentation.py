"""Prediction on files as people have them: any size, mode and orientation, some of them broken."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from png_file import GRAY, GRAY_ALPHA, RGB, RGBA, png

import keras_crosscbam as kc
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.label_files import write_predictions
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.segmentation import image_files, segment_files
from keras_crosscbam.visualize import class_shares, colorize, overlay

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


def test_uncompressed_tiff_on_its_side(tmp_path):
    """Pillow maps such a file into memory, with rows as long as the turned image's."""
    stored = np.arange(24, dtype=np.uint8).reshape(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.tif", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 1], stored[::-1].T)


# More than 8 bits


def deep_image(kind, top, low=0):
    """16-bit samples from `low` to `top`, as a file stores them, and their gray or color."""
    values = np.linspace(low, top, 30 * 50).round().astype(np.uint16).reshape(30, 50)
    channels = {GRAY: [values], RGB: [values, values[::-1], values // 2 + low // 2]}
    channels[GRAY_ALPHA] = [values, values[:, ::-1]]
    channels[RGBA] = [*channels[RGB], values[:, ::-1]]
    seen = channels[GRAY if kind in (GRAY, GRAY_ALPHA) else RGB]
    return np.stack(channels[kind], axis=-1), np.stack(
        3 * seen if len(seen) == 1 else seen, axis=-1
    )


def in_8_bits(seen, low, high):
    return np.round(np.clip(255 * (seen - float(low)) / (high - low), 0, 255))


KINDS = pytest.mark.parametrize("kind", [GRAY, GRAY_ALPHA, RGB, RGBA])


@KINDS
def test_16_bits_of_full_range(tmp_path, kind):
    samples, seen = deep_image(kind, 65535)
    (tmp_path / "deep.png").write_bytes(png(samples, 16, kind))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), in_8_bits(seen, 0, 65535))


@KINDS
@pytest.mark.parametrize("top", [255, 1023, 4095, 16383])
def test_16_bits_of_a_smaller_range(tmp_path, kind, top):
    """They would turn black: refused, with the range that is likely, and read with it."""
    samples, seen = deep_image(kind, top)
    file = tmp_path / "deep.png"
    file.write_bytes(png(samples, 16, kind))
    message = (
        rf"deep.png: contains only values of 0..{top}, .*almost black.*for example 0 {top}, or 0"
    )
    with pytest.raises(ValueError, match=message):
        kc.segment(Brightness(), file)
    np.testing.assert_array_equal(read_image(file, (0, top)), in_8_bits(seen, 0, top))
    np.testing.assert_array_equal(read_image(file, (0, 65535)), in_8_bits(seen, 0, 65535))
    bright = in_8_bits(seen, 0, top)[..., 0] > 127
    with Image.open(file) as opened:
        for source in (file, opened):
            labels = kc.segment(Brightness(), [source], value_range=(0, top))[0]
            np.testing.assert_array_equal(labels, bright)


@KINDS
def test_16_bits_of_a_narrow_range(tmp_path, kind):
    """As of thermal cameras."""
    samples, seen = deep_image(kind, 24000, low=21000)
    file = tmp_path / "deep.png"
    file.write_bytes(png(samples, 16, kind))
    with pytest.raises(ValueError, match=r"deep.png: .*21000..24000, .*uniform.*21000 24000"):
        read_image(file)
    np.testing.assert_array_equal(read_image(file, [21e3, 24e3]), in_8_bits(seen, 21000, 24000))


@pytest.mark.parametrize("value", [0, 40000])
def test_16_bits_of_one_value(tmp_path, value):
    (tmp_path / "deep.png").write_bytes(png(np.full((4, 5), value), 16))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), round(value / 257))


def tiff(samples, order, deflate):
    """A TIFF file of 16-bit RGB, its bytes in the order "<" or ">"."""
    height, width, _ = samples.shape
    pixels = samples.astype(f"{order}u2").tobytes()
    pixels = zlib.compress(pixels) if deflate else pixels
    short, long_ = (3, "H"), (4, "I")
    entries = [
        (256, short, 1, width),
        (257, short, 1, height),
        (258, (3, "I"), 3, 8),  # bits of a sample: three numbers, at byte 8
        (259, short, 1, 8 if deflate else 1),
        (262, short, 1, 2),  # RGB
        (273, long_, 1, 14),  # where the pixels are
        (277, short, 1, 3),
        (278, short, 1, height),
        (279, long_, 1, len(pixels)),
    ]
    pixels += bytes(len(pixels) % 2)
    content = {"<": b"II", ">": b"MM"}[order]
    content += struct.pack(f"{order}HI3H", 42, 14 + len(pixels), 16, 16, 16) + pixels
    content += struct.pack(f"{order}H", len(entries))
    for tag, (number, code), count, value in entries:
        content += struct.pack(f"{order}HHI", tag, number, count)
        content += struct.pack(f"{order}{code}", value).ljust(4, b"\0")
    return content + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_tiff_of_16_bits_in_color(tmp_path, order, deflate):
    samples, seen = deep_image(RGB, 4095)
    file = tmp_path / "deep.tif"
    file.write_bytes(tiff(samples, order, deflate))
    np.testing.assert_array_equal(read_image(file, (0, 4095)), in_8_bits(seen, 0, 4095))
    with pytest.raises(ValueError, match=r"deep.tif: .*0..4095, .*black"):
        read_image(file)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
            "floating-point numbers of unknown",
        ),
        (np.linspace(-5, 60000, 12).astype(np.int32).reshape(3, 4), r"-5..60000, outside 0..65535"),
        (np.linspace(0, 1e6, 12).astype(np.int32).reshape(3, 4), r"0..1000000, outside 0..65535"),
    ],
)
def test_more_than_16_bits(tmp_path, array, message):
    Image.fromarray(array).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=f"deep.tif: contains .*{message}.*range: .LOW, HIGH."):
        read_image(tmp_path / "deep.tif")
    low, high = float(array.min()), float(array.max())
    expected = in_8_bits(array[..., None].astype(np.float64), low, high).repeat(3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif", (low, high)), expected)


def test_values_that_are_not_finite(tmp_path):
    array = np.array([[0, np.nan], [1, 0]], np.float32)
    Image.fromarray(array).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=r"deep.tif: contains values that are not finite"):
        read_image(tmp_path / "deep.tif", (0, 1))


def test_8_bits_have_their_range(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (0, 9)), picture())


@pytest.mark.parametrize("wrong", [(1,), (5, 5), (5, 1), (0, float("inf")), "ab", 7, (0, None)])
def test_wrong_range(tmp_path, wrong):
    for call in (
        lambda: kc.segment(Brightness(), STREET, value_range=wrong),
        lambda: kc.segment(Brightness(), Image.fromarray(picture()), value_range=wrong),
        lambda: segment_files(Brightness(), STREET, tmp_path, value_range=wrong),
    ):
        with pytest.raises(ValueError, match=r"^`value_range` must be .*Received: "):
            call()


def test_folder_with_an_image_of_a_smaller_range(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    (tmp_path / "deep.png").write_bytes(png(deep_image(GRAY, 4095)[0], 16))
    plain, deep = segment_files(Brightness(), tmp_path, tmp_path / "out")
    assert plain.error is None
    assert "deep.png: contains only values of 0..4095" in deep.error
    results = segment_files(Brightness(), tmp_path, tmp_path / "out", value_range=(0, 4095))
    assert [result.error for result in results] == [None, None]
    assert results[1].shares["bright"] == pytest.approx(0.5, abs=0.01)


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


def test_list_gives_a_list_each_at_its_own_size(small_network):
    labels = kc.segment(small_network, [picture(40, 70), STREET], size=64)
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


def test_every_file_of_a_folder_has_results_of_its_own(tmp_path):
    """`a.jpg.png` has the stem `a.jpg`, which is another file's whole name."""
    names = ["a.jpg", "a.png", "a.jpg.png", "b.png"]
    for name in names:
        Image.fromarray(picture()).save(tmp_path / name)
    results = segment_files(Brightness(), tmp_path, tmp_path / "out")
    assert len({result.overlay for result in results}) == len(names)
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(names)
    assert results[-1].overlay.name == "b_overlay.png"


def test_a_few_bright_pixels_do_not_hide_a_smaller_range(tmp_path):
    samples = np.full((100, 100), 3000, np.uint16)
    samples[::2] = 200
    samples[7, 7] = 65535
    Image.fromarray(samples).save(tmp_path / "hot.png")
    with pytest.raises(ValueError, match=r"almost only values of 200..3000.*for example 0 4095"):
        read_image(tmp_path / "hot.png")


def test_no_memory_for_a_picture_is_said_as_such(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "a.png")

    def exhausted(path, channels, value_range):
        raise MemoryError

    monkeypatch.setattr("keras_crosscbam.segmentation.read_channels", exhausted)
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


def test_a_strip_goes_through_the_network(small_network):
    assert kc.segment(small_network, np.zeros((1, 200, 3), np.uint8), size=64).shape == (1, 200)


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(ValueError, match="the folder contains no images"):
        image_files(tmp_path)
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        image_files(tmp_path / "nowhere")


def test_shares_are_sorted_and_leave_absent_classes_out():
    labels = np.array([[1, 1, 1, 4]], np.uint8)
    assert list(class_shares(labels, CAMVID_CLASSES).items()) == [
        ("Building", 0.75),
        ("Pavement", 0.25),
    ]


def test_colors_of_labels_and_of_none():
    painted = colorize(np.array([[0, 1, 255]], np.uint8), TABLE)
    np.testing.assert_array_equal(painted, [[(0, 0, 200), (200, 0, 0), (0, 0, 0)]])


def test_overlay_mixes_image_and_colors():
    image, labels = np.full((20, 20, 3), 100, np.uint8), np.ones((20, 20), np.uint8)
    mixed = np.asarray(overlay(image, labels, TABLE, opacity=0.25, legend=False))
    np.testing.assert_array_equal(mixed, np.broadcast_to((125, 75, 75), (20, 20, 3)))


def test_legend_shows_the_colors_of_the_classes_present():
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
