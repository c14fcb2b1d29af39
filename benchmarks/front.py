"""Trains networks alike, times them alike, and draws their accuracy against their time.

    $ python benchmarks/front.py --data CamVid --out runs/front --hold-out 0006R0 0016E5
    $ python benchmarks/front.py --data CamVid --out runs/front --stages train --networks sctnet-s
    $ python benchmarks/front.py --out runs/front --stages draw

All networks are trained by one recipe, once without each held-out drive (or other group of frames,
see `keras_crosscbam.training.hold_out`), and evaluated on the frames of that drive after the last
epoch. They have no heads that only training uses. Files for each runtime, with the rewrites of
`keras_crosscbam.export.rewrites` for all networks, are timed in interleaved rounds. INT8 files are
also evaluated on the held-out drive.

Results are kept in the folder `--out`: `results/` and `quantization/` per network, `times/` per
runtime. What exists is not computed again, and an interrupted training continues. The last stage
writes `front.md` and `front.svg` from what exists, so the stages can run one by one and on
different machines.
"""

import argparse
import itertools
import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
from front_networks import NETWORKS, REFERENCE, build
from front_picture import draw
from front_table import table
from front_timing import (
    RUNTIMES,
    file_of,
    measure_loss,
    quantization_of,
    ratios,
    shape_text,
    time_networks,
    write_file,
    write_json,
)

from keras_crosscbam import flops
from keras_crosscbam.benchmark import Report
from keras_crosscbam.datasets import load_dataset, load_held_out
from keras_crosscbam.training import RECIPES, Phase, train, with_settings
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.hold_out import hold_out
from keras_crosscbam.training.resumable import CHECKPOINTS, LOG
from keras_crosscbam.training.segmentation import MONITOR

STAGES = ("train", "quantize", "time", "draw")
COUNTED_SIZE = (512, 1024)
"""The size at which multiply-accumulates are counted, that of the published counts."""


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data set; not needed to draw")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument(
        "--hold-out",
        nargs="+",
        default=["0006R0", "0016E5"],
        metavar="GROUP",
        help="drives to exclude from training and to evaluate on, one at a time; the networks "
        "without the first one are timed (default: 0006R0 0016E5)",
    )
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, default=20)
    group.add_argument("--steps", type=int, default=33, help="steps in an epoch (default: 33)")
    group.add_argument("--crop", type=_size, default=(256, 320), metavar="HEIGHTxWIDTH")
    group.add_argument(
        "--encoder-weights", default="imagenet20", help="name of encoder weights to start from"
    )
    group.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    group = parser.add_argument_group("timing")
    group.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    group.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        default=[(360, 480), (512, 1024)],
        metavar="HEIGHTxWIDTH",
        help="image sizes; at the first one INT8 is evaluated and the picture is drawn "
        "(default: 360x480 512x1024)",
    )
    group.add_argument("--threads", type=int, help="number of cores to use (default: all)")
    group.add_argument("--rounds", type=int, default=16)
    args = parser.parse_args(arguments)
    if args.data is None and set(args.stages) != {"draw"}:
        parser.error("--data is needed for every stage except draw")
    if "time" in args.stages and REFERENCE not in args.networks:
        parser.error(f"--networks must contain {REFERENCE}, to which the times are relative")
    return args


def _size(text):
    height, width = map(int, text.split("x"))
    return height, width


def recipe_of(args):
    """Returns the recipe of all trainings: that of `camvid-m`, without a network and weights."""
    recipe = replace(
        RECIPES["camvid-m"],
        name="front",
        phases=(Phase(args.epochs, args.crop),),
        steps_per_epoch=args.steps,
        validation_freq=args.epochs,
        backbone_weights=None,
        aux_weight=0.0,
    )
    return with_settings(recipe, args.set)


def settings_of(args):
    """Returns what all results in the folder `--out` have in common, as JSON values."""
    recipe = recipe_of(args)
    return {
        "epochs": recipe.epochs,
        "steps_per_epoch": recipe.steps_per_epoch,
        "batch_size": recipe.batch_size,
        "crop": list(args.crop),
        "encoder_weights": args.encoder_weights,
        "set": sorted(args.set),
    }


def bind(args):
    """Writes the settings into the folder `--out`, or checks that they are the same.

    Raises:
        ValueError: if the folder contains results with other settings.
    """
    file, settings = args.out / "settings.json", settings_of(args)
    before = json.loads(file.read_text()) if file.is_file() else settings
    if changed := [name for name in settings if before.get(name) != settings[name]]:
        changes = ", ".join(f"{n} was {before.get(n)!r}, is {settings[n]!r}" for n in changed)
        raise ValueError(
            f"{args.out} contains results of trainings with other settings ({changes}). Choose "
            "another folder, or the same settings."
        )
    write_json(file, settings)


def result_of(out, name, group):
    """Returns the path of the result of a training."""
    return out / "results" / f"{name}-without-{group}.json"


def train_network(args, name, group):
    """Trains a network without a group of frames, and writes its result, unless it exists."""
    result = result_of(args.out, name, group)
    if result.exists():
        return
    keras.utils.clear_session()  # frees the memory of earlier networks
    train_set, held_out, recipe = hold_out(args.data, group, recipe_of(args))
    folder = args.out / "runs" / f"{name}-without-{group}"
    print(f"{name} without {group}: {folder}", flush=True)
    make = partial(build, name, args.encoder_weights)
    train(train_set, held_out, recipe, folder, build=make)
    row = EpochLog(folder / LOG).rows[-1]
    counted = make((*COUNTED_SIZE, 3), held_out.classes)
    scores = {
        "mean_iou": row[MONITOR],
        "iou": {label: row[f"val_iou_{label}"] for label in held_out.classes.names},
        "frames": len(held_out),
        "train_frames": len(train_set),
        "parameters": sum(math.prod(weight.shape) for weight in counted.trainable_weights),
        "macs": flops.count_macs(counted, convention="conv"),
    }
    write_json(result, {"network": name, "hold_out": group, **scores})
    shutil.rmtree(folder / CHECKPOINTS)


def trained_model(args, name, group, size, classes):
    """Returns the trained network for images of a size.

    Raises:
        ValueError: if the network is not trained yet.
    """
    if not result_of(args.out, name, group).exists():
        raise ValueError(
            f"{args.out} has no result of {name} without {group}. Run the stage train first."
        )
    keras.utils.clear_session()  # frees the memory of earlier networks
    model = build(name, args.encoder_weights, (*size, 3), classes)
    model.load_weights(args.out / "runs" / f"{name}-without-{group}" / "best.weights.h5")
    return model


def quantize_network(args, name, group):
    """Writes the mean IoU of a network in INT8 for each runtime, unless it exists."""
    train_set = load_dataset(args.data, "train", without=[group])
    held_out, size = load_held_out(args.data, group), args.sizes[0]
    for runtime in (RUNTIMES[key] for key in args.runtimes if RUNTIMES[key].int8):
        result = quantization_of(args.out, name, group, runtime)
        if not result.exists():
            model = trained_model(args, name, group, size, train_set.classes)
            path = file_of(args.out, name, group, runtime, size)
            measure_loss(model, path, runtime, size, train_set, held_out, result)


def report_of(out, key, size):
    """Returns the path of the benchmark report of a runtime at a size."""
    return out / "times" / f"{key}-{shape_text(size)}.json"


def time_runtime(args, key, size):
    """Writes missing files of all networks for a runtime at a size, and times them."""
    runtime, group = RUNTIMES[key], args.hold_out[0]
    train_set = load_dataset(args.data, "train", without=[group])
    files = {name: file_of(args.out, name, group, runtime, size) for name in args.networks}
    for name, path in files.items():
        if not path.exists():
            model = trained_model(args, name, group, size, train_set.classes)
            write_file(model, path, runtime, size, train_set)
    time_networks(files, runtime.engine, report_of(args.out, key, size), args.threads, args.rounds)


def collect(args):
    """Reads all results in the folder `--out`.

    Returns:
        A dict of JSON values, except for the `Interval`s of times:

        - `"groups"`: the held-out groups.
        - `"settings"`: the result of `settings_of`; None if nothing was trained.
        - `"accuracy"`: by network and group, the result of its training.
        - `"times"`: by size as text, runtime and network, an `Interval` relative to `REFERENCE`.
        - `"int8"`: by network, runtime and group, the mean IoU of `"fp32"` and `"int8"`.
        - `"machine"`: processor and number of threads of the times; None without times.
    """
    found = {
        "groups": args.hold_out,
        "settings": None,
        "accuracy": {},
        "times": {},
        "int8": {},
        "machine": None,
    }
    if (file := args.out / "settings.json").is_file():
        found["settings"] = json.loads(file.read_text())
    for name, group in itertools.product(args.networks, args.hold_out):
        if (file := result_of(args.out, name, group)).is_file():
            found["accuracy"].setdefault(name, {})[group] = json.loads(file.read_text())
        for key in args.runtimes:
            file = quantization_of(args.out, name, group, RUNTIMES[key])
            if RUNTIMES[key].int8 and file.is_file():
                losses = found["int8"].setdefault(name, {}).setdefault(key, {})
                losses[group] = json.loads(file.read_text())
    for size, key in itertools.product(args.sizes, args.runtimes):
        if (file := report_of(args.out, key, size)).is_file():
            report = Report.from_json(file.read_text())
            found["times"].setdefault(shape_text(size), {})[key] = ratios(report)
            threads = report.setting["threads"] or len(report.setting["affinity"] or ())
            found["machine"] = f"{report.machine['cpu']}, {threads} threads"
    return found


def main(args):
    if "train" in args.stages:
        bind(args)
        for group, name in itertools.product(args.hold_out, args.networks):
            train_network(args, name, group)
    if "quantize" in args.stages:
        for group, name in itertools.product(args.hold_out, args.networks):
            quantize_network(args, name, group)
    if "time" in args.stages:
        for size, key in itertools.product(args.sizes, args.runtimes):
            time_runtime(args, key, size)
    if "draw" in args.stages:
        found = collect(args)
        text = table(found)
        (args.out / "front.md").write_text(text, encoding="utf-8")
        (args.out / "front.svg").write_text(draw(found), encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main(parse())
