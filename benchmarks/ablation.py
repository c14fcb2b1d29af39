"""Trains variations of one recipe with the same schedule, and prints their scores.

    $ python benchmarks/ablation.py --data CamVid --out runs/ablation
    $ python benchmarks/ablation.py --data CamVid --out runs/ablation --rows both --seeds 0 1 2
    $ python benchmarks/ablation.py --data CamVid --out runs/ablation --rows both-aux ohem dice
    $ python benchmarks/ablation.py --data CamVid --out runs/roads --rows both-aux ema \
          --hold-out 0006R0 0016E5

An interrupted run continues after its last epoch, and a finished run is only read.

With `--hold-out`, each row is trained once without each of these drives (or other groups of frames,
see `keras_crosscbam.training.hold_out`) and evaluated on the frames of that drive. All runs have
the same length, and the scores are those of the last epoch. The table contains the mean IoU of all
classes and of the frequent classes, which have at least 1 % of the labeled pixels in each of the
held-out groups. A drive shows only a few objects of a rarer class, so its IoU is unreliable but has
the same weight in the mean as that of the road.
"""

import argparse
import itertools
import statistics
from dataclasses import replace
from pathlib import Path

from keras_crosscbam import CrossCBAM, flops
from keras_crosscbam.datasets import load_dataset, load_held_out
from keras_crosscbam.training import RECIPES, Phase, with_settings
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.hold_out import hold_out
from keras_crosscbam.training.segmentation import MONITOR, train
from keras_crosscbam.variants import VARIANTS


def _network(**switches):
    return {"architecture": switches}


# Fields of the recipe that a row changes. `both` is the network of the paper, `both-aux` the
# unchanged recipe, and `sum` is `both` without the attention in CCBAM.
NETWORKS = {
    "baseline": {**_network(use_se_aspp=False, fusion=None), "aux_weight": 0.0},
    "se-aspp": {**_network(fusion=None), "aux_weight": 0.0},
    "ccbam": {**_network(use_se_aspp=False), "aux_weight": 0.0},
    "both": {"aux_weight": 0.0},
    "sum": {**_network(fusion="sum"), "aux_weight": 0.0},
    "both-aux": {},
    "rates-2-4": _network(aspp_dilation_rates=(2, 4)),
    "rates-3-5": _network(aspp_dilation_rates=(3, 5)),
    "rates-1-3-5": _network(aspp_dilation_rates=(1, 3, 5)),
    "relu-gates": _network(gate_activation="relu"),
    "width-128": _network(aspp_filters=128),
    "width-512": _network(aspp_filters=512),
}
SETTINGS = {
    "scratch": {"backbone_weights": None},
    "even-classes": {"class_balance": 0.0},
    "focal": {"loss": "focal"},
    "ohem": {"loss": "ohem"},
    "dice": {"loss": "ce:0.5,dice:0.5"},
    "label-smoothing": {"label_smoothing": 0.1},
    "ema": {"ema": 0.99},
    "class-mix": {"class_mix": 0.5},
    "balanced-sampling": {"balanced_sampling": True},
    "same-colors": {"photometric": False},
    "fewer-scales": {"scale_range": (0.75, 1.5)},
    "more-scales": {"scale_range": (0.5, 3.0)},
    "wider-scales": {"scale_range": (0.35, 3.0)},
    "appearance-0.5": {"appearance": 0.5},
    "appearance": {"appearance": 1.0},
    "rotation": {"rotation": 5.0},
    "erasing": {"erasing": 0.5},
    "average-epochs": {"average_epochs": 5},
    "frozen-statistics": {"freeze_batch_norm_epochs": 5},
    "weight-decay-0.01": {"weight_decay": 0.01},
    "rate-5e-4": {"learning_rate": 5e-4},
    "rate-2e-3": {"learning_rate": 2e-3},
}
ROWS = NETWORKS | SETTINGS


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipe", default="camvid-m", help="the recipe to vary")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 320), metavar=("H", "W"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--hold-out",
        nargs="+",
        default=[],
        metavar="GROUP",
        help="drives to exclude from training and to evaluate on, one at a time",
    )
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument(
        "--read", action="store_true", help="print existing results without training"
    )
    return parser.parse_args(arguments)


def recipe_of(args, row, seed):
    """Returns the recipe of one run."""
    common = with_settings(RECIPES[args.recipe], args.set)
    phases = (Phase(args.epochs, tuple(args.crop)),)
    return replace(common, phases=phases, seed=seed, **ROWS[row])


def folder_of(args, row, seed, held_out=None):
    return args.out / (f"{row}-{seed}" + (f"-without-{held_out}" if held_out else ""))


def validated(folder, epochs):
    """Returns the log rows with validations of a finished run; empty for other runs."""
    rows = EpochLog(folder / "log.csv").rows
    if not rows or rows[-1]["epoch"] < epochs:
        return []
    return [row for row in rows if MONITOR in row]


def score_of(folder, epochs):
    """Returns the best validation mean IoU of a finished run in percent; None for other runs."""
    return max((100 * row[MONITOR] for row in validated(folder, epochs)), default=None)


def last_scores_of(folder, epochs, classes):
    """Returns the mean IoU after the last epoch in percent, of all and of the given classes.

    It is None for a run that is not finished.
    """
    if not (rows := validated(folder, epochs)):
        return None
    frequent = [rows[-1][f"val_iou_{name}"] for name in classes]
    return 100 * rows[-1][MONITOR], 100 * statistics.mean(frequent)


def frequent_classes(args):
    """Returns the classes with at least 1 % of the labeled pixels in each held-out group."""
    frequent = None
    for group in args.hold_out:
        dataset = load_held_out(args.data, group)
        counts = dataset.count_pixels().sum(axis=0)
        names = [
            name
            for name, count in zip(dataset.classes.names, counts, strict=True)
            if count >= 0.01 * counts.sum()
        ]
        frequent = names if frequent is None else [name for name in frequent if name in names]
    return frequent


def cost_of(recipe):
    """Returns the parameters, and the MACs at the paper's size, without the auxiliary head."""
    variant = VARIANTS[recipe.variant]
    network = CrossCBAM(
        **recipe.network,
        input_shape=(*variant.input_size, 3),
        num_classes=variant.num_classes,
    )
    return network.count_params(), flops.count_macs(network)


def held_out_table(args):
    """Yields a table line for each row with results of all folds: the mean over the seeds."""
    classes, folds = frequent_classes(args), args.hold_out
    yield f"Mean IoU after the last epoch; frequent classes: {', '.join(classes)}"
    yield ""
    yield f"| row | seeds | {' | '.join(folds)} | mean of folds | frequent classes, mean of folds |"
    yield f"|---|---|{'---|' * len(folds)}---|---|"
    for row in args.rows:
        found = [
            [last_scores_of(folder_of(args, row, s, g), args.epochs, classes) for g in folds]
            for s in args.seeds
        ]
        found = [scores for scores in found if None not in scores]
        if not found:
            continue
        by_fold = [
            statistics.mean(score for score, _ in scores) for scores in zip(*found, strict=True)
        ]
        means = [statistics.mean(score for score, _ in scores) for scores in found]
        frequent = statistics.mean(score for scores in found for _, score in scores)
        yield (
            f"| {row} | {len(found)} | {' | '.join(f'{score:.2f}' for score in by_fold)} "
            f"| {with_spread(means)} | {frequent:.2f} |"
        )


def with_spread(scores):
    """Formats the mean, and the lowest and highest score if there are several."""
    spread = f" ({min(scores):.2f}..{max(scores):.2f})" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.2f}{spread}"


def table(args):
    """Yields a table line for each row with a result: cost, and mean, lowest and highest score."""
    yield "| row | parameters, M | MACs, G | seeds | validation mean IoU |"
    yield "|---|---|---|---|---|"
    for row in args.rows:
        found = [score_of(folder_of(args, row, seed), args.epochs) for seed in args.seeds]
        scores = [score for score in found if score is not None]
        if scores:
            params, macs = cost_of(recipe_of(args, row, args.seeds[0]))
            yield (
                f"| {row} | {params / 1e6:.2f} | {macs / 1e9:.2f} | {len(scores)} "
                f"| {with_spread(scores)} |"
            )


def run(args, row, seed, held_out=None):
    """Trains one row, without the held-out group of frames if one is given."""
    recipe, out = recipe_of(args, row, seed), folder_of(args, row, seed, held_out)
    if held_out:
        train_set, val_set, recipe = hold_out(args.data, held_out, recipe)
    else:
        train_set, val_set = (load_dataset(args.data, split) for split in ("train", "val"))
    print(f"{row}, seed {seed}: {out}", flush=True)
    train(train_set, val_set, recipe, out)


def main(args):
    if not args.read:
        for seed, row, group in itertools.product(args.seeds, args.rows, args.hold_out or [None]):
            run(args, row, seed, group)
    print("\n".join(held_out_table(args) if args.hold_out else table(args)))


if __name__ == "__main__":
    main(parse())
