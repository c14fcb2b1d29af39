"""Commands for deployment: export, quantize, benchmark."""

from pathlib import Path

from keras_crosscbam.cli.arguments import (
    add_engine,
    add_input_and_output,
    add_model,
    image_size,
    load_model,
)

FORMATS = ("onnx", "openvino", "litert", "saved-model", "tensorrt")


def add_commands(command):
    sub = command(_export, "export", "Write a file for another runtime, and verify it.")
    sub.add_argument("--out", type=Path, required=True, help="the file, or folder, to write")
    sub.add_argument("--to", choices=FORMATS, default="onnx", help="format (default: onnx)")
    add_input_and_output(sub)
    sub.add_argument(
        "--layout", choices=("nchw", "nhwc"), default="nchw", help="layout of ONNX files"
    )
    sub.add_argument(
        "--optimize-for",
        choices=("onnxruntime", "openvino", "tensorrt", "none"),
        help="rewrite an ONNX graph into an equivalent one that is fastest in this runtime "
        "(default: onnxruntime, or tensorrt with --to tensorrt)",
    )
    sub.add_argument("--batch", type=int, default=1, help="batch size, 0 for any (default: 1)")
    sub.add_argument("--frames", type=Path, help="image or folder for the comparison")
    sub.add_argument(
        "--triton",
        type=Path,
        metavar="DIR",
        help="also put the ONNX file or TensorRT engine into this model repository of the Triton "
        "Inference Server, as the next version of a model with the name of the file",
    )
    add_engine(sub.add_argument_group("TensorRT engines"))
    add_model(sub)

    sub = command(_quantize, "quantize", "Quantize a network to INT8, and verify it.")
    sub.add_argument("--out", type=Path, required=True, help="the file: .onnx, .xml or .tflite")
    sub.add_argument(
        "--for",
        dest="runtime",
        choices=("onnxruntime", "openvino", "litert", "tensorrt"),
        default="onnxruntime",
        help="runtime of the file (default: onnxruntime)",
    )
    sub.add_argument("--frames", type=Path, help="image or folder for calibration")
    sub.add_argument("--data", type=Path, help="data set: calibrate on train, evaluate on val")
    add_input_and_output(sub)
    sub.add_argument(
        "--exclude",
        nargs="*",
        default=["first", "last"],
        metavar="LAYER",
        help="layers that stay in float (default: first last)",
    )
    sub.add_argument(
        "--max-loss", type=float, default=1.0, help="maximum loss of mean IoU in percentage points"
    )
    sub.add_argument(
        "--force", action="store_true", help="keep the file even if the loss is larger"
    )
    add_model(sub)

    sub = command(_benchmark, "benchmark", "Measure the speed of networks in interleaved rounds.")
    sub.add_argument("files", nargs="+", help="files, or engine:file, such as openvino:m.onnx")
    sub.add_argument(
        "--against", nargs="+", default=[], metavar="PEER", help="files to compare with"
    )
    sub.add_argument("--scopes", nargs="+", choices=("network", "copies", "file"), metavar="SCOPE")
    sub.add_argument("--rounds", type=int, default=20)
    sub.add_argument("--threads", type=int, help="number of cores to use (default: all)")
    sub.add_argument("--image", type=Path, help="default: a street photograph")
    sub.add_argument("--size", type=image_size, help="HEIGHTxWIDTH for networks of any size")
    sub.add_argument("--batch", type=int, default=1)
    sub.add_argument("--mixed-sizes", action="store_true", help="allow networks of different sizes")
    sub.add_argument(
        "--paper-protocol",
        action="store_true",
        help="also run the timing loops of published figures",
    )
    sub.add_argument("--one-process", action="store_true", help="run all contenders in one process")
    sub.add_argument("--json", type=Path, help="write the report to this file as JSON")
    sub.add_argument("--csv", type=Path, help="write the results to this file as CSV")


def _export(args):
    from keras_crosscbam import export
    from keras_crosscbam.image_files import image_files

    if args.triton is not None and args.to not in ("onnx", "tensorrt"):
        raise ValueError(f"--triton is for --to onnx and --to tensorrt; got --to {args.to}")
    model, size = _keras_model(args)
    common = {
        "input_size": size,
        "batch": args.batch or None,
        "input": args.input,
        "output": args.output,
        "frames": image_files(args.frames) if args.frames else None,
    }
    write = {
        "openvino": export.to_openvino,
        "litert": export.to_litert,
        "saved-model": export.to_saved_model,
    }
    if args.to in write:
        print(f"{args.out}: {write[args.to](model, args.out, **common)}")
        return
    graph = args.out.with_suffix(".onnx") if args.to == "tensorrt" else args.out
    runtime = args.optimize_for or ("tensorrt" if args.to == "tensorrt" else "onnxruntime")
    optimize_for = None if runtime == "none" else runtime
    parity = export.to_onnx(model, graph, layout=args.layout, optimize_for=optimize_for, **common)
    print(f"{graph}: {parity}")
    if args.to == "tensorrt":
        print(
            export.build_engine(
                graph,
                args.out,
                precision=args.precision,
                workspace_gib=args.workspace,
                timing_cache=args.timing_cache,
            )
        )
    if args.triton is not None:
        engine = args.out if args.to == "tensorrt" else None
        print(export.to_triton(graph, args.triton, engine=engine))


def _quantize(args):
    from keras_crosscbam import export
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.image_files import image_files

    if args.data is None and args.frames is None:
        raise ValueError("INT8 needs real frames: pass --data DATASET or --frames FOLDER")
    frames = image_files(args.frames) if args.frames else load_dataset(args.data, "train")
    val_set = load_dataset(args.data, "val") if args.data else None
    model, size = _keras_model(args)
    report = export.quantize(
        model,
        args.out,
        frames,
        args.runtime,
        input_size=size,
        input=args.input,
        output=args.output,
        exclude=args.exclude,
        dataset=val_set,
        max_loss=args.max_loss,
        force=args.force,
    )
    print(report)


def _keras_model(args):
    """Returns the Keras model to export, and the (height, width) of the file."""
    import keras

    model, size = load_model(args)
    if isinstance(model, Path):
        if model.suffix != ".keras":
            raise ValueError(f"--model must be a .keras file to export; got {args.model}")
        model = keras.saving.load_model(model, compile=False)
    size = args.size or size
    if isinstance(size, int):
        raise ValueError("an exported file has a fixed size: pass --size HEIGHTxWIDTH")
    return model, size


def _benchmark(args):
    from keras_crosscbam.benchmark import SCOPES, benchmark

    report = benchmark(
        args.files,
        args.against,
        scopes=args.scopes or tuple(SCOPES),
        rounds=args.rounds,
        threads=args.threads,
        image=args.image,
        size=args.size,
        batch=args.batch,
        mixed_sizes=args.mixed_sizes,
        isolate=False if args.one_process else None,
        paper_protocol=args.paper_protocol,
        progress=True,
    )
    print(report.table())
    if args.json:
        args.json.write_text(report.to_json())
    if args.csv:
        args.csv.write_text(report.to_csv())
    return 1 if report.left_out else 0
