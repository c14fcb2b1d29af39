"""A forward pass as a program, on the backend that KERAS_BACKEND names.

    python backend_forward.py FOLDER OUTPUTS.npz

FOLDER holds `images.npz` and the weights of a large and of a small network, `model.weights.h5` and
`small.weights.h5`. OUTPUTS.npz gets the large one's logits of both heads and its encoder's feature
maps, the small one's logits, and those as they are taught to the large one.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from small_network import SMALL

import keras_crosscbam
from keras_crosscbam.models.weights import find_weights
from keras_crosscbam.training.teachers import with_teachers

IMAGE_SHAPE = (97, 129, 3)


def build_models():
    common = {"input_shape": IMAGE_SHAPE, "num_classes": 5}
    return {
        "model": keras_crosscbam.CrossCBAM_M(**common, aux_head=True),
        "small": keras_crosscbam.CrossCBAM(**common, **SMALL),
    }


def main(folder, outputs):
    folder, models = Path(folder), build_models()
    weights = {name: find_weights(folder / f"{name}.weights.h5", "") for name in models}
    for name, model in models.items():
        weights[name].load_into(model)
    stages = {
        name: models["model"].get_layer(name).output for name in ("stage3", "stage4", "stage5")
    }
    taught = with_teachers(models["model"], [weights["small"]], {})
    forward = keras.Model(taught.input, {**taught.output, **stages})
    images = np.load(folder / "images.npz")["images"]
    small = models["small"].predict(images, verbose=0)
    np.savez(outputs, small=small, **forward.predict(images, verbose=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
