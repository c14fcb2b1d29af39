"""The stages of converted networks as a program, on the backend that KERAS_BACKEND names.

    python backend_stages.py FOLDER OUTPUTS.npz

FOLDER holds, for each backbone, what `foreign_weights` saved of the PyTorch network,
`BACKBONE.pth`, and `images.npz` with images of several sizes. OUTPUTS.npz gets the outputs of each
stage as `BACKBONE/SIZE/STAGE`.
"""

import sys
from pathlib import Path

import keras
import numpy as np

import keras_crosscbam as kc

STAGES = ("stage3", "stage4", "stage5", "se_aspp", "ccbam4", "ccbam3")
VARIANTS = {"stdc1": "M", "stdc2": "L"}


def with_stages(model):
    """The model with the outputs of every stage beside its logits."""
    stages = {name: model.get_layer(name).output for name in STAGES}
    return keras.Model(model.input, {**stages, **model.output})


def converted(file, folder, backbone):
    """The Keras network with the weights of a file of PyTorch."""
    out = folder / f"{backbone}-{keras.backend.backend()}.weights.h5"
    kc.convert_weights(file, VARIANTS[backbone], out)
    return kc.CrossCBAM(backbone, weights=out, aux_head=True, input_shape=(None, None, 3))


def main(folder, outputs):
    folder = Path(folder)
    found = {}
    for file in sorted(folder.glob("*.pth")):
        network = with_stages(converted(file, folder, file.stem))
        for size, images in np.load(folder / "images.npz").items():
            for stage, output in network(images).items():
                found[f"{file.stem}/{size}/{stage}"] = keras.ops.convert_to_numpy(output)
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
