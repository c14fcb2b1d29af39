"""The training implementations of Cross-CBAM that `training_speed.py` compares.

>>> from contenders import CONTENDERS
>>> CONTENDERS["pytorch-bfloat16-channels_last"]
Contender(framework='pytorch', precision='bfloat16', compiled=False, channels_last=True)
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

CLASSES, IGNORE = 11, 255
AUX_WEIGHT = 0.4
# Keras' defaults except for the weight decay, also used for PyTorch.
ADAMW = {"learning_rate": 1e-3, "weight_decay": 1e-2, "epsilon": 1e-7}


@dataclass(frozen=True)
class Contender:
    """A training implementation.

    Attributes:
        framework: Keras' backend `"tensorflow"`, `"jax"` or `"torch"`, or `"pytorch"` for the
            network in plain PyTorch.
        precision: `"float32"` or `"bfloat16"` (mixed: the weights stay float32).
        compiled: whether XLA (TensorFlow, always on for JAX) or `torch.compile` is on.
        channels_last: PyTorch's memory format; Keras' data format is always channels_last.
    """

    framework: str
    precision: str
    compiled: bool = False
    channels_last: bool = False

    @property
    def name(self):
        parts = [self.framework, self.precision]
        if self.channels_last:
            parts.append("channels_last")
        if self.compiled and self.framework != "jax":
            parts.append("xla" if self.framework == "tensorflow" else "compiled")
        return "-".join(parts)

    @property
    def installed(self):
        return find_spec("torch" if self.framework == "pytorch" else self.framework) is not None

    @property
    def default(self):
        """Whether it runs by default; `torch.compile` does not, because it takes minutes."""
        return self.framework != "pytorch" or not self.compiled

    def prepare(self, backbone, pixels, labels, dropout=0.1):
        """Builds the network and its training function.

        Args:
            backbone: `"stdc1"` or `"stdc2"`.
            pixels: float32 images of 0..255, shape `(batch, height, width, 3)`.
            labels: uint8 labels `(batch, height, width)`; 255 is ignored.
            dropout: share of dropped channels; with 0 all contenders compute the same results.

        Returns:
            The network, a function from a number of training steps to their mean loss, and a dict
            of the libraries' versions.
        """
        train = pytorch_training if self.framework == "pytorch" else keras_training
        return train(self, backbone, pixels, labels, dropout)


def random_batch(size, batch, seed=0):
    """Returns float32 pixels of 0..255 `(batch, height, width, 3)`, and labels, 10 % ignored."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 255, (batch, *size, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, (batch, *size), dtype="uint8")
    labels[rng.random(labels.shape) < 0.1] = IGNORE
    return pixels, labels


def keras_training(contender, backbone, pixels, labels, dropout):
    """Trains with Keras' `compile` and `fit` on a `tf.data` pipeline."""
    import keras
    import tensorflow as tf

    import keras_crosscbam as kc
    from keras_crosscbam.training import SegmentationCrossEntropy

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(
        "float32" if contender.precision == "float32" else "mixed_bfloat16"
    )
    try:
        model = kc.CrossCBAM(
            backbone,
            input_shape=pixels.shape[1:],
            num_classes=CLASSES,
            aux_head=True,
            dropout_rate=dropout,
        )
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(
        optimizer=keras.optimizers.AdamW(**ADAMW),
        loss={head: SegmentationCrossEntropy() for head in ("main", "aux")},
        loss_weights={"main": 1.0, "aux": AUX_WEIGHT},
        jit_compile=contender.compiled,
    )
    batches = tf.data.Dataset.from_tensors((pixels, {"main": labels, "aux": labels})).repeat()
    # Autotuning is not needed here, and a short `fit` would wait seconds for it at the end.
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = batches.with_options(options)

    # Reads the loss after each batch, as `crosscbam train` and progress bars do.
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: logs["loss"])

    def run(steps):
        options = {"steps_per_epoch": steps, "shuffle": False, "verbose": 0}
        return model.fit(batches, callbacks=[watch], **options).history["loss"][0]

    backend = sys.modules[keras.backend.backend()]
    return model, run, {"keras": keras.__version__, backend.__name__: backend.__version__}


def pytorch_training(contender, backbone, pixels, labels, dropout):
    """Trains with a standard PyTorch training loop."""
    import torch
    from torch_cross_cbam import CrossCBAM

    layout = torch.channels_last if contender.channels_last else torch.contiguous_format
    network = CrossCBAM(backbone, CLASSES, aux_head=True, dropout=dropout).to(memory_format=layout)
    forward = torch.compile(network) if contender.compiled else network
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=ADAMW["learning_rate"],
        weight_decay=ADAMW["weight_decay"],
        eps=ADAMW["epsilon"],
        fused=True,
    )
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORE)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    targets = torch.from_numpy(labels).long()
    mixed = contender.precision == "bfloat16"
    network.train()

    def run(steps):
        total = 0.0
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                logits = forward(images)
            loss = cross_entropy(logits["main"].float(), targets)
            loss = loss + AUX_WEIGHT * cross_entropy(logits["aux"].float(), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / steps

    return network, run, {"torch": torch.__version__}


PRECISIONS = ("float32", "bfloat16")
CONTENDERS = {
    contender.name: contender
    for contender in (
        *(Contender("tensorflow", p, xla) for p in PRECISIONS for xla in (False, True)),
        *(Contender("jax", p, compiled=True) for p in PRECISIONS),
        *(Contender("torch", p) for p in PRECISIONS),
        *(
            Contender("pytorch", p, compiled, channels_last)
            for p in PRECISIONS
            for compiled, channels_last in ((False, False), (False, True), (True, True))
        ),
    )
}
