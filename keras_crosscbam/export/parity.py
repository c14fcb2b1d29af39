"""The gate that every exported file passes: the same answers as the model, on real frames."""

from dataclasses import dataclass

import numpy as np

MIN_AGREEMENT = 0.9999


class ParityError(RuntimeError):
    """An exported file does not compute what the model computes."""


@dataclass(frozen=True)
class Parity:
    """How far two networks agree.

    Attributes:
        frames: number of frames compared.
        argmax_agreement: share of the pixels with the same label.
        max_difference: largest absolute difference of two logits, or of two probabilities; None
            where labels are all there is to compare.
    """

    frames: int
    argmax_agreement: float
    max_difference: float | None

    def __str__(self):
        text = f"{self.frames} frames: argmax equal on {100 * self.argmax_agreement:.4f} % of the "
        if self.max_difference is None:
            return f"{text}pixels"
        return f"{text}pixels, max |logit difference| {self.max_difference:.2e}"


def compare(reference, candidate, batches):
    """Runs two runtimes on the same batches of images.

    Args:
        reference, candidate: `Runtime`s.
        batches: iterable of images `(batch, height, width, 3)`, 0..255, of the networks' size.

    Returns:
        `Parity`.
    """
    output = candidate.description.output
    frames = pixels = equal = 0
    difference = None if output == "labels" else 0.0
    for images in batches:
        if output == "labels":
            expected, received = reference.labels(images), candidate.labels(images)
        else:
            expected, received = reference.logits(images), candidate.logits(images)
            if not np.isfinite(received).all():
                raise ParityError(f"{candidate.name} returns values that are not finite")
            if output == "probabilities" and reference.description.output != "probabilities":
                expected = _softmax(expected)
            difference = max(difference, float(np.abs(expected - received).max()))
            expected, received = expected.argmax(-1), received.argmax(-1)
        frames += len(images)
        pixels += expected.size
        equal += int((expected == received).sum())
    return Parity(frames, equal / pixels, difference)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def check(reference, candidate, batches, min_agreement=MIN_AGREEMENT):
    """`compare`, but raises `ParityError` for other names and if too few labels are the same."""
    says, meant = (run.description.classes for run in (candidate, reference))
    if says != meant:
        raise ParityError(
            f"{candidate.name} says that its classes are {says and says.names}, those of "
            f"{reference.name} are {meant and meant.names}. The file was not kept."
        )
    parity = compare(reference, candidate, batches)
    if parity.argmax_agreement < min_agreement:
        raise ParityError(
            f"{candidate.name} differs from {reference.name}: {parity}; at least "
            f"{100 * min_agreement:.2f} % must be equal. The file was not kept."
        )
    return parity
