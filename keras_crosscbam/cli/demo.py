"""Command that serves a page in the browser: demo."""

import signal
import threading

from keras_crosscbam.cli.arguments import image_size


def add_commands(command):
    sub = command(
        _demo,
        "demo",
        "Serve a page that segments photos, short videos and webcam pictures in the browser.",
    )
    sub.add_argument(
        "models",
        nargs="*",
        metavar="FILE",
        help="files that the page offers besides the shipped weights: .keras, .onnx, .xml, "
        ".tflite, .engine, or a SavedModel folder, with an optional engine as a prefix, as in "
        "openvino:m.onnx",
    )
    sub.add_argument("--host", default="127.0.0.1", help="address to bind to (default: 127.0.0.1)")
    sub.add_argument("--port", type=int, help="default: the first free port from 7860")
    sub.add_argument(
        "--size",
        type=image_size,
        help="HEIGHTxWIDTH that images are resized to, or their shorter side, for networks that "
        "take any size (default: 600, as the shipped weights)",
    )


def _demo(args):
    from keras_crosscbam.demo import networks, start

    stop, address = start(networks(args.models, args.size), args.host, args.port)
    print(f"The page is at {address}; Ctrl-C ends it.", flush=True)
    # Ends as after Ctrl-C, so that the uploaded files are deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        stop()
