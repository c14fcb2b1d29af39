"""The example that serves an exported file, in this process and as a program of its own."""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny_network
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.images import STREET

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
from fastapi.testclient import TestClient  # noqa: E402

PROGRAM = Path(__file__).parents[1] / "examples" / "serve.py"
MAX_BYTES, MAX_PIXELS = 20_000, 10_000


def load_example():
    spec = importlib.util.spec_from_file_location("serve_example", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


serve = load_example()


@contextlib.contextmanager
def client_of(path, max_batch=8, max_wait=1.0, size=None):
    run = kc.runtime.load(path)
    app = serve.create_app(run, size, MAX_BYTES, MAX_PIXELS, max_batch, max_wait)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def network_file(tmp_path_factory):
    """The one of four classes in NumPy, for batches of any size."""
    return tiny_network.onnx_file(tmp_path_factory.mktemp("serve") / "m.onnx", batch=None)


@pytest.fixture(scope="module")
def client(network_file):
    with client_of(network_file, max_wait=0.0) as client:
        yield client


def encoded(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def decoded(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def bomb(width, height):
    """A PNG of a few bytes that claims to have this size."""

    def chunk(kind, data):
        ending = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + ending

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


def test_labels_are_those_of_segment(client, network_file):
    (image,) = tiny_network.images(size=(20, 28))  # resized for the network, and the labels back
    labels = kc.segment(network_file, image)
    png = decoded(client.post("/segment", content=encoded(image)))
    assert png.dtype == np.uint8
    np.testing.assert_array_equal(png, labels)
    picture = decoded(client.post("/segment?colored=true", content=encoded(image)))
    np.testing.assert_array_equal(picture, np.array(tiny_network.TABLE.colors, np.uint8)[labels])


def test_exif_orientation_is_applied(client, network_file, tmp_path):
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(tiny_network.images(size=(16, 40))[0]).save(file, exif=exif)
    png = decoded(client.post("/segment", content=file.read_bytes()))
    assert png.shape == (40, 16)
    np.testing.assert_array_equal(png, kc.segment(network_file, file))


def test_classes_and_health(client):
    answered = client.get("/classes").json()
    assert answered[2] == {"label": 2, "name": "c", "color": [7, 8, 9]}
    assert [entry["name"] for entry in answered] == list(tiny_network.TABLE.names)
    assert client.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 400, "The body is empty: send an image."),
        (b"not an image", 400, "The body is not an image of format BMP, JPEG, PNG, WEBP."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", 400, "The body is not an image"),
        (bytes(MAX_BYTES + 1), 413, f"The body has more than {MAX_BYTES} bytes."),
        (iter([bytes(MAX_BYTES), b"1"]), 413, f"The body has more than {MAX_BYTES} bytes."),
        (bomb(101, 100), 413, f"The image has more than {MAX_PIXELS} pixels."),
        (bomb(60_000, 60_000), 413, f"The image has more than {MAX_PIXELS} pixels."),
        (bomb(100, 100), 400, "The image is not readable: "),
        (encoded(np.arange(200, dtype=np.uint16).reshape(10, 20)), 400, "The image contains only"),
    ],
    ids=["empty", "text", "eps", "large", "chunks", "pixels", "bomb", "truncated", "16 bits"],
)
def test_what_is_refused(client, body, status, sentence):
    answered = client.post("/segment", content=body)
    assert answered.status_code == status
    assert answered.json()["detail"].startswith(sentence)
    assert set(answered.json()) == {"detail"}


def test_frames_of_an_animation_count_if_they_are_read():
    frames = [Image.new("RGBA", (60, 60), (i, 0, 0, 255)) for i in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    assert serve.read(file.getvalue(), 3, MAX_PIXELS).shape == (60, 60, 3)
    with pytest.raises(serve.HTTPException, match=f"413: The image has more than {MAX_PIXELS}"):
        serve.read(file.getvalue(), 12, MAX_PIXELS)


def test_a_form_is_refused(client):
    answered = client.post("/segment", files={"image": b"1"})
    assert answered.status_code == 415
    assert answered.json()["detail"] == "Send the image as the body of the request, not as a form."


def test_requests_that_arrive_together_are_one_batch(network_file):
    """One of them is broken, which does not affect the others."""
    images = tiny_network.images(7)
    bodies = [*map(encoded, images), b"broken"]
    with client_of(network_file) as client, ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda body: client.post("/segment", content=body), bodies))
        seen = client.get("/health").json()
    labels = kc.segment(network_file, list(images))
    for response, expected in zip(answered, labels, strict=False):
        np.testing.assert_array_equal(decoded(response), expected)
    assert answered[-1].status_code == 400
    assert seen["images"] == 8
    assert seen["batches"] < 8


def test_a_file_of_fixed_batch_size_has_batches_of_it(tmp_path):
    file = tiny_network.onnx_file(tmp_path / "m.onnx", batch=1)
    (image,) = tiny_network.images()
    with client_of(file) as client, ThreadPoolExecutor(3) as pool:
        bodies = [encoded(image)] * 3
        answered = list(pool.map(lambda body: client.post("/segment", content=body), bodies))
        assert client.get("/health").json() == {"status": "ok", "images": 3, "batches": 3}
    assert len({response.content for response in answered}) == 1


def test_a_network_that_fails_is_an_error_of_the_server(network_file, monkeypatch):
    """The next request is answered."""
    (image,) = tiny_network.images()
    with client_of(network_file, max_wait=0.0) as client:
        with monkeypatch.context() as patch:
            patch.setattr(kc.runtime.Runtime, "infer", lambda *_: 1 / 0)
            answered = client.post("/segment", content=encoded(image))
        assert answered.status_code == 500
        assert "could not segment" in answered.json()["detail"]
        assert client.post("/segment", content=encoded(image)).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(serve, "outputs", lambda *_, **__: 1 / 0)
            assert client.post("/segment", content=encoded(image)).status_code == 500
        assert client.post("/segment", content=encoded(image)).status_code == 200


def test_more_waiting_requests_than_allowed_are_refused(network_file):
    """The first request fills the only place and is never answered."""
    import asyncio

    batcher = serve.Batcher(kc.runtime.load(network_file), None, 1, 1, 0.0, max_waiting=1)

    async def two():
        first = asyncio.create_task(batcher.png(b"", False))
        await asyncio.sleep(0)
        with pytest.raises(serve.HTTPException) as refused:
            await batcher.png(b"", False)
        first.cancel()
        return refused.value.status_code

    assert asyncio.run(two()) == 503


def test_arguments_out_of_range(network_file):
    run = kc.runtime.load(network_file)
    for wrong, message in (
        ({"size": 5}, "is fixed to 16x24 pixels"),
        ({"max_batch": 0}, "`batch` must be a positive number"),
        ({"max_pixels": 10**9}, "`max_pixels` must be at most 89478485"),
    ):
        right = {"size": None, "max_bytes": 1, "max_pixels": 1, "max_batch": 1, "max_wait": 0.0}
        with pytest.raises(ValueError, match=message):
            serve.create_app(run, **{**right, **wrong})


# As a program of its own

WRAPPED = """
import atexit, runpy, sys
large = {"keras", "tensorflow", "jax", "torch"}
atexit.register(lambda: print("IMPORTED", sorted(large & set(sys.modules)), flush=True))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(small_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    kc.export.to_onnx(small_network, path, input_size=(64, 96), batch=None)
    return path


@contextlib.contextmanager
def server_of(path, *options):
    """The process of a server, and its address; it is ended if the test did not do that."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", WRAPPED, PROGRAM, path, "--port", port, *options]
    process = subprocess.Popen(
        [*map(str, command)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health").close()
                break
            time.sleep(0.1)
        assert process.poll() is None, process.stdout.read()
        yield process, address
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_server_in_a_process_of_its_own(exported):
    options = ["--max-wait", 2, "--max-bytes", 500_000, "--max-pixels", 500_000]
    with server_of(exported, *options) as (process, address):
        with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(8) as pool:
            street = Image.open(STREET)
            boxes = [(20 * i, 10 * i, 20 * i + 200, 10 * i + 150) for i in range(8)]
            images = [np.asarray(street.crop(box)) for box in boxes]
            answered = list(
                pool.map(lambda image: client.post("/segment", content=encoded(image)), images)
            )
            expected = kc.segment(exported, images, batch=8)
            for response, labels in zip(answered, expected, strict=True):
                # The batch may be another one, and rounding decides between equal scores.
                assert (decoded(response) == labels).mean() > 0.9999
            seen = client.get("/health").json()
            assert seen["images"] == 8
            assert seen["batches"] < 8
            alone = decoded(client.post("/segment", content=STREET.read_bytes()))
            np.testing.assert_array_equal(alone, kc.segment(exported, STREET))
            assert len(client.get("/classes").json()) == 11
            assert client.post("/segment", content=b"no image").status_code == 400
            assert client.post("/segment", content=bytes(3_000_000)).status_code == 413
            assert client.post("/segment", content=bomb(30_000, 30_000)).status_code == 413
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Application shutdown complete" in out
    assert "Traceback" not in out
    assert ast.literal_eval(re.search(r"IMPORTED (.*)", out)[1]) == []


@pytest.mark.slow
def test_sigterm_ends_the_server(network_file):
    with server_of(network_file) as (process, _):
        process.terminate()
        out, _ = process.communicate(timeout=60)
    # Uvicorn ends by the same signal after the shutdown, as process managers expect.
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nowhere.onnx", "m.txt"])
def test_a_wrong_file_is_one_line(name, tmp_path):
    process = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / name], capture_output=True, text=True
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    assert json.dumps(name)[1:-1] in process.stderr
