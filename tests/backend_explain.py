"""Prints Grad-CAM and gates of a small network on the backend of the environment, as JSON."""

import json
import sys

import keras
import numpy as np

import keras_crosscbam as kc

keras.utils.set_random_seed(11)
model = kc.CrossCBAM("stdc1", num_classes=4, input_shape=(None, None, 3), alpha=0.125)
rng = np.random.default_rng(11)
for variable in model.trainable_weights:
    if "kernel" in variable.path:
        variable.assign(rng.normal(scale=0.1, size=variable.shape))
image = np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8)
explanation = kc.explain(model, image, "class 1")  # some pixels have it, others do not
gates = {**explanation.channel_gates, **explanation.spatial_gates}
json.dump(
    {"grad_cam": explanation.grad_cam.tolist(), **{n: g.tolist() for n, g in gates.items()}},
    sys.stdout,
)
