"""The demo page: its functions, the page in Gradio, and, marked slow, the page in Chromium."""

import io
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.classes import ClassTable
from keras_crosscbam.demo import DemoNetwork, markup, networks, results, start
from keras_crosscbam.demo.page import segment_view
from keras_crosscbam.demo.results import segment_upload
from keras_crosscbam.images import STREET

# The command, which reports on standard error each host that it connects to or looks up.
COMMAND = """
import sys

def report(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = arguments[1] if event == "socket.connect" else arguments[0]
        print("asked", host[0] if isinstance(host, tuple) else host, file=sys.stderr, flush=True)

sys.addaudithook(report)
from keras_crosscbam.cli import main
sys.exit(main(["demo", *sys.argv[1:]]))
"""
NEEDS_GRADIO = "Gradio is not installed (extra `demo`): tests of the page are left out"


@pytest.fixture
def model(tmp_path):
    """A network in ONNX that takes images of any size."""
    return tiny_network.onnx_file(tmp_path / "tiny.onnx", size=(None, None))


@pytest.fixture
def network(model):
    return DemoNetwork("tiny", lambda: model, size=32)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(tiny_network.images(size=(48, 64))[0]).save(path)
    return path


@pytest.fixture
def clip(tmp_path):
    """Five frames at 10 frames/s."""
    pytest.importorskip("av", reason="PyAV is not installed")
    from keras_crosscbam.video.writer import VideoWriter

    path = tmp_path / "clip.mp4"
    writer = VideoWriter(path, rate=10)
    image = tiny_network.images(size=(48, 64))[0]
    for index in range(5):
        writer.write(np.roll(image, 8 * index, axis=1), index / 10)
    writer.close()
    return path


def test_a_photo_has_the_labels_of_segment(network, model, photo, tmp_path):
    result, shown = segment_view(network, photo, tmp_path, opacity=1)
    expected = kc.segment(model, photo, size=32)
    np.testing.assert_array_equal(result.labels, expected)
    np.testing.assert_array_equal(Image.open(shown.labels_file), expected)
    np.testing.assert_array_equal(
        shown.picture, kc.visualize.colorize(expected, tiny_network.TABLE)
    )
    assert np.asarray(Image.open(shown.overlay_file)).shape[0] >= 48
    assert shown.overlay_file.name == "photo_overlay.png"
    assert list(result.milliseconds) == ["decode", "resize", "network", "labels"]
    assert min(result.milliseconds.values()) > 0
    share = max(kc.visualize.class_shares(expected, tiny_network.TABLE).values())
    assert f">{100 * share:.1f} %<" in shown.shares
    _, probabilities = kc.segment(model, photo, size=32, return_probabilities=True)
    assert result.confidence == pytest.approx(probabilities.max(axis=-1).mean(), abs=1e-5)
    assert "photo.png, 64x48 pixels" in shown.message


def test_the_opacity_is_that_of_the_overlay(network, photo):
    result = segment_upload(network, photo, photo.parent)
    np.testing.assert_array_equal(result.shown(0), Image.open(photo))


def test_pictures_of_large_photos_are_reduced(network, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SIDE", 16)
    result = segment_upload(network, photo, tmp_path)
    assert result.shown(0.5).size == (16, 12)
    assert result.confidence_map.width == 16
    assert result.labels.shape == (48, 64)


def test_a_network_of_labels_has_no_confidence(photo, tmp_path):
    file = tiny_network.onnx_file(tmp_path / "labels.onnx", output="labels")
    network = DemoNetwork("labels", lambda: file, size=600)
    result, shown = segment_view(network, photo, tmp_path, opacity=0.5)
    np.testing.assert_array_equal(result.labels, kc.segment(file, photo))
    assert result.confidence is None
    assert shown.details is None
    assert "outputs labels only" in shown.message


def test_compilation_is_not_timed(network, photo, tmp_path, monkeypatch):
    """A shape that is new to the network is run once more, before the time is taken."""
    with network.loaded() as run:
        runs, infer = [], run.infer
        monkeypatch.setattr(run, "infer", lambda batch: runs.append(batch.shape) or infer(batch))
    for size in ((64, 48), (64, 48), (64, 24)):
        Image.open(photo).resize(size).save(photo)
        segment_upload(network, photo, tmp_path)
    assert len(runs) == 2 + 1 + 2


def test_a_video(network, clip, tmp_path, monkeypatch):
    counts = []
    result, shown = segment_view(network, clip, tmp_path, 0.5, progress=counts.append)
    assert counts == [1, 2, 3, 4, 5]
    assert (shown.video, shown.picture) == (result.overlay, None)
    with zipfile.ZipFile(shown.labels_file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        labels = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    expected = kc.visualize.class_shares(np.stack(labels), tiny_network.TABLE)
    assert result.shares == pytest.approx(expected)
    assert list(result.shares.values()) == sorted(result.shares.values(), reverse=True)
    assert list(result.milliseconds) == ["each frame"]
    monkeypatch.setattr(results, "SECONDS", 0.25)
    assert segment_upload(network, clip, tmp_path).frames == 3


def test_the_opacity_of_a_video(network, clip, tmp_path):
    first = {}
    for opacity in (0.0, 1.0):
        segment_upload(network, clip, tmp_path, opacity)
        overlay = kc.segment_video(network_of(network), tmp_path / "clip_overlay.mp4")
        first[opacity] = next(overlay)[0][:48, :64].astype(int)
        overlay.close()
    original = np.asarray(tiny_network.images(size=(48, 64))[0], int)
    assert abs(first[0.0] - original).mean() < 20 < abs(first[1.0] - original).mean()


def network_of(network):
    with network.loaded() as run:
        return run


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.jpg", STREET.read_bytes()[:3000], "not a readable image"),
        ("empty.png", b"", "not a readable image"),
        ("letter.txt", b"Dear Sir,\nno picture.", "not a readable image"),
        ("broken.mp4", b"\x00\x00\x00\x18ftypmp42 no video", "not a readable video"),
        ("<b>.jpg", b"\xff\xd8", "not a readable image"),
    ],
)
def test_a_bad_upload_gets_one_sentence(network, tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    result, shown = segment_view(network, path, tmp_path, opacity=0.5)
    assert result is None
    assert reason in shown.message
    assert markup.escape(name) in shown.message
    assert str(tmp_path) not in shown.message
    assert "\n" not in shown.message
    assert (shown.picture, shown.overlay_file, shown.labels_file) == (None, None, None)


def test_a_network_that_cannot_be_loaded_gets_one_sentence(photo, tmp_path):
    file = tmp_path / "damaged.onnx"
    file.write_bytes(b"no network")
    network = next(iter(networks([file]).values()))
    result, shown = segment_view(network, photo, tmp_path, opacity=0.5)
    assert result is None
    assert "damaged.onnx: not a readable ONNX file" in shown.message


def test_names_of_classes_are_text():
    table = ClassTable(("<script>", "a & b"), ((1, 2, 3), (4, 5, 6)))
    shares = markup.share_table({"<script>": 0.25, "a & b": 0.75}, table, "Shares")
    for html in (shares, markup.legend(table)):
        assert "&lt;script&gt;" in html
        assert "a &amp; b" in html
        assert "<script>" not in html


def test_files_come_before_the_shipped_weights(model, tmp_path):
    fixed = tiny_network.onnx_file(tmp_path / "fixed.onnx")
    offered = networks([model, f"onnxruntime:{fixed}"], size=40)
    assert list(offered) == [
        f"{model} (onnxruntime)",
        f"{fixed} (onnxruntime)",
        "Cross-CBAM-M, camvid (Keras)",
        "Cross-CBAM-L, camvid (Keras)",
    ]
    sizes = [network.size_for(network_of(network)) for network in [*offered.values()][:2]]
    assert sizes == [40, None]


def test_the_command_reports_a_missing_file(capsys):
    assert cli.main(["demo", "missing.onnx"]) == 2
    assert capsys.readouterr().err == "crosscbam demo: missing.onnx: no such file\n"


def test_the_command_says_how_to_get_gradio(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == (
        "crosscbam demo: The demo page needs Gradio, which is not installed. Run "
        "`pip install keras-crosscbam[demo]`.\n"
    )


@pytest.fixture
def _environment(monkeypatch):
    """Restores what the page sets for Gradio."""
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.mark.slow
@pytest.mark.usefixtures("_environment")
def test_the_page_is_served_on_loopback(model):
    pytest.importorskip("gradio", reason=NEEDS_GRADIO)
    stop, address = start(networks([model]))
    try:
        port = int(address.rpartition(":")[2])
        assert address == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{address}/config") as response:
            config = response.read().decode()
        assert "tiny.onnx" in config
        assert '"analytics_enabled":false' in config.replace(" ", "")
        # Another address of this computer does not answer.
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)
        with pytest.raises(OSError, match=f"cannot use port {port} of 127.0.0.1"):
            start(networks([model]), port=port)
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
    finally:
        stop()
    assert not folder.exists()


@pytest.fixture
def browser_page():
    """A page in Debian's Chromium; all hosts that it asks are in its attribute `hosts`."""
    pytest.importorskip("gradio", reason=NEEDS_GRADIO)
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed: tests in the browser are left out")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.hosts = set()
        page.on("request", lambda request: page.hosts.add(request.url.split("/")[2]))
        yield page
        browser.close()


@pytest.mark.slow
def test_the_page_in_a_browser(browser_page, model, tmp_path):
    """A photo, its downloads, another network, another opacity, and a file that is no photo."""
    page, time_limit = browser_page, 120_000
    fixed = tiny_network.onnx_file(tmp_path / "fixed.onnx")
    command = [sys.executable, "-c", COMMAND, str(model), str(fixed)]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        address = server.stdout.readline().split()[4].rstrip(";")
        page.set_default_timeout(time_limit)
        page.goto(address)
        page.set_input_files("#upload input[type=file]", STREET)
        page.wait_for_selector("#times .total")
        expected = kc.segment(str(model), STREET, size=600)
        assert shares_of(page) == percent(expected)
        np.testing.assert_array_equal(download(page, "#labels-file"), expected)
        assert download(page, "#overlay-file").shape[0] == 563
        before = page.get_attribute("#overlay img", "src")

        page.get_by_label("Opacity of the colors").first.fill("100")
        page.locator("#opacity input[type=range]").press("ArrowLeft")
        page.wait_for_function(
            "src => document.querySelector('#overlay img').src != src", arg=before
        )

        page.click("#network input")
        page.get_by_role("option", name="fixed.onnx").click()
        expected = kc.segment(str(fixed), STREET)
        page.wait_for_function(
            "text => document.querySelector('#shares').innerText.includes(text)",
            arg=next(iter(percent(expected).values())),
        )
        assert shares_of(page) == percent(expected)

        (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
        page.set_input_files("#upload input[type=file]", tmp_path / "broken.jpg")
        page.wait_for_selector("#message .problem")
        message = page.inner_text("#message")
        assert message == "broken.jpg: not a readable image (unknown format)"
        assert page.hosts == {address.removeprefix("http://")}
    finally:
        server.terminate()
        server.wait(60)
    assert server.returncode == 0
    lines = log.read_text().splitlines()
    asked = {line.removeprefix("asked ") for line in lines if line.startswith("asked ")}
    assert asked <= {"127.0.0.1", "localhost", "b'127.0.0.1'"}
    assert not [line for line in lines if not line.startswith("asked ")]


def shares_of(page):
    """The rows of the table of shares: a dict from name to text."""
    cells = "rows => rows.map(row => [row.cells[0].innerText.trim(), row.cells[2].innerText])"
    return dict(page.eval_on_selector_all("#shares tr", cells))


def percent(labels):
    shares = kc.visualize.class_shares(labels, tiny_network.TABLE)
    return {name: f"{100 * share:.1f} %" for name, share in shares.items()}


def download(page, button):
    with page.expect_download() as waiting:
        page.click(button)
    return np.asarray(Image.open(waiting.value.path()))
