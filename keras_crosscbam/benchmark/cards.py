"""Peak rates of GPUs, from their makers' data sheets.

>>> from keras_crosscbam.benchmark.cards import CARDS
>>> CARDS["gtx-1080-ti"].bandwidth
484.0
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """The peak rates of a GPU.

    A rate is in tera-operations per second; a multiply-accumulate is two operations. Rates of
    tensor cores are those without sparsity.

    Attributes:
        title: the name of the product.
        fp32: rate of float32 without tensor cores (TF32 is another precision).
        fp16: rate of float16 as TensorRT uses it; None if the card is not faster in float16.
        int8: rate of INT8.
        bandwidth: memory bandwidth in gigabytes per second.
        source: the document that contains the rates, or the numbers that they are computed from.
        remark: why a precision has no rate.
    """

    title: str
    fp32: float
    fp16: float | None
    int8: float | None
    bandwidth: float
    source: str
    remark: str = ""

    def rate(self, precision: str) -> float | None:
        """Returns the rate of a precision in operations per second; None if there is none."""
        rate = getattr(self, precision)
        return None if rate is None else 1e12 * rate


CARDS = {
    "gtx-1080-ti": Card(
        "GeForce GTX 1080 Ti",
        fp32=11.34,
        fp16=None,
        int8=45.4,
        bandwidth=484.0,
        source="NVIDIA's product page: 3584 cores, 1582 MHz boost, 484 GB/s; CUDA C++ Programming "
        "Guide, compute capability 6.1: DP4A has four times the rate of float32",
        remark="Its float16 rate is 1/64 of float32, so TensorRT computes in float32 there",
    ),
    "rtx-2080-ti": Card(
        "GeForce RTX 2080 Ti",
        fp32=13.4,
        fp16=107.6,
        int8=215.2,
        bandwidth=616.0,
        source="NVIDIA Turing GPU Architecture whitepaper, appendix A, reference card",
    ),
    "t4": Card(
        "Tesla T4",
        fp32=8.1,
        fp16=65.0,
        int8=130.0,
        bandwidth=320.0,
        source="NVIDIA T4 data sheet",
    ),
    "rtx-3090": Card(
        "GeForce RTX 3090",
        fp32=35.6,
        fp16=142.0,
        int8=284.0,
        bandwidth=936.0,
        source="NVIDIA Ampere GA102 GPU Architecture whitepaper, appendix A, float16 accumulation",
    ),
    "rtx-4090": Card(
        "GeForce RTX 4090",
        fp32=82.6,
        fp16=330.3,
        int8=660.6,
        bandwidth=1008.0,
        source="NVIDIA Ada GPU Architecture whitepaper, appendix A, float16 accumulation",
    ),
    "a100": Card(
        "A100 40GB",
        fp32=19.5,
        fp16=312.0,
        int8=624.0,
        bandwidth=1555.0,
        source="NVIDIA A100 data sheet",
    ),
    "h100": Card(
        "H100 SXM5 80GB",
        fp32=67.0,
        fp16=989.4,
        int8=1978.9,
        bandwidth=3350.0,
        source="NVIDIA H100 data sheet; its tensor rates, which are with sparsity, are halved",
    ),
    "xavier-nx": Card(
        "Jetson Xavier NX",
        fp32=0.84,
        fp16=6.8,
        int8=13.5,
        bandwidth=51.2,
        source="NVIDIA Jetson Xavier NX data sheet DA-09366-001: 384 cores, 48 tensor cores, 1100 "
        "MHz, 128 bits of LPDDR4x at 1600 MHz; the accelerators beside the GPU are not counted",
    ),
    "agx-orin": Card(
        "Jetson AGX Orin 64GB",
        fp32=5.3,
        fp16=42.5,
        int8=85.0,
        bandwidth=204.8,
        source="NVIDIA Jetson AGX Orin Series technical brief; its tensor rate of the GPU, which "
        "is with sparsity, is halved; the accelerators beside the GPU are not counted",
    ),
}
"""Cards by the names that `estimate` takes."""

PRECISIONS = ("fp32", "fp16", "int8")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of a value in each precision."""


def find_card(name, precision):
    """Returns a `Card` that has a rate for a precision.

    Raises:
        ValueError: for a card or a precision without data; the message lists the cards.
    """
    if name not in CARDS:
        raise ValueError(f"`card` must be one of {', '.join(CARDS)}. Received: {name!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {PRECISIONS}. Received: {precision!r}")
    card = CARDS[name]
    if card.rate(precision) is None:
        having = [other for other, c in CARDS.items() if c.rate(precision) is not None]
        raise ValueError(
            f"There is no {precision} rate for {name}. {card.remark}. Cards with {precision}: "
            f"{', '.join(having)}. Received: card={name!r}, precision={precision!r}"
        )
    return card
