"""Commands for training: train, pretrain, doctor, benchmark-pipeline."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from keras_crosscbam.cli.arguments import add_data, image_size


def add_commands(command):
    sub = command(_train, "train", "Train with a recipe; the same command resumes a run.")
    part = add_data(sub, hold_out="group of frames to exclude from training and to validate on")
    part.add_argument(
        "--with-val",
        action="store_true",
        help="also train on the frames of the val split, for final weights; keeps the last "
        "weights, because the validation score is then a score on training frames",
    )
    _add_recipe(sub, "camvid-m")

    sub = command(_pretrain, "pretrain", "Train an encoder as a classifier, for use in a network.")
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="DIR",
        help="one or several folders with train/CLASS/ and val/CLASS/; equal class names are one "
        "class",
    )
    _add_recipe(sub, "imagenet20-stdc1")

    sub = command(_doctor, "doctor", "Check a data set for errors before training.")
    sub.add_argument("data", type=Path, help="folder of the data set")

    sub = command(_pipeline, "benchmark-pipeline", "Measure the speed of the input pipeline.")
    add_data(sub, split="train")
    sub.add_argument(
        "--crop", type=image_size, default=(360, 480), help="HEIGHTxWIDTH of the crops"
    )
    sub.add_argument("--batch", type=int, default=8)
    sub.add_argument("--seconds", type=float, default=5.0, help="duration of each of five rounds")
    _add_settings(sub, "camvid-m")


def _add_recipe(sub, default):
    sub.set_defaults(next="The same command continues after the last finished epoch.")
    sub.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    sub.add_argument("--weights", help="start from these weights")
    sub.add_argument(
        "--early-stopping",
        type=int,
        metavar="N",
        help="end the training after N validations without an improvement",
    )
    _add_settings(sub, default)


def _add_settings(sub, default):
    sub.add_argument("--recipe", default=default, help=f"name of a recipe (default: {default})")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, for example --set seed=1",
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
            f"Without {args.hold_out}: {len(splits[0])} training frames, {len(splits[1])} "
            f"validation frames, {recipe.steps_per_epoch} steps per epoch; keeps the last weights"
        )
    elif args.with_val:
        splits = [load_dataset(args.data, split) for split in (("train", "val"), "val")]
        recipe = replace(recipe, keep="last")
        out = args.out or out.with_name(f"{out.name}-with-val")
        print(
            f"{len(splits[0])} training frames, which include those of val: the validation score "
            "shows how well they are learned, not the accuracy on other frames; keeps the last "
            "weights"
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
    """Runs a training; if another worker fails, restarts this process, which waits for it."""
    from keras_crosscbam.training.distribution import WorkerLostError

    try:
        return training()
    except WorkerLostError as error:
        print(f"crosscbam: {error} Waiting for it.", file=sys.stderr, flush=True)
        # TensorFlow cannot leave a failed cluster and join it again within one process.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _recipe(args, recipes):
    """Returns the recipe with the changed settings, and the folder of its run."""
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
