"""A forward pass as a program, on the backend that KERAS_BACKEND names.

    python backend_forward.py MODEL.weights.h5 IMAGES.npz OUTPUTS.npz

IMAGES.npz holds `images`; OUTPUTS.npz gets both heads' logits and the encoder's feature maps.
"""

import sys

import keras
import numpy as np

import keras_crosscbam

IMAGE_SHAPE = (97, 129, 3)


def build_model(weights=None):
    return keras_crosscbam.CrossCBAM(
        "stdc1", input_shape=IMAGE_SHAPE, num_classes=5, aux_head=True, weights=weights
    )


def main(weights, images, outputs):
    model = build_model(weights)
    stages = {name: model.get_layer(name).output for name in ("stage3", "stage4", "stage5")}
    forward = keras.Model(model.input, {**model.output, **stages})
    np.savez(outputs, **forward.predict(np.load(images)["images"], verbose=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
