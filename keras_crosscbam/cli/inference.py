"""Commands that run a trained network on a data set: evaluate, predict."""

import sys
from pathlib import Path

from keras_crosscbam.cli.arguments import (
    add_batch,
    add_data,
    add_model,
    add_normalization,
    add_views,
    has_views,
    load_runtime,
    manifest_entry,
    trained_at,
    with_views,
    working_size,
)


def add_commands(command):
    sub = command(
        _evaluate,
        "evaluate",
        "Measure mean IoU and pixel accuracy on a data set, or the top-1 accuracy of an encoder "
        "(--variant STDC1 or STDC2) on folders of classes.",
    )
    hold_out = "group of frames of train and val to judge by"
    add_data(sub, split="val", hold_out=hold_out, several=True)
    add_model(sub)
    add_normalization(sub)
    add_views(sub)
    add_batch(sub)
    sub.add_argument(
        "--pictures", type=Path, help="folder for pictures of the best and the worst frames"
    )

    sub = command(
        _predict,
        "predict",
        "Write the labels of a split's images, for a test server or for annotators to correct.",
    )
    add_data(sub, split="test")
    sub.add_argument("--out", type=Path, required=True, help="folder for the files")
    kinds = sub.add_mutually_exclusive_group()
    kinds.add_argument("--label-ids", action="store_true", help="write Cityscapes' label ids")
    kinds.add_argument(
        "--format",
        choices=("png", "coco", "yolo", "labelstudio", "cvat"),
        default="png",
        help="label images, or annotations that the tool can import (default: png)",
    )
    add_model(sub)
    add_normalization(sub)
    add_views(sub)
    add_batch(sub)


def _evaluate(args):
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.evaluation import evaluate, report
    from keras_crosscbam.label_files import write_best_and_worst

    if args.variant in ("STDC1", "STDC2"):
        return _evaluate_encoder(args)
    if len(args.data) > 1:
        raise ValueError("--data takes several folders for encoders alone (--variant STDC1, STDC2)")
    (args.data,) = args.data
    data = _held_out(args) if args.hold_out else load_dataset(args.data, args.split)
    run, made_for = load_runtime(args)
    run, size = with_views(run, args), working_size(args, made_for)
    result = evaluate(run, data, size, progress=True, batch=args.batch)
    print(report(result))
    if args.pictures:
        for path in write_best_and_worst(run, data, result["frame_iou"], args.pictures, size):
            print(path)


def _held_out(args):
    """The frames of the group to hold out, with a word where the weights have seen them."""
    from keras_crosscbam.datasets import load_held_out

    data = load_held_out(args.data, args.hold_out)
    if args.model is not None:
        return data
    from keras_crosscbam.training.hold_out import has_seen

    if has_seen(args.weights, data.name, args.hold_out):
        print(
            f"crosscbam evaluate: {args.weights} was trained on frames of {args.hold_out}: the "
            "figure does not say how it does on roads it has not seen",
            file=sys.stderr,
        )
    return data


def _evaluate_encoder(args):
    import keras_crosscbam as kc
    from keras_crosscbam.datasets.classification import load_image_folders
    from keras_crosscbam.training.classification import MONITOR, TopOneValidation

    if has_views(args) or args.pictures or args.hold_out:
        raise ValueError(
            "--flip, --scales, --pictures and --hold-out are for segmentation, not for encoders"
        )
    data = load_image_folders(args.data, args.split)
    model = getattr(kc, args.variant)(weights=args.weights, input_shape=(None, None, 3))
    _check_folders(model, data, manifest_entry(args.weights, args.variant.lower()))
    size = args.size or trained_at(args.weights, args.variant.lower()) or 224
    side = size if isinstance(size, int) else min(size)
    top1 = TopOneValidation(model, data, side)()[MONITOR]
    print(f"top-1 {100 * top1:.2f} % on {len(data)} images of {data.name}, {side} pixels")


def _check_folders(model, data, entry):
    """Raises a `ValueError` unless the folders are the classes that an encoder was trained on."""
    from keras_crosscbam.datasets.listing import shorten_list

    names, count = (entry or {}).get("class_names"), model.output_shape[-1]
    if count != len(data.classes) or names not in (None, list(data.classes)):
        theirs = f" ({shorten_list(names)})" if names else ""
        raise ValueError(
            f"the encoder tells {count} classes apart{theirs}, but {data.name}/train has "
            f"{len(data.classes)} folders ({shorten_list(data.classes)}); they must be the same "
            "ones"
        )


def _predict(args):
    from keras_crosscbam.annotation_files import write_annotations
    from keras_crosscbam.classes import CITYSCAPES_CLASSES, CITYSCAPES_IDS
    from keras_crosscbam.datasets.loading import list_split
    from keras_crosscbam.label_files import PredictionError, write_predictions

    split = list_split(args.data, args.split)
    images = split.images()
    run, made_for = load_runtime(args)
    run = with_views(run, args)
    options = {
        "size": working_size(args, made_for),
        "progress": True,
        "root": split.image_root,
        "classes": CITYSCAPES_CLASSES if args.label_ids else split.classes,
        "value_range": split.value_range,
        "batch": args.batch,
    }
    try:
        if args.format == "png":
            ids = CITYSCAPES_IDS if args.label_ids else None
            written = write_predictions(run, images, args.out, ids, **options)
        else:
            written = write_annotations(run, images, args.out, args.format, **options)
    except PredictionError as error:
        print(f"crosscbam predict: {error}", file=sys.stderr)
        return 1
    print(f"{len(written)} files in {args.out}")
