"""Videos, cameras and streams: real files and sockets, decoded and encoded by FFmpeg."""

import csv
import http.server
import io
import logging
import os
import shutil
import threading
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.batching import outputs
from keras_crosscbam.cli import main
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.video import SourceLostError, VideoWriter, is_video, sources
from keras_crosscbam.video.live import newest
from keras_crosscbam.video.shares import share_plot
from keras_crosscbam.video.sources import open_source

av = pytest.importorskip("av", reason="PyAV is not installed: tests on videos are left out")

TABLE = ClassTable(("Dark", "Bright"), ((0, 0, 200), (200, 0, 0)))


class Brightness(Runtime):
    """Says "Bright" where red is above one half; may fail at a run, and counts them."""

    def __init__(self, fails_at=None):
        super().__init__("brightness", None, 2, TABLE)
        self.runs, self.fails_at, self.ran = 0, fails_at, threading.Condition()

    def run(self, prepared):
        with self.ran:
            self.runs += 1
            self.ran.notify_all()
        if self.runs == self.fails_at:
            raise MemoryError
        red = prepared[..., :1] / 127.5 - 1
        return np.concatenate([-red, red], axis=-1)


def pattern(index, size=(48, 64)):
    """A frame: bright in as many of its columns as its index says, by fours."""
    image = np.full((*size, 3), 20, np.uint8)
    image[:, : 4 * index] = 230
    return image


@pytest.fixture
def clip(tmp_path):
    """A video of ten frames at 5 frames/s."""
    return write_clip(tmp_path / "clip.mp4")


def write_clip(path, count=10, size=(48, 64), rotation=0, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"g": "5", "crf": "5", **options})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(pattern(index, size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path):
    """Times and RGB arrays of all frames of a file."""
    with av.open(str(path)) as container:
        frames = [*container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
        return [f.time for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


def table(path):
    with open(path, newline="") as file:
        return [*csv.DictReader(file)]


def test_frames_and_their_labels(clip):
    pairs = [*kc.segment_video(Brightness(), clip)]
    assert len(pairs) == 10
    for index, (frame, labels) in enumerate(pairs):
        np.testing.assert_allclose(frame, pattern(index), atol=30)
        np.testing.assert_array_equal(labels, frame[..., 0] > 127)
        np.testing.assert_array_equal(labels, kc.segment(Brightness(), frame))


def test_overlay(clip, tmp_path):
    """It has the times and colors of its frames, and a legend beside them."""
    out = tmp_path / "made" / "overlay.mp4"
    pairs = [*kc.segment_video(Brightness(), clip, out)]
    times, pictures = decoded(out)
    assert times == pytest.approx([index / 5 for index in range(10)], abs=1e-3)
    for (frame, labels), picture in zip(pairs, pictures, strict=True):
        mixed = 0.5 * frame + 0.5 * np.array(TABLE.colors)[labels]
        seen = picture[:48, :64]
        # Colors are stored for 2x2 pixels, so that edges blur.
        assert np.abs(seen - mixed).mean() < 6
    assert pictures[0].shape[1] > 64
    legend = pictures[0][:, 64:].reshape(-1, 3).astype(int)
    for color in TABLE.colors:
        assert np.abs(legend - color).max(axis=1).min() < 40


def test_the_command_writes_overlay_shares_and_labels(clip, tmp_path, capsys):
    model, out = tmp_path / "m.onnx", tmp_path / "out"
    tiny_network.onnx_file(model, size=(None, None))
    assert main(["segment", str(clip), "--model", str(model), "--out", str(out), "--labels"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "clip_overlay.mp4", "clip_shares.csv", "clip_shares.png", "clip_labels"
    }  # fmt: skip
    assert (
        len(decoded(out / "clip_overlay.mp4")[0]) == len([*(out / "clip_labels").iterdir()]) == 10
    )
    assert "10 frames" in capsys.readouterr().out


def test_finished_overlay_is_an_ordinary_file(clip, tmp_path):
    [*kc.segment_video(Brightness(), clip, tmp_path / "out.mp4")]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].frames == 10  # what files of fragments do not say
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("size", [(47, 63), (1, 5), (50, 64)])
def test_sides_may_be_odd(tmp_path, size):
    writer = VideoWriter(str(tmp_path / "odd.mp4"), rate=5)
    for index in range(3):
        writer.write(pattern(index, size), index / 5)
    writer.close()
    _, pictures = decoded(tmp_path / "odd.mp4")
    np.testing.assert_allclose(pictures[0][: size[0], : size[1]], pattern(0, size), atol=6)


def test_writer_takes_frames_of_another_size_and_keeps_the_shape_of_pixels(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", rate=5, aspect=4 / 3)
    for index, size in enumerate([(48, 64), (24, 32), (96, 128)]):
        writer.write(pattern(0, size), index / 5)
    writer.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert {(f.height, f.width) for f in container.decode(video=0)} == {(48, 64)}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"every": 3}, [0, 3, 6, 9]),
        ({"start": 1.2}, [6, 7, 8, 9]),
        ({"duration": 0.6}, [0, 1, 2]),
        ({"start": 0.3, "duration": 1.0, "every": 2}, [2, 4, 6]),
        ({"start": 60.0}, []),
    ],
)
def test_part_of_a_video(clip, tmp_path, part, expected):
    options = {"labels": tmp_path / "labels", "shares": tmp_path / "shares.csv", **part}
    pairs = [*kc.segment_video(Brightness(), clip, tmp_path / "out.mp4", **options)]
    bright = [round(float((frame[..., 0] > 127).mean() * 16)) for frame, _ in pairs]
    assert bright == expected
    rows = table(tmp_path / "shares.csv")
    assert [float(row["seconds"]) for row in rows] == pytest.approx([i / 5 for i in expected])
    # Numbers count the frames of the part.
    numbers = [(index - expected[0]) if expected else 0 for index in expected]
    assert [int(row["frame"]) for row in rows] == numbers
    names = [f"{number:06}.png" for number in numbers]
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == names
    for name, (_, labels) in zip(names, pairs, strict=True):
        np.testing.assert_array_equal(Image.open(tmp_path / "labels" / name), labels)
    assert (tmp_path / "out.mp4").exists() == bool(expected)
    assert (tmp_path / "shares.png").exists() == bool(expected)


def test_shares_over_time(clip, tmp_path):
    options = {"shares": tmp_path / "shares.csv", "threshold": 0.8}
    pairs = [*kc.segment_video(Brightness(), clip, **options)]
    rows = table(tmp_path / "shares.csv")
    assert list(rows[0]) == ["frame", "seconds", "Dark", "Bright", "unlabeled"]
    for row, (_, labels) in zip(rows, pairs, strict=True):
        for name, label in (("Dark", 0), ("Bright", 1), ("unlabeled", 255)):
            assert float(row[name]) == pytest.approx((labels == label).mean(), abs=1e-5)


def test_plot_of_shares():
    """The areas' heights are the shares, read off the pixels."""
    seconds, shares = np.array([0.0, 5.0, 10.0]), np.array([[0.25, 0.75], [0.5, 0.5], [0.5, 0.25]])
    picture = np.asarray(share_plot(seconds, shares, TABLE, size=(400, 800)))
    area = picture[16:416, 64:864]
    for column, expected in ((0, (0.25, 0.75)), (400, (0.5, 0.5)), (799, (0.5, 0.25))):
        for color, share in zip(TABLE.colors, expected, strict=True):
            assert (area[:, column] == color).all(-1).mean() == pytest.approx(share, abs=0.004)
    assert (area[-1, 0] == TABLE.colors[0]).all()  # the first class lies at the bottom
    assert share_plot(seconds[:1], shares[:1], TABLE).width  # one frame is a plot too


def test_smoothing(clip):
    weight = 0.75
    frames = [frame for frame, _ in kc.segment_video(Brightness(), clip)]
    calm = [labels for _, labels in kc.segment_video(Brightness(), clip, smoothing=weight)]
    earlier = None
    for frame, labels in zip(frames, calm, strict=True):
        red = frame[..., 0] / 127.5 - 1
        earlier = red if earlier is None else weight * earlier + (1 - weight) * red
        sure = np.abs(earlier) > 1e-3
        np.testing.assert_array_equal(labels[sure], (earlier > 0)[sure])
    assert any((a != (f[..., 0] > 127)).any() for a, f in zip(calm, frames, strict=True))


def test_only_some_classes_are_drawn(clip, tmp_path):
    pairs = [*kc.segment_video(Brightness(), clip, tmp_path / "out.mp4", shown=["bright"])]
    _, pictures = decoded(tmp_path / "out.mp4")
    frame, _ = pairs[5]
    np.testing.assert_allclose(pictures[5][:48, 24:64], frame[:, 24:], atol=12)
    assert pictures[5][24, 5, 0] > pictures[5][24, 5, 2] + 60
    with pytest.raises(ValueError, match=r"No class is named 'road'. The classes are Dark"):
        kc.segment_video(Brightness(), clip, shown=["road"])


def test_closing_early_leaves_what_was_done(clip, tmp_path):
    out, shares = tmp_path / "out.mp4", tmp_path / "shares.csv"
    with closing(kc.segment_video(Brightness(), clip, out, shares=shares)) as frames:
        for _ in range(4):
            next(frames)
    assert 4 <= len(decoded(out)[1]) < 10
    assert len(table(shares)) == len(decoded(out)[1])
    assert (tmp_path / "shares.png").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_of_the_user_leaves_what_was_done(clip, tmp_path, error):
    def use():
        with closing(kc.segment_video(Brightness(), clip, tmp_path / "out.mp4")) as frames:
            for index, _ in enumerate(frames):
                if index == 5:
                    raise error

    with pytest.raises(error):
        use()
    assert len(decoded(tmp_path / "out.mp4")[1]) >= 6


def test_an_error_of_the_network_leaves_what_was_done(clip, tmp_path):
    with pytest.raises(RuntimeError, match="brightness could not run"):
        [*kc.segment_video(Brightness(fails_at=6), clip, tmp_path / "out.mp4")]
    assert len(decoded(tmp_path / "out.mp4")[1]) == 5
    assert threading.active_count() < 20  # the threads have ended


def test_the_growing_file_can_be_played(tmp_path):
    """What lies on the disk before closing is what a killed process leaves."""
    writer = VideoWriter(tmp_path / "out.mp4", rate=5)
    for index in range(100):
        writer.write(pattern(index % 10), index / 5)
    shutil.copy(tmp_path / "out.mp4", tmp_path / "killed.mp4")
    writer.close()
    assert 30 < len(decoded(tmp_path / "killed.mp4")[1]) <= 100
    assert len(decoded(tmp_path / "out.mp4")[1]) == 100


def middle_of_frames(content):
    """Where half of the frames of an AVI file lie before."""
    return (content.index(b"movi") + content.index(b"idx1")) // 2


def test_broken_frames_are_left_out_and_counted(tmp_path, caplog):
    path = write_clip(tmp_path / "clip.avi", count=40)
    content = bytearray(path.read_bytes())
    middle = middle_of_frames(content)
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        pairs = [*kc.segment_video(Brightness(), path, tmp_path / "out.mp4")]
    assert 20 < len(pairs) < 40
    assert "frames could not be decoded and were skipped" in caplog.text
    assert len(decoded(tmp_path / "out.mp4")[1]) == len(pairs)


def test_a_file_that_ends_early(tmp_path):
    path = write_clip(tmp_path / "clip.avi", count=40)
    content = path.read_bytes()
    path.write_bytes(content[: middle_of_frames(content)])
    assert 5 < len([*kc.segment_video(Brightness(), path, tmp_path / "out.mp4")]) < 40
    assert decoded(tmp_path / "out.mp4")


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_upright(tmp_path, rotation):
    """As telephones write them: the pixels lie on their side, and the file says so."""
    path = write_clip(tmp_path / "clip.mp4", rotation=rotation)
    frames = [frame for frame, _ in kc.segment_video(Brightness(), path)]
    with av.open(str(path)) as container:
        assert {frame.rotation for frame in container.decode(video=0)} <= {rotation, 180, -180}
    turned = np.rot90(pattern(5), rotation // 90)
    np.testing.assert_allclose(frames[5], turned, atol=30)


def test_network_goes_on_while_a_result_is_used(clip):
    run = Brightness()
    with closing(kc.segment_video(run, clip)) as frames:
        next(frames)
        with run.ran:
            assert run.ran.wait_for(lambda: run.runs >= 3, timeout=30)


def test_batches_of_frames(clip):
    run = Brightness()
    one, three = ([*kc.segment_video(Brightness(), clip)], [*kc.segment_video(run, clip, batch=3)])
    assert run.runs == 4
    for (_, first), (_, second) in zip(one, three, strict=True):
        np.testing.assert_array_equal(first, second)


def test_folder_of_images(tmp_path, caplog):
    (tmp_path / "frames").mkdir()
    for index in range(4):
        Image.fromarray(pattern(index)).save(tmp_path / f"frames/{index}.png")
    (tmp_path / "frames/2.png").write_bytes(b"nothing")
    out = tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING):
        pairs = [*kc.segment_video(Brightness(), tmp_path / "frames", out, rate=2)]
    np.testing.assert_array_equal([frame for frame, _ in pairs], [pattern(i) for i in (0, 1, 3)])
    assert decoded(out)[0] == pytest.approx([0, 0.5, 1.5])
    assert "2.png: not a readable image" in caplog.text
    with pytest.raises(ValueError, match="`rate` must be a positive number"):
        kc.segment_video(Brightness(), tmp_path / "frames", rate=0)


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends JPEGs one after the other, as network cameras do, and then goes away."""

    frames = 12
    size = (48, 64)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for index in range(self.frames):
            file = io.BytesIO()
            Image.fromarray(pattern(index, self.size)).save(file, "JPEG", quality=95)
            jpeg = file.getvalue()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            self.server.sent.set()
            self.server.go_on.wait(0.02)

    def log_message(self, *_):
        pass


@pytest.fixture
def camera():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.sent, server.go_on = threading.Event(), threading.Event()
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/video.mjpg"
    server.shutdown()
    server.server_close()


def test_camera_that_goes_away(camera, tmp_path):
    """Its frames are done, in their order, the file can be played, and it is said."""
    out, pairs = tmp_path / "out.mp4", []

    def use():
        for pair in kc.segment_video(Brightness(), camera, out):
            pairs.append(pair)

    with pytest.raises(SourceLostError, match=r"http://127.0.0.1:\d+/video.mjpg is lost"):
        use()
    assert 1 <= len(pairs) <= 12
    bright = [(frame[..., 0] > 127).mean() for frame, _ in pairs]
    assert bright == sorted(bright)
    assert bright[-1] == pytest.approx(11 / 16, abs=0.02)  # the last one is never left out
    assert len(decoded(out)[1]) == len(pairs)


def test_camera_is_live_and_its_password_stays_secret(camera):
    source = open_source(camera)
    assert source.is_live
    assert source.seconds is None
    assert "secret" not in source.name
    source.close()
    with pytest.raises(ValueError, match="not a readable video or stream") as error:
        open_source("http://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value)


def test_an_error_of_a_stream_comes_after_its_frames(tmp_path):
    """As of a camera whose network breaks down."""

    def breaking():
        yield from (sources.Frame(i, i / 5, pattern(i)) for i in range(3))
        raise SourceLostError("the camera is lost")

    seen = []

    def use():
        for frame in newest(breaking()):
            seen.append(frame.index)

    with pytest.raises(SourceLostError, match="is lost"):
        use()
    assert seen[-1] == 2


def test_frames_that_go_by_are_left_out():
    go_on, given = threading.Event(), []

    def frames():
        for index in range(5):
            given.append(index)
            yield index
            if index == 0:
                go_on.wait(30)

    live = newest(frames())
    assert next(live) == 0
    go_on.set()
    while len(given) < 5:
        pass
    assert [*live][-1] == 4
    with closing(newest(iter(range(10**9)))) as endless:
        next(endless)


def test_webcam(clip, monkeypatch):
    """OpenCV reads a file in the camera's place; when it ends, the camera has gone away."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    original = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: original(str(clip)))
    seen = []

    def use():
        for frame, _ in kc.segment_video(Brightness(), 0):
            seen.append(frame)

    with pytest.raises(SourceLostError, match="camera 0 is lost"):
        use()
    np.testing.assert_allclose(seen[-1], pattern(9), atol=30)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="There is no camera number 97"):
        open_source("97")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *[(name, True) for name in ("a.MP4", Path("a.mkv"), "rtsp://c", "0", 0)],
        *[(name, False) for name in ("a.png", Path("folder"), "12a")],
    ],
)
def test_what_is_a_video(source, expected):
    assert is_video(source) == expected


@pytest.mark.parametrize("missing", ["av", "cv2"])
def test_missing_libraries_are_named(clip, monkeypatch, missing):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ImportError, match=r"which is not installed. Run `pip install .*\[video\]`"):
        kc.segment_video(Brightness(), clip if missing == "av" else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "`every` must be .* Received: 0"),
        ({"start": -1}, "`start` must be"),
        ({"duration": 0}, "`duration` must be"),
        ({"smoothing": 1}, "`smoothing` must be"),
        ({"threshold": 2}, "`threshold` must be"),
        ({"batch": 0}, "`batch` must be"),
        ({"out": "a.avi"}, r"written as .mp4. Received: a.avi"),
        ({"shares": "a.txt"}, r"written as .csv. Received: a.txt"),
    ],
)
def test_arguments_are_checked_at_once(clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.segment_video(Brightness(), clip, **arguments)


def test_unreadable_sources(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    for name, message in (("a.mp4", "a.mp4: not a readable video"), ("b.mp4", "no such file")):
        with pytest.raises(ValueError, match=message):
            kc.segment_video(Brightness(), tmp_path / name)


def test_results_do_not_depend_on_threads(clip):
    """The stream's labels are those of the plain call, bit for bit."""
    frames = [frame.image for frame in open_source(clip).frames()]
    run = Brightness()
    for item, frame in zip(outputs(run, frames, lambda f: f, size=30), frames, strict=True):
        np.testing.assert_array_equal(item.labels(run), run(frame, 30))


def test_street_clip(network, tmp_path):
    """A real clip of pedestrians, OpenCV's vtest.avi, through a real network."""
    name = "/usr/share/doc/opencv-doc/examples/data/vtest.avi"
    clip = Path(os.environ.get("CROSSCBAM_CLIP", name))
    if not clip.is_file():
        pytest.skip("CROSSCBAM_CLIP names no file: the test on a real clip is left out")
    options = {"size": 64, "start": 2, "duration": 1, "shares": tmp_path / "shares.csv"}
    pairs = [*kc.segment_video(network, clip, tmp_path / "out.mp4", **options)]
    assert len(pairs) == 10
    for frame, labels in pairs[::5]:
        np.testing.assert_array_equal(labels, kc.segment(network, frame, size=64))
    assert len(decoded(tmp_path / "out.mp4")[1]) == 10
    assert list(table(tmp_path / "shares.csv")[0])[2:-1] == list(CAMVID_CLASSES.names)
