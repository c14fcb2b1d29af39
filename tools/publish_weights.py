"""Turns a finished training run into shipped weights with their manifest entry.

    $ python tools/publish_weights.py runs/camvid-m --name camvid --data CamVid \
          --size 360x480 --note "..."

Writes `weights/cross_cbam_BACKBONE_NAME.weights.h5` in float16, loads it back the way users do,
measures it on the validation split, and enters all that in `weights/manifest.json`.
"""

import argparse
import json
from pathlib import Path

import h5py
import keras

import keras_crosscbam as kc
from keras_crosscbam.models.manifest import MANIFEST, sha256
from keras_crosscbam.training.fit import MONITOR
from keras_crosscbam.training.log import EpochLog
from keras_crosscbam.training.run import BEST, DESCRIPTION, LOG
from keras_crosscbam.variants import VARIANTS

WEIGHTS = Path(__file__).parents[1] / "weights"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--name", required=True, help="name of the weights, such as camvid")
    parser.add_argument("--data", type=Path, required=True, help="folder of CamVid")
    parser.add_argument("--size", required=True, help="HEIGHTxWIDTH of the evaluation")
    parser.add_argument("--note", default="", help="what else users should know of the training")
    args = parser.parse_args()

    recipe = json.loads((args.run / DESCRIPTION).read_text())["recipe"]
    backbone = VARIANTS[recipe["variant"]].backbone
    target = WEIGHTS / f"cross_cbam_{backbone}_{args.name}.weights.h5"
    to_float16(args.run / BEST, target)

    size = tuple(map(int, args.size.split("x")))
    build = getattr(kc, f"CrossCBAM_{recipe['variant']}")
    val = kc.datasets.load_camvid(args.data, "val")
    scores = [
        kc.evaluate(build(weights=path, input_shape=(None, None, 3)), val, size, progress=True)
        for path in (args.run / BEST, target)
    ]
    print(f"mean IoU float32 {scores[0]['mean_iou']:.6f}, float16 {scores[1]['mean_iou']:.6f}")
    entry = {
        "name": args.name,
        "architecture": f"cross_cbam_{backbone}",
        "file": target.name,
        "sha256": sha256(target),
        "num_classes": len(val.classes),
        "classes": "camvid",
        "input_size": size,
        "data": "CamVid, train split (367 frames, 480x360)",
        "licence": "weights: Apache-2.0; CamVid's frames: see its authors' terms",
        "recipe": recipe,
        "note": args.note,
        "keras": keras.__version__,
        "val_frames": scores[1]["frames"],
        "val_mean_iou": round(scores[1]["mean_iou"], 6),
        "val_pixel_accuracy": round(scores[1]["pixel_accuracy"], 6),
        "val_iou": {name: round(iou, 6) for name, iou in scores[1]["iou"].items()},
        "val_curve": {
            int(row["epoch"]): round(row[MONITOR], 4)
            for row in EpochLog(args.run / LOG).rows
            if MONITOR in row
        },
    }
    write_entry(entry)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, sha256 {entry['sha256']}")


def to_float16(source, target):
    """Copies a weights file with its names, but every number in half the bytes."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                new.create_dataset(name, data=item[()].astype("float16"))
            else:
                new.require_group(name).attrs.update(item.attrs)

        old.visititems(copy)


def write_entry(entry):
    """Puts an entry into the manifest, in the place of an older one of the same name."""
    manifest = WEIGHTS / MANIFEST
    entries = json.loads(manifest.read_text())["weights"] if manifest.exists() else []
    key = (entry["name"], entry["architecture"])
    entries = [e for e in entries if (e["name"], e["architecture"]) != key] + [entry]
    manifest.write_text(json.dumps({"weights": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
