"""Serves an exported file over HTTP: POST an image, and receive its labels as a PNG.

    $ pip install "keras-crosscbam[runtime]" fastapi uvicorn
    $ python examples/serve.py m.onnx --port 8000
    $ curl --data-binary @street.jpg localhost:8000/segment --output labels.png
    $ curl --data-binary @street.jpg "localhost:8000/segment?colored=true" --output colors.png

`GET /classes` lists the names and colors of the labels, and `GET /health` the number of images and
batches so far. Requests that arrive together are run as one batch if the file takes batches
(`crosscbam export --batch 0`). Keras and TensorFlow are not imported. There is no authentication
and no encryption: put a proxy in front of it on a public network.
"""

import argparse
import asyncio
import contextlib
import io
import logging
from functools import partial

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.batching import check_batch, outputs
from keras_crosscbam.image_channels import to_channels
from keras_crosscbam.images import RefusedError

# Pillow has readers for many more formats. One of them, EPS, runs another program.
FORMATS = ("BMP", "JPEG", "PNG", "WEBP")


class Batcher:
    """Runs the network on requests, in one thread and in batches.

    A batch is run when it is full, or when its first request has waited for `max_wait` seconds.
    Decoded images are only in memory while their batch is run, and the number of waiting requests
    is limited.
    """

    def __init__(self, run, size, max_pixels, max_batch, max_wait, max_waiting=64):
        self._run, self._size = run, size
        self._batch, self._wait = run.batch or max_batch, max_wait
        self._read = partial(read, channels=run.channels, max_pixels=max_pixels)
        self._waiting = asyncio.Queue(max_waiting)
        self.images = self.batches = 0

    async def png(self, body, colored):
        """Returns the labels of an image file as PNG, both as bytes."""
        result = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((body, colored, result))
        except asyncio.QueueFull:
            raise HTTPException(503, "The server is busy: try again later.") from None
        return await result

    async def serve(self):
        """Runs batches until it is canceled."""
        while True:
            requests = [await self._waiting.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    while len(requests) < self._batch:
                        requests.append(await self._waiting.get())
            self.images, self.batches = self.images + len(requests), self.batches + 1
            try:
                results = await asyncio.to_thread(self._pngs, requests)
            except Exception as error:  # such as a lack of memory; the next batch may succeed
                results = [failed(error)] * len(requests)
            for (_, _, future), result in zip(requests, results, strict=True):
                if future.cancelled():
                    continue
                if isinstance(result, HTTPException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _pngs(self, requests):
        bodies, colored, _ = zip(*requests, strict=True)
        items = outputs(self._run, bodies, self._read, self._size, self._batch, workers=2)
        return list(map(self._png, items, colored))

    def _png(self, item, colored):
        """Returns the PNG of an image, or the exception to raise for its request."""
        try:
            if item.error is not None:
                raise item.error
            labels = item.labels(self._run)
            picture = kc.visualize.colorize(labels, self._run.classes) if colored else labels
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            return file.getvalue()
        except HTTPException as error:
            return error
        except Exception as error:  # an error of one image does not affect the others
            return failed(error)


def failed(error):
    """Logs an error that is not the client's, and returns the exception for its request."""
    logging.getLogger("uvicorn.error").error("A request failed", exc_info=error)
    return HTTPException(500, "The server could not segment this image; its log has the reason.")


def read(body, channels, max_pixels):
    """Returns an image file, given as bytes, as uint8 `(height, width, channels)`."""
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as image:
            # The size is in the header; the pixels are not decoded yet. Frames of an animation
            # are only read for networks of other than one or three channels, as channels.
            frames = 1 if channels in (1, 3) else getattr(image, "n_frames", 1)
            if image.width * image.height * frames > max_pixels:
                raise Image.DecompressionBombError
            return to_channels(image, channels)
    except Image.DecompressionBombError:
        raise HTTPException(413, f"The image has more than {max_pixels} pixels.") from None
    except Image.UnidentifiedImageError:
        names = ", ".join(FORMATS)
        raise HTTPException(400, f"The body is not an image of format {names}.") from None
    except RefusedError as error:
        raise HTTPException(400, f"The image {error}.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise HTTPException(400, f"The image is not readable: {error}.") from None


async def read_body(request, max_bytes):
    """Returns the body of a request; no more than `max_bytes` are kept in memory."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(415, "Send the image as the body of the request, not as a form.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"The body has more than {max_bytes} bytes.")
    if not body:
        raise HTTPException(400, "The body is empty: send an image.")
    return bytes(body)


def create_app(run, size, max_bytes, max_pixels, max_batch, max_wait):
    """Returns the application.

    Args:
        run: the `Runtime`.
        size: as in `keras_crosscbam.segment`.
        max_bytes, max_pixels: limits for an image file, and for the image in it.
        max_batch: maximum batch size, if the network does not have a fixed one.
        max_wait: time in seconds that a request waits for others to fill its batch.
    """
    run.check_size(size)
    check_batch(run, run.batch or max_batch)
    if max_pixels > Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f"`max_pixels` must be at most {Image.MAX_IMAGE_PIXELS}, the limit of Pillow. "
            f"Received: {max_pixels}"
        )
    batcher = Batcher(run, size, max_pixels, max_batch, max_wait)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        task = asyncio.create_task(batcher.serve())
        yield
        task.cancel()

    app = FastAPI(title="Cross-CBAM", version=kc.__version__, lifespan=lifespan)

    @app.post("/segment", response_class=Response)
    async def segment(request: Request, colored: bool = False):
        png = await batcher.png(await read_body(request, max_bytes), colored)
        return Response(png, media_type="image/png")

    @app.get("/classes")
    async def classes():
        table = zip(run.classes.names, run.classes.colors, strict=True)
        return [
            {"label": label, "name": name, "color": color}
            for label, (name, color) in enumerate(table)
        ]

    @app.get("/health")
    async def health():
        return {"status": "ok", "images": batcher.images, "batches": batcher.batches}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="exported file: .onnx, .xml, .tflite or .engine")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all interfaces")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="for the network (default: all cores)")
    parser.add_argument("--size", type=int, help="shorter side, for networks of any size")
    parser.add_argument("--max-bytes", type=int, default=20_000_000)
    parser.add_argument("--max-pixels", type=int, default=25_000_000)
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--max-wait", type=float, default=0.005, metavar="SECONDS")
    args = parser.parse_args()

    try:
        run = kc.runtime.load(args.model, threads=args.threads)
        app = create_app(
            run, args.size, args.max_bytes, args.max_pixels, args.max_batch, args.max_wait
        )
    except (ValueError, RuntimeError, ImportError) as error:
        parser.error(str(error))
    uvicorn.run(app, host=args.host, port=args.port)


if __name__ == "__main__":
    main()
