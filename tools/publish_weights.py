"""Publishes the weights of a finished training run, with a manifest entry.

    $ python tools/publish_weights.py runs/camvid-m --name camvid --data CamVid \
          --full-size CamVid-960x720 --size 540x720 --imagenet \
          --hardware "2 CPU cores" --note "..."

    $ python tools/publish_weights.py runs/camvid-m-with-val --name camvid --data CamVid \
          --held-out 0006R0=runs/camvid-m-without-0006R0 0016E5=runs/camvid-m-without-0016E5 ...

Writes `weights/ARCHITECTURE_NAME.weights.h5` in float16, loads the file with the public builders,
evaluates it on the validation split, for CamVid also on the frames at full size, and writes the
results to `weights/manifest.json`. Weights that were trained on the validation frames too are not
evaluated on them. For these, `--held-out` evaluates runs of the same recipe without a drive. For a
pretrained encoder, the data set is the folder of its images.
"""

import argparse
import json
import subprocess
from dataclasses import asdict
from functools import partial
from pathlib import Path

import h5py
import keras

import keras_crosscbam as kc
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.datasets.classification import load_image_folders
from keras_crosscbam.datasets.loading import list_split, load_held_out
from keras_crosscbam.manifest import MANIFEST
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.classification import MONITOR as ENCODER_MONITOR
from keras_crosscbam.training.classification import TopOneValidation
from keras_crosscbam.training.hold_out import has_seen
from keras_crosscbam.training.resumable import BEST, DESCRIPTION, LOG
from keras_crosscbam.training.segmentation import MONITOR
from keras_crosscbam.variants import VARIANTS, encoder_name

WEIGHTS = Path(__file__).parents[1] / "weights"
ANY_SIZE = (None, None, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--name", required=True, help="name of the weights, such as camvid")
    parser.add_argument(
        "--data", type=Path, required=True, nargs="+", help="folder of the data set, or folders"
    )
    parser.add_argument("--full-size", type=Path, help="folder of CamVid at 960x720")
    parser.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="DRIVE=RUN",
        help="runs of the same recipe without a drive, to evaluate on that drive",
    )
    parser.add_argument(
        "--imagenet", action="store_true", help="the encoder was pretrained on ImageNet's images"
    )
    parser.add_argument("--hardware", required=True, help="hardware of the training")
    parser.add_argument("--size", required=True, help="HEIGHTxWIDTH of the evaluation")
    parser.add_argument("--note", default="", help="further information about the training")
    args = parser.parse_args()

    described = json.loads((args.run / DESCRIPTION).read_text())
    recipe = described["recipe"]
    is_encoder = "backbone" in recipe
    network = recipe if is_encoder else asdict(VARIANTS[recipe["variant"]])
    # Older runs have no width multiplier.
    backbone, alpha = network["backbone"], network.get("alpha", 1.0)
    encoder = encoder_name(backbone, alpha)
    architecture = encoder if is_encoder else f"cross_cbam_{encoder}"
    target = WEIGHTS / f"{architecture}_{args.name}.weights.h5"
    to_float16(args.run / BEST, target)
    # The hash is passed explicitly, because the manifest still contains that of the old file.
    digest = file_sha256(target)
    published = f"{target}#sha256={digest}"

    size = tuple(map(int, args.size.split("x")))
    build = partial(kc.STDC if is_encoder else kc.CrossCBAM, backbone, ANY_SIZE, alpha=alpha)
    measure = (
        partial(measure_encoder, images=described["data"])
        if is_encoder
        else partial(
            measure_segmentation,
            full_size=args.full_size,
            imagenet=args.imagenet,
            frames=described["data"]["train_frames"],
            held_out=dict(pair.split("=", 1) for pair in args.held_out),
        )
    )
    entry = {
        "name": args.name,
        "architecture": architecture,
        "file": target.name,
        "sha256": digest,
        "input_size": size,
        "recipe": recipe,
        "note": args.note,
        "hardware": args.hardware,
        "commit": commit(),
        "keras": keras.__version__,
        **measure(build, args.run / BEST, published, args.data, size),
        "val_curve": {
            int(row["epoch"]): round(row[name], 4)
            for row in EpochLog(args.run / LOG).rows
            for name in (MONITOR, ENCODER_MONITOR)
            if name in row
        },
    }
    write_entry(entry)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


def commit():
    """Returns the current commit as 12 hexadecimal digits."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.check_output(command, cwd=WEIGHTS, text=True).strip()


def measure_segmentation(build, best, published, data, size, full_size, imagenet, frames, held_out):
    """Evaluates a network on CamVid; returns the fields of its manifest entry.

    Args:
        frames: number of frames that the network was trained on.
        held_out: dict from a drive to the folder of a run without it.
    """
    (data,) = data
    splits = ("train", "val") if frames > len(list_split(data, "train").frames) else ("train",)
    val = kc.datasets.load_camvid(data, "val")
    scores = [kc.evaluate(build(weights=p), val, size, progress=True) for p in (best, published)]
    print(f"mean IoU float32 {scores[0]['mean_iou']:.6f}, float16 {scores[1]['mean_iou']:.6f}")
    measured = {}
    if splits == ("train",):
        full = measure_full_size(build(weights=published), full_size, size)
        measured = {**figures(scores[1]), "val_full_size": full}
    unseen = {
        drive: figures(evaluate_unseen(build, Path(run) / BEST, data, drive, size), "")
        for drive, run in held_out.items()
    }
    return {
        **measured,
        **({"held_out": unseen} if unseen else {}),
        "num_classes": val.classes.num_classes,
        "classes": "camvid",
        "test_mean_iou": None,  # set after an evaluation on the test frames
        "data": f"CamVid, {' and '.join(splits)} split ({frames} frames, 480x360)",
        "drives": list(list_split(data, splits).groups),
        "license": "weights: Apache-2.0; CamVid's frames: see its authors' terms"
        + ("; pretrained on images under ImageNet's terms" if imagenet else ""),
    }


def evaluate_unseen(build, weights, data, drive, size):
    """Returns the result of weights on a drive. Raises a `ValueError` if they have seen it."""
    if has_seen(weights, "camvid", drive):
        raise ValueError(f"{weights} was trained on frames of {drive}")
    return kc.evaluate(build(weights=weights), load_held_out(data, drive), size, progress=True)


def figures(result, prefix="val_"):
    """Returns the fields of the manifest entry for a result of `evaluate`."""
    return {
        f"{prefix}frames": result["frames"],
        f"{prefix}mean_iou": round(result["mean_iou"], 6),
        f"{prefix}classes_in_mean": result["classes_in_mean"],
        f"{prefix}pixel_accuracy": round(result["pixel_accuracy"], 6),
        f"{prefix}iou": {name: round(iou, 6) for name, iou in result["iou"].items()},
    }


def measure_full_size(model, data, size):
    """Returns the figures for labels of 960x720 pixels."""
    val = kc.datasets.load_camvid(data, "val")
    return figures(kc.evaluate(model, val, size, progress=True))


def measure_encoder(build, best, published, data, size, images):
    """Evaluates a classifier on ImageNet's classes; returns the fields of its manifest entry."""
    val = load_image_folders(data, "val")
    scores = [
        TopOneValidation(build(weights=p), val, min(size))()[ENCODER_MONITOR]
        for p in (best, published)
    ]
    print(f"top-1 float32 {scores[0]:.4f}, float16 {scores[1]:.4f}")
    return {
        "num_classes": len(val.classes),
        "class_names": val.classes,
        "data": f"{len(val.classes)} classes of ImageNet, {images['train_images']:,} images",
        "license": "ImageNet's terms: non-commercial research and education",
        "val_images": len(val),
        "val_top1": round(scores[1], 4),
    }


def to_float16(source, target):
    """Copies a weights file with all names, and converts the weights to float16."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                # Class names are stored as bytes and are not converted.
                weights = item.dtype.kind == "f"
                new.create_dataset(name, data=item[()].astype("float16") if weights else item[()])
            else:
                new.require_group(name).attrs.update(item.attrs)

        old.visititems(copy)


def write_entry(entry):
    """Writes an entry into the manifest, and replaces an older entry of the same name."""
    manifest = WEIGHTS / MANIFEST
    entries = json.loads(manifest.read_text())["weights"] if manifest.exists() else []
    key = (entry["name"], entry["architecture"])
    entries = [e for e in entries if (e["name"], e["architecture"]) != key] + [entry]
    manifest.write_text(json.dumps({"weights": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
