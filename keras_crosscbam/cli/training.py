"""Commands around training: train, pretrain, doctor, benchmark-pipeline."""

import os
import sys
from pathlib import Path

from keras_crosscbam.cli.arguments import add_data, image_size


def add_commands(command):
    sub = command(_train, "train", "Train by a recipe; the same call resumes an interrupted run.")
    add_data(sub, hold_out="group of frames to leave out of training and to validate on")
    _add_recipe(sub, "camvid-m")

    sub = command(_pretrain, "pretrain", "Train an encoder as a classifier, for a later training.")
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="folder with train/CLASS/ and val/CLASS/, or several: the same class in two is one",
    )
    _add_recipe(sub, "imagenet20-stdc1")

    sub = command(_doctor, "doctor", "Look a data set through before training on it.")
    sub.add_argument("data", type=Path, help="folder of the data set")

    sub = command(_pipeline, "benchmark-pipeline", "Measure how fast training batches are made.")
    add_data(sub, split="train")
    sub.add_argument(
        "--crop", type=image_size, default=(360, 480), help="HEIGHTxWIDTH of the crops"
    )
    sub.add_argument("--batch", type=int, default=8)
    sub.add_argument("--seconds", type=float, default=5.0, help="length of each of five rounds")
    _add_settings(sub, "camvid-m")


def _add_recipe(sub, default):
    sub.set_defaults(next="The same command goes on after the last finished epoch.")
    sub.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    sub.add_argument("--weights", help="start from these weights")
    sub.add_argument(
        "--early-stopping",
        type=int,
        metavar="N",
        help="end the training after N validations in a row without a better one than the best",
    )
    _add_settings(sub, default)


def _add_settings(sub, default):
    sub.add_argument("--recipe", default=default, help=f"name of a recipe (default: {default})")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="another value for a field of the recipe, for instance --set seed=1",
    )


def _train(args):
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.training import RECIPES, train
    from keras_crosscbam.training.hold_out import hold_out

    recipe, out = _recipe(args, RECIPES)
    if args.hold_out:
        *splits, recipe = hold_out(args.data, args.hold_out, recipe)
        out = args.out or out.with_name(f"{out.name}-without-{args.hold_out}")
        print(
            f"Without {args.hold_out}: {len(splits[0])} frames to train on, {len(splits[1])} to "
            f"validate on; {recipe.steps_per_epoch} steps an epoch; the last weights are kept"
        )
    else:
        splits = [load_dataset(args.data, split) for split in ("train", "val")]
    best = _restart_if_worker_lost(lambda: train(*splits, recipe, out))
    print(f"{'Last' if recipe.keep == 'last' else 'Best'} weights: {best}")


def _pretrain(args):
    from keras_crosscbam.datasets.classification import load_image_folders
    from keras_crosscbam.training import PRETRAINING_RECIPES, pretrain

    recipe, out = _recipe(args, PRETRAINING_RECIPES)
    splits = [load_image_folders(args.data, split) for split in ("train", "val")]
    best = _restart_if_worker_lost(lambda: pretrain(*splits, recipe, out))
    print(f"Best weights, for backbone_weights=: {best}")


def _restart_if_worker_lost(training):
    """Runs a training; when another worker dies, this one starts anew and waits for its return."""
    from keras_crosscbam.training.distribution import WorkerLostError

    try:
        return training()
    except WorkerLostError as error:
        print(f"crosscbam: {error} Waiting for it.", file=sys.stderr, flush=True)
        # TensorFlow cannot leave a broken cluster and enter it again within one process.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _recipe(args, recipes):
    """The effective recipe and the folder of its run."""
    settings = args.set + ([f"weights={args.weights}"] if args.weights else [])
    if args.early_stopping is not None:
        settings.append(f"early_stopping={args.early_stopping}")
    recipe = _changed(args.recipe, recipes, settings)
    return recipe, args.out or Path("runs") / recipe.name


def _changed(name, recipes, settings):
    from keras_crosscbam.training import with_settings

    if name not in recipes:
        raise ValueError(f"--recipe must be one of {', '.join(recipes)}; got {name!r}")
    return with_settings(recipes[name], settings)


def _doctor(args):
    from keras_crosscbam.doctor import inspect_dataset, report

    findings = inspect_dataset(args.data)
    print(report(findings))
    return 0 if findings.ok else 1


def _pipeline(args):
    from keras_crosscbam.benchmark import pipeline_throughput
    from keras_crosscbam.datasets import load_dataset
    from keras_crosscbam.training import RECIPES
    from keras_crosscbam.training.segmentation import crop_options

    options = crop_options(_changed(args.recipe, RECIPES, args.set))
    data = load_dataset(args.data, args.split)
    rounds = pipeline_throughput(data, args.crop, args.batch, args.seconds, **options)
    print(
        f"training batches {args.batch}x{args.crop[0]}x{args.crop[1]}: images/s "
        f"{min(rounds):.0f} min, {sorted(rounds)[len(rounds) // 2]:.0f} median, "
        f"{max(rounds):.0f} max of {len(rounds)} rounds, {os.cpu_count()} cores"
    )
