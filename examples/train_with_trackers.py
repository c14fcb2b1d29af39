"""Trains a network and logs to Weights & Biases and MLflow, both without a network connection.

    $ pip install ".[tensorflow,trackers]"
    $ python examples/train_with_trackers.py --data CamVid --out runs/tracked

Every call is a separate run in both trackers, also a call that resumes an interrupted training.
`wandb sync OUT/wandb/offline-run-*` uploads the Weights & Biases run to a server, and
`mlflow ui --backend-store-uri sqlite:///OUT/mlflow.db` shows the MLflow run. To log to servers
directly, remove `mode="offline"`, and pass the address of your server to
`mlflow.set_tracking_uri`.
"""

import argparse
import os
from pathlib import Path

# Prevents MLflow from sending usage statistics.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import mlflow.keras
import wandb
from wandb.integration.keras import WandbMetricsLogger

from keras_crosscbam.datasets import load_dataset
from keras_crosscbam.training import RECIPES, with_settings
from keras_crosscbam.training.segmentation import train


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--recipe", default="camvid-m", choices=RECIPES)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/tracked"))
    args = parser.parse_args()

    recipe = with_settings(RECIPES[args.recipe], args.set)
    train_set, val_set = (load_dataset(args.data, split) for split in ("train", "val"))
    args.out.mkdir(parents=True, exist_ok=True)

    mlflow.set_tracking_uri(f"sqlite:///{args.out.resolve()}/mlflow.db")
    if mlflow.get_experiment_by_name(recipe.name) is None:
        mlflow.create_experiment(recipe.name, (args.out / "mlflow").resolve().as_uri())
    mlflow.set_experiment(recipe.name)
    with (
        wandb.init(project=recipe.name, dir=args.out, mode="offline"),
        mlflow.start_run(),
    ):
        best = train(
            train_set,
            val_set,
            recipe,
            args.out,
            callbacks=[WandbMetricsLogger(), mlflow.keras.MlflowCallback()],
        )
    print(f"Best weights: {best}")


if __name__ == "__main__":
    main()
