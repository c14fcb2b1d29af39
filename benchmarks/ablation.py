"""Trains variations of one recipe, all by the same schedule, and prints what each is worth.

    $ python benchmarks/ablation.py --data CamVid --out runs/ablation
    $ python benchmarks/ablation.py --data CamVid --out runs/ablation --rows both --seeds 0 1 2
    $ python benchmarks/ablation.py --data CamVid --out runs/ablation --rows both-aux ohem dice

A run that was interrupted goes on where it was, a finished one is only read.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

from keras_crosscbam import CrossCBAM, flops
from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.training import RECIPES, Phase, with_settings
from keras_crosscbam.training.fit import MONITOR, train
from keras_crosscbam.training.log import EpochLog
from keras_crosscbam.variants import VARIANTS


def _network(**switches):
    return {"architecture": switches}


# Fields of the recipe that a row changes. `both` is the network of the paper, `both-aux` the recipe
# as it is; `sum` is `both` without the attention in CCBAM.
NETWORKS = {
    "baseline": {**_network(use_se_aspp=False, use_ccbam=False), "aux_weight": 0.0},
    "se-aspp": {**_network(use_ccbam=False), "aux_weight": 0.0},
    "ccbam": {**_network(use_se_aspp=False), "aux_weight": 0.0},
    "both": {"aux_weight": 0.0},
    "sum": {**_network(use_ccbam="sum"), "aux_weight": 0.0},
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
    "same-colours": {"photometric": False},
    "fewer-scales": {"scale_range": (0.75, 1.5)},
    "more-scales": {"scale_range": (0.5, 3.0)},
    "weight-decay-0.01": {"weight_decay": 0.01},
    "rate-5e-4": {"learning_rate": 5e-4},
    "rate-2e-3": {"learning_rate": 2e-3},
}
ROWS = NETWORKS | SETTINGS


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--recipe", default="camvid-m", help="recipe that is varied")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--crop", type=int, nargs=2, default=(256, 320), metavar=("H", "W"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--read", action="store_true", help="print what there is, train nothing")
    return parser.parse_args(arguments)


def recipe_of(args, row, seed):
    """The recipe of one run."""
    common = with_settings(RECIPES[args.recipe], args.set)
    phases = (Phase(args.epochs, tuple(args.crop)),)
    return replace(common, phases=phases, seed=seed, **ROWS[row])


def folder_of(args, row, seed):
    return args.out / f"{row}-{seed}"


def score_of(folder, epochs):
    """The best validation mean IoU of a finished run in per cent, None of another one."""
    rows = EpochLog(folder / "log.csv").rows
    if not rows or rows[-1]["epoch"] < epochs:
        return None
    return 100 * max(row[MONITOR] for row in rows if MONITOR in row)


def cost_of(recipe):
    """Parameters and MACs of a frame of the paper's size, without the auxiliary head."""
    variant = VARIANTS[recipe.variant]
    network = CrossCBAM(
        **recipe.network,
        input_shape=(*variant.input_size, 3),
        num_classes=variant.num_classes,
    )
    return network.count_params(), flops.count_macs(network)


def table(args):
    """A line for each row of which there is a result: its cost; mean, lowest and highest score."""
    yield "| row | parameters, M | MACs, G | seeds | validation mean IoU |"
    yield "|---|---|---|---|---|"
    for row in args.rows:
        found = [score_of(folder_of(args, row, seed), args.epochs) for seed in args.seeds]
        scores = [score for score in found if score is not None]
        if scores:
            spread = f" ({min(scores):.2f}..{max(scores):.2f})" if len(scores) > 1 else ""
            params, macs = cost_of(recipe_of(args, row, args.seeds[0]))
            yield (
                f"| {row} | {params / 1e6:.2f} | {macs / 1e9:.2f} | {len(scores)} "
                f"| {statistics.mean(scores):.2f}{spread} |"
            )


def main(args):
    if not args.read:
        train_set, val_set = (load_dataset(args.data, split) for split in ("train", "val"))
        for seed in args.seeds:
            for row in args.rows:
                out = folder_of(args, row, seed)
                print(f"{row}, seed {seed}: {out}", flush=True)
                train(train_set, val_set, recipe_of(args, row, seed), out)
    print("\n".join(table(args)))


if __name__ == "__main__":
    main(parse())
