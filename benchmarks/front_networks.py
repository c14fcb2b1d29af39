"""The networks of `front.py`, with the weights that their trainings start from.

>>> from front_networks import NETWORKS
>>> NETWORKS["pp-liteseg-t"]
Network(title='PP-LiteSeg-T', encoder='stdc1', alpha=1.0, ours=False)
"""

from dataclasses import dataclass

from peers import PEERS

import keras_crosscbam as kc
from keras_crosscbam.models.narrow import narrowed
from keras_crosscbam.models.weights import find_weights


@dataclass(frozen=True)
class Network:
    """A network that is compared.

    Attributes:
        title: name in the table and in the picture.
        encoder: architecture of the encoder weights that it starts from; None to start from random
            weights.
        alpha: width multiplier of the encoder.
        ours: whether it is a Cross-CBAM network.
    """

    title: str
    encoder: str | None = None
    alpha: float = 1.0
    ours: bool = False


NETWORKS = {
    "cross-cbam-s": Network("S", "stdc1", alpha=0.5, ours=True),
    "cross-cbam-m": Network("M", "stdc1", ours=True),
    "cross-cbam-l": Network("L", "stdc2", ours=True),
    "stdc1-seg": Network("STDC1-Seg", "stdc1"),
    "pp-liteseg-t": Network("PP-LiteSeg-T", "stdc1"),
    "ddrnet-23-slim": Network("DDRNet-23-slim"),
    "sctnet-s": Network("SCTNet-S"),
    "pidnet-s": Network("PIDNet-S"),
    "cross-cbam-m-scratch": Network("M, random start", ours=True),
}
REFERENCE = "stdc1-seg"
"""The network whose time is 1."""


def build(name, encoder_weights, input_shape, classes):
    """Builds a network with the weights to start from.

        >>> from front_networks import build
        >>> from keras_crosscbam.datasets import CAMVID_CLASSES
        >>> build("sctnet-s", "imagenet20", (64, 96, 3), CAMVID_CLASSES).output_shape
        (None, 64, 96, 11)

    Args:
        name: a key of `NETWORKS`.
        encoder_weights: name or path of weights of an encoder. A narrower network starts from the
            channels that `narrowed` selects. It is not used for a random start.
        input_shape: `(height, width, channels)`. Height and width may be None.
        classes: a `ClassTable`.

    Returns:
        A `keras.Model` from images of 0..255 to logits, without heads that only training uses.
    """
    network = NETWORKS[name]
    if network.ours:
        backbone = network.encoder or "stdc1"
        model = kc.CrossCBAM(backbone, input_shape, classes=classes, alpha=network.alpha)
    else:
        model = PEERS[name](input_shape, num_classes=len(classes))
        model.classes = classes
    if network.encoder:
        weights = find_weights(encoder_weights, network.encoder)
        if network.alpha < 1:
            weights = narrowed(weights, model)
        weights.load_into(model, backbone_only=True)
    return model
