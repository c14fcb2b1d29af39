"""Averages that leave the padding out, as a program on the backend of KERAS_BACKEND.

python backend_pooling.py INPUTS.npz OUTPUTS.npz
"""

import sys

import keras
import numpy as np
from keras import layers

from keras_crosscbam.layers import UncountPadding


def main(inputs, outputs):
    found = {}
    for name, x in np.load(inputs).items():
        counted = layers.AveragePooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
        found[name] = keras.ops.convert_to_numpy(UncountPadding()([counted, x]))
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
