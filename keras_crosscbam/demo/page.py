"""The demo page, in Gradio."""

import importlib
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from keras_crosscbam.demo import markup
from keras_crosscbam.demo.networks import DemoNetwork
from keras_crosscbam.demo.results import SECONDS, PhotoResult, VideoResult, segment_upload
from keras_crosscbam.images import STREET, failure

TITLE = "Label every pixel of a street photo"
INTRO = (
    "Drop a photo or a short video, or click the example: a Cross-CBAM network colors each pixel "
    "by its class, on this computer."
)
LIMITS = (
    "The camvid networks were trained on 367 frames of one English town: expect errors on other "
    "streets."
)
LABELS = "Labels are class numbers, 0, 1, 2, ..., so that picture looks almost black."
MAX_UPLOAD = "500mb"
# Gradio deletes the files of its own cache that are older than an hour, every ten minutes.
_DELETE_CACHE = (600, 3600)
_SESSIONS = 50  # sessions whose last photo is kept in memory


def gradio():
    """Returns Gradio with its analytics turned off, or says how to install it.

    Raises:
        ImportError: if Gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        return importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        raise ImportError(
            "The demo page needs Gradio, which is not installed. Run "
            "`pip install keras-crosscbam[demo]`.",
            name="gradio",
        ) from error


class View(NamedTuple):
    """What the page shows for a result.

    Attributes:
        message: HTML of an error or a remark.
        picture: overlay of a photo, or None.
        video: path of the overlay of a video, or None.
        details: the confidence map of a photo or the plot of a video, or None.
        details_title: title of `details`.
        shares: HTML of the class shares.
        times: HTML of the times.
        overlay_file: path of the overlay to download, or None.
        labels_file: path of the labels to download, or None.
    """

    message: str = ""
    picture: Image.Image | None = None
    video: Path | None = None
    details: Image.Image | Path | None = None
    details_title: str = ""
    shares: str = ""
    times: str = ""
    overlay_file: Path | None = None
    labels_file: Path | None = None


def view(result: PhotoResult | VideoResult, folder: Path, opacity: float) -> View:
    """Returns the `View` of a result, after writing its files.

    Args:
        result: what `keras_crosscbam.demo.results.segment_upload` returned.
        folder: folder for the files.
        opacity: weight of the colors, 0..1, of a photo's overlay.
    """
    shares = markup.share_table(result.shares, result.classes, "Share of the pixels")
    if isinstance(result, VideoResult):
        return View(
            message=markup.note(
                f"{result.name}, {result.frames} frames. Of a longer video, only the first "
                f"{SECONDS} seconds are segmented."
            ),
            video=result.overlay,
            details=result.plot,
            details_title="Shares of the classes over time",
            shares=shares,
            times=markup.time_table(result.milliseconds, "Time, all stages in parallel"),
            overlay_file=result.overlay,
            labels_file=result.labels,
        )
    height, width = result.labels.shape
    if result.confidence is None:
        remark = "The network outputs labels only, so there is no confidence."
    else:
        remark = f"Mean probability of the labels: {100 * result.confidence:.1f} %."
    overlay_file, labels_file = result.save(folder, opacity)
    return View(
        message=markup.note(f"{result.name}, {width}x{height} pixels. {remark}"),
        picture=result.shown(opacity),
        details=result.confidence_map,
        details_title="Confidence: the probability of each label, dark where the network is unsure",
        shares=shares,
        times=markup.time_table(result.milliseconds, "Time of each stage"),
        overlay_file=overlay_file,
        labels_file=labels_file,
    )


def segment_view(
    network: DemoNetwork,
    path: Path,
    folder: Path,
    opacity: float,
    progress: Callable[[int], None] | None = None,
) -> tuple[PhotoResult | VideoResult | None, View]:
    """Segments a photo or video and returns its result and `View`.

    An error is one sentence in the `View`, which names the file without its folder; the result is
    None then. The arguments are those of `keras_crosscbam.demo.results.segment_upload`.
    """
    try:
        result = segment_upload(network, path, folder, opacity, progress)
        return result, view(result, folder, opacity)
    except Exception as error:  # the page stays usable for other files and networks
        text = failure(path, error).replace(str(path), path.name)
        return None, View(message=markup.problem(text), shares=_legend(network))


def _legend(network):
    return markup.legend(network.classes) if network.classes else ""


def build(choices: Mapping[str, DemoNetwork], folder: Path):
    """Returns the page as `gradio.Blocks`.

    Args:
        choices: dict from name to network, as `keras_crosscbam.demo.networks` returns it; the first
            one is selected.
        folder: existing folder for the files of the results.

    Raises:
        ImportError: if Gradio is not installed.
    """
    gr = gradio()
    first = next(iter(choices.values()))

    def updates(shown):
        return {
            message: shown.message,
            picture: gr.update(value=shown.picture, visible=shown.video is None),
            video: gr.update(value=shown.video, visible=shown.video is not None),
            details_title: markup.heading(shown.details_title),
            details: gr.update(value=shown.details, visible=shown.details is not None),
            shares: shown.shares,
            times: shown.times,
            **{
                button: gr.update(value=file, interactive=file is not None)
                for button, file in (
                    (overlay_file, shown.overlay_file),
                    (labels_file, shown.labels_file),
                )
            },
        }

    def run(path, name, opacity, last, progress=gr.Progress()):  # noqa: B008
        if path is None:
            return {shares: _legend(choices[name])}
        forget(last)
        place = Path(tempfile.mkdtemp(dir=folder))
        result, shown = segment_view(
            choices[name],
            Path(path),
            place,
            opacity / 100,
            lambda frames: progress((frames, None), unit="frames"),
        )
        return {state: (result, place), source: path, upload: None, **updates(shown)}

    def redraw(opacity, last):
        result, place = last or (None, None)
        if not isinstance(result, PhotoResult):
            return {message: gr.skip()}
        return updates(view(result, place, opacity / 100))

    def forget(last):
        if last is not None:
            shutil.rmtree(last[1], ignore_errors=True)

    with gr.Blocks(title="Cross-CBAM", analytics_enabled=False, delete_cache=_DELETE_CACHE) as page:
        # Of each session: the result and the folder of its files, and the last photo or video.
        state, source = gr.State(delete_callback=forget), gr.State()
        street = gr.State(str(STREET))
        gr.HTML(f"<h1>{TITLE}</h1><p>{INTRO}</p>", elem_id="intro")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                with gr.Tab("Photo or video"):
                    upload = gr.File(show_label=False, elem_id="upload")
                    example = gr.Dataset(
                        components=[gr.Image(visible=False)],
                        samples=[[str(STREET)]],
                        label="Or click this example",
                        elem_id="example",
                    )
                with gr.Tab("Webcam"):
                    webcam = gr.Image(
                        sources=["webcam"],
                        type="filepath",
                        image_mode=None,
                        label="Take a picture",
                        elem_id="webcam",
                    )
                network = gr.Dropdown(
                    list(choices), value=first.name, label="Network", elem_id="network"
                )
                opacity = gr.Slider(
                    0,
                    100,
                    50,
                    step=5,
                    label="Opacity of the colors, in percent",
                    info="For a video, set it before the upload.",
                    elem_id="opacity",
                )
                shares = gr.HTML(_legend(first), elem_id="shares")
                gr.HTML(markup.note(LIMITS))
            with gr.Column(scale=3, min_width=380):
                message = gr.HTML(markup.note("The result appears here."), elem_id="message")
                picture = gr.Image(
                    show_label=False,
                    interactive=False,
                    format="png",
                    buttons=["fullscreen"],
                    elem_id="overlay",
                )
                video = gr.Video(
                    show_label=False, visible=False, autoplay=True, buttons=[], elem_id="video"
                )
                with gr.Row():
                    overlay_file = gr.DownloadButton(
                        "Download overlay", interactive=False, elem_id="overlay-file"
                    )
                    labels_file = gr.DownloadButton(
                        "Download labels", interactive=False, elem_id="labels-file"
                    )
                gr.HTML(markup.note(LABELS))
                times = gr.HTML(elem_id="times")
                details_title = gr.HTML(elem_id="details-title")
                details = gr.Image(
                    show_label=False,
                    visible=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="details",
                )

        outputs = [message, picture, video, shares, times, details_title, details]
        outputs += [overlay_file, labels_file]
        private = {"api_visibility": "private"}
        settings = {
            "outputs": [*outputs, state, source, upload],
            "show_progress_on": [picture, video],
            "concurrency_id": "network",
            **private,
        }
        chosen = [network, opacity, state]
        upload.upload(run, [upload, *chosen], **settings)
        webcam.input(run, [webcam, *chosen], **settings)
        network.change(run, [source, *chosen], **settings)
        example.click(run, [street, *chosen], **settings)
        opacity.release(redraw, [opacity, state], outputs, show_progress="hidden", **private)
    return page


def start(choices: Mapping[str, DemoNetwork], host: str = "127.0.0.1", port: int | None = None):
    """Starts the server of the page; returns a function that stops it, and the address.

        >>> from keras_crosscbam.demo import networks, start
        >>> stop, address = start(networks())  # doctest: +SKIP
        >>> stop()  # doctest: +SKIP

    The uploaded files and the results are in a temporary folder, which is deleted at the end.

    Args:
        choices: as in `build`.
        host: the address to bind to. `"0.0.0.0"` makes the page available to other computers.
        port: the port; None for the first free one from 7860 to 7959.

    Raises:
        ImportError: if Gradio is not installed.
        OSError: if the address cannot be used, for example because the port is not free.
    """
    gr = gradio()
    _check_free(host, port or 0)
    folder = tempfile.TemporaryDirectory(prefix="crosscbam-demo-")
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    results = Path(folder.name, "results")
    results.mkdir()
    page = build(choices, results)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=MAX_UPLOAD,
        state_session_capacity=_SESSIONS,
        footer_links=[],
        theme=gr.themes.Soft(primary_hue="indigo", font=["system-ui", "sans-serif"]),
        css=markup.CSS,
    )

    def stop():
        page.close()
        folder.cleanup()

    return stop, f"http://{host}:{page.server_port}"


def _check_free(host, port):
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        raise OSError(
            f"The page cannot use port {port} of {host} ({error.strerror or error}). Choose "
            "another one with `--port`, or another address with `--host`."
        ) from error
