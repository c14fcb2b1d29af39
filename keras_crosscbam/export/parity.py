"""Compares an exported file with its model on images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keras_crosscbam.runtime.probabilities import are_probabilities, softmax

MIN_AGREEMENT = 0.9999
MAX_PROBABILITY_DIFFERENCE = 0.01


class ParityError(RuntimeError):
    """Raised if the results of an exported file differ from those of the model."""


@dataclass(frozen=True)
class Parity:
    """The agreement of two networks.

    Attributes:
        frames: number of frames compared.
        argmax_agreement: share of the pixels with the same label.
        max_difference: largest absolute difference of the logits, or of the probabilities; None if
            only labels are compared.
        probability_difference: largest absolute difference of the probabilities of both.
    """

    frames: int
    argmax_agreement: float
    max_difference: float | None
    probability_difference: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        text = f"{self.frames} frames: argmax equal on {100 * self.argmax_agreement:.4f} % of the "
        if self.max_difference is None:
            return f"{text}pixels"
        return f"{text}pixels, max |logit difference| {self.max_difference:.2e}"


def compare(reference, candidate, batches):
    """Runs two runtimes on the same batches of images.

    Whether the reference outputs logits or probabilities is decided by its description and by its
    values. The description alone is not sufficient: the candidate is created from it, so both may
    have the same error.

    Args:
        reference, candidate: `Runtime`s.
        batches: iterable of images `(batch, height, width, 3)`, 0..255, of the networks' size.

    Returns:
        `Parity`.

    Raises:
        ParityError: if the candidate returns values that are not finite.
    """
    said, output = reference.description.output, candidate.description.output
    frames = pixels = equal = 0
    difference = probability_difference = None if output == "labels" else 0.0
    for images in batches:
        if output == "labels":
            expected, received = reference.labels(images), candidate.labels(images)
        else:
            expected, received = reference.logits(images), candidate.logits(images)
            if not np.isfinite(received).all():
                raise ParityError(f"{candidate.name} returns values that are not finite")
            probabilities = _probabilities(expected, said, received, output)
            probability_difference = max(probability_difference, _difference(*probabilities))
            if "probabilities" in (said, output):
                expected, received = probabilities
            difference = max(difference, _difference(expected, received))
            expected, received = expected.argmax(-1), received.argmax(-1)
        frames += len(images)
        pixels += expected.size
        equal += int((expected == received).sum())
    return Parity(frames, equal / pixels, difference, probability_difference)


def _probabilities(expected, said, received, output):
    """Returns the probabilities of the reference's and of the candidate's scores."""
    distribution = are_probabilities(expected)
    # Probabilities that do not sum to 1 come from a sigmoid.
    activation = _sigmoid if said == "probabilities" and not distribution else softmax
    if said != "probabilities" and not distribution:
        expected = softmax(expected)
    return expected, received if output == "probabilities" else activation(received)


def _sigmoid(logits):
    return 0.5 + 0.5 * np.tanh(0.5 * logits)


def _difference(expected, received):
    return float(np.abs(expected - received).max())


def check(reference, candidate, batches, min_agreement=MIN_AGREEMENT):
    """Like `compare`, but raises a `ParityError` if names, labels or probabilities differ."""
    says, meant = (run.description.classes for run in (candidate, reference))
    if says != meant:
        raise ParityError(
            f"{candidate.name} has the classes {says and says.names}, but {reference.name} has "
            f"{meant and meant.names}. The file was not kept."
        )
    parity = compare(reference, candidate, batches)
    if parity.argmax_agreement < min_agreement:
        raise ParityError(
            f"{candidate.name} differs from {reference.name}: {parity}; at least "
            f"{100 * min_agreement:.2f} % must be equal. The file was not kept."
        )
    if (parity.probability_difference or 0) > MAX_PROBABILITY_DIFFERENCE:
        raise ParityError(
            f"{candidate.name} outputs {candidate.description.output} whose probabilities differ "
            f"from those of {reference.name} by {parity.probability_difference:.2g}; at most "
            f"{MAX_PROBABILITY_DIFFERENCE} is allowed. "
            "The file was not kept. If the model ends in a softmax that is not recognized, such as "
            "a Lambda layer, use keras.layers.Softmax, or end it in logits."
        )
    return parity
