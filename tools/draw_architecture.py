"""Draws the network, CCBAM and SE-ASPP for the documentation, with sizes from the built model.

    $ python tools/draw_architecture.py

Writes `docs/figures/network.svg`, `ccbam.svg` and `se_aspp.svg`.
"""

from pathlib import Path

from svg import LINE, Drawing

import keras_crosscbam as kc
from keras_crosscbam.models.stdc import STAGE_BLOCKS
from keras_crosscbam.variants import VARIANTS

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
VARIANT = VARIANTS["M1"]
TIMES = "\N{MULTIPLICATION SIGN}"


def figures():
    """Returns a dict from file name to figure."""
    model = getattr(kc, f"CrossCBAM_{VARIANT.name}")(num_classes=VARIANT.num_classes, aux_head=True)
    return {
        "network.svg": network(model),
        "ccbam.svg": ccbam(model.get_layer("ccbam4")),
        "se_aspp.svg": se_aspp(model.get_layer("se_aspp")),
    }


def network(model):
    """Draws the network, with the encoder on the left and the decoder on the right."""
    size = shapes_of(model)
    height, width = VARIANT.input_size
    drawing = Drawing(1010, 540, f"Cross-CBAM-{VARIANT.name}, from the image to the scores")
    aux, encoder, lateral, fusion, decoder = (20 + 200 * column for column in range(5))
    rows = [40 + 100 * row for row in range(5)]
    box_width, box_height = 170, 58

    def box(column, row, lines, kind, dashed=False):
        drawing.box(column, rows[row], box_width, box_height, lines, kind, dashed)

    def right(start, end, row, dashed=False):
        y = rows[row] + box_height / 2
        first, last = (start + box_width, end) if start < end else (start, end + box_width)
        drawing.arrow((first, y), (last, y), dashed=dashed)

    def vertical(column, start, end, dashed=False):
        x = column + box_width / 2
        first = rows[start] + (box_height if start < end else 0)
        last = rows[end] + (0 if start < end else box_height)
        drawing.arrow((x, first), (x, last), dashed=dashed)

    for x, title in (
        (aux, "Training only"),
        (encoder, f"Encoder ({VARIANT.backbone.upper()})"),
        (fusion, "Decoder"),
    ):
        drawing.text(x + box_width / 2, 25, title, "middle", bold=True, size=14)
    box(encoder, 0, ["Image", f"{height}x{width}x3"], "neutral")
    box(encoder, 1, ["Stem", "two 3x3, each stride 2", size("stem_conv2")], "encoder")
    blocks = STAGE_BLOCKS[VARIANT.backbone]
    for row, (stage, count) in enumerate(zip((3, 4, 5), blocks, strict=True), start=2):
        lines = [f"Stage {stage}", f"{count} STDC blocks, stride 2", size(f"stage{stage}")]
        box(encoder, row, lines, "encoder")
    for row in range(4):
        vertical(encoder, row, row + 1)

    box(decoder, 4, ["SE-ASPP", "context", size("se_aspp")], "context")
    box(decoder, 3, ["Resize", "to stage 4", size("resize4")], "decoder")
    box(lateral, 3, ["1x1", "BatchNorm, ReLU", size("lateral4")], "decoder")
    box(fusion, 3, ["CCBAM", "fusion", size("ccbam4")], "attention")
    box(decoder, 2, ["Resize", "to stage 3", size("resize3")], "decoder")
    box(fusion, 2, ["CCBAM", "fusion", size("ccbam3")], "attention")
    box(fusion, 1, ["1x1", "BatchNorm, ReLU", size("neck3")], "decoder")
    box(decoder, 1, ["Classifier", "dropout, 1x1", size("classifier")], "decoder")
    box(decoder, 0, ["Scores", "resized to the image", size("resize")], "neutral")
    right(encoder, decoder, 4)
    vertical(decoder, 4, 3)
    right(encoder, lateral, 3)
    right(lateral, fusion, 3)
    right(decoder, fusion, 3)
    x, y = fusion + box_width / 2, (rows[2] + box_height + rows[3]) / 2
    drawing.arrow(
        (x, rows[3]),
        (x, y),
        (decoder + box_width / 2, y),
        (decoder + box_width / 2, rows[2] + box_height),
    )
    right(encoder, fusion, 2)
    right(decoder, fusion, 2)
    vertical(fusion, 2, 1)
    right(fusion, decoder, 1)
    vertical(decoder, 1, 0)

    box(aux, 3, ["Auxiliary head", "3x3, dropout, 1x1", size("aux_classifier")], "neutral", True)
    box(aux, 2, ["Auxiliary scores", "resized to the image", size("aux_resize")], "neutral", True)
    right(encoder, aux, 3, dashed=True)
    vertical(aux, 3, 2, dashed=True)
    drawing.text(
        20,
        520,
        f"Cross-CBAM-{VARIANT.name} with {VARIANT.num_classes} classes. Sizes are height x width x "
        "channels.",
    )
    return drawing.svg()


def ccbam(layer):
    """Draws CCBAM, and its channel attention and spatial attention below."""
    _, rows, columns, channels = layer.output.shape
    hidden = layer.low_channel_attention.reduce.filters
    features = f"{rows}x{columns}x{channels}"
    drawing = Drawing(960, 560, "CCBAM: each of two feature maps is weighted by the other one")
    low, high = 90, 230
    for y, name, source in ((low, "low", "encoder"), (high, "high", "decoder")):
        drawing.box(20, y - 30, 130, 60, [name, f"from the {source}", features], "neutral")
        drawing.box(205, y - 30, 140, 60, ["Channel attention", f"1x1x{channels}"], "attention")
        drawing.box(505, y - 30, 140, 60, ["Spatial attention", f"{rows}x{columns}x1"], "attention")
        drawing.arrow((150, y), (205, y))
        drawing.arrow((345, y), (389, y))
        drawing.circle(400, y, TIMES)
        drawing.arrow((411, y), (505, y))
        drawing.text(420, y + (-8 if y == low else 18), f"F {name}")
        drawing.arrow((645, y), (689, y))
        drawing.circle(700, y, TIMES)
    for branch, product in ((177, 400), (475, 700)):
        for start, end in ((low, high), (high, low)):
            down = 1 if start < end else -1
            drawing.dot(branch, start, LINE, 2.5)
            drawing.arrow(
                (branch, start),
                (branch, start + 38 * down),
                (product, end - 38 * down),
                (product, end - 11 * down),
            )
    middle = (low + high) / 2
    drawing.circle(770, middle, "+")
    drawing.arrow((711, low), (770, low), (770, middle - 11))
    drawing.arrow((711, high), (770, high), (770, middle + 11))
    drawing.arrow((781, middle), (820, middle))
    drawing.box(820, middle - 30, 120, 60, ["Output", features], "neutral")
    drawing.text(
        20, 30, f"CCBAM at stage 4 of Cross-CBAM-{VARIANT.name}", "start", bold=True, size=14
    )

    y = 370
    drawing.text(20, 310, "Channel attention", bold=True, size=14)
    drawing.box(20, y - 20, 110, 60, ["Input", features], "neutral")
    for row, pooling in ((y - 24, "Maximum"), (y + 44, "Mean")):
        drawing.arrow((130, y + 10), (165, row))
        drawing.box(165, row - 22, 140, 44, [pooling, "over all positions"], "attention")
        drawing.arrow((305, row), (345, row))
        drawing.arrow((575, row), (612, y + 10 + (-9 if row < y else 9)))
    drawing.box(
        345,
        y - 46,
        230,
        112,
        [
            "The same two layers for both",
            f"1x1, {channels} to {hidden}, ReLU",
            f"1x1, {hidden} to {channels}",
        ],
        "attention",
    )
    drawing.circle(620, y + 10, "+")
    drawing.arrow((631, y + 10), (665, y + 10))
    drawing.box(665, y - 12, 90, 44, ["Sigmoid"], "attention")
    drawing.arrow((755, y + 10), (790, y + 10))
    drawing.box(790, y - 20, 150, 60, ["Gate", f"1x1x{channels}"], "neutral")

    y = 495
    drawing.text(20, 465, "Spatial attention", bold=True, size=14)
    drawing.box(20, y - 20, 110, 60, ["Input", features], "neutral")
    drawing.arrow((130, y + 10), (165, y + 10))
    drawing.box(
        165,
        y - 20,
        180,
        60,
        ["Maximum and mean", "over all channels", f"{rows}x{columns}x2"],
        "attention",
    )
    drawing.arrow((345, y + 10), (380, y + 10))
    drawing.box(380, y - 12, 195, 44, ["1x1, 2 to 1"], "attention")
    drawing.arrow((575, y + 10), (665, y + 10))
    drawing.box(665, y - 12, 90, 44, ["Sigmoid"], "attention")
    drawing.arrow((755, y + 10), (790, y + 10))
    drawing.box(790, y - 20, 150, 60, ["Gate", f"{rows}x{columns}x1"], "neutral")
    return drawing.svg()


def se_aspp(layer):
    """Draws SE-ASPP: the sum of the atrous branches, and the gated input."""
    _, rows, columns, channels = layer.input.shape
    filters, rates = layer.filters, layer.dilation_rates
    drawing = Drawing(1010, 330, "SE-ASPP: added atrous branches and a squeeze-and-excitation gate")

    def size(depth, height=rows, width=columns):
        return f"{height}x{width}x{depth}"

    drawing.text(20, 30, f"SE-ASPP of Cross-CBAM-{VARIANT.name}", "start", bold=True, size=14)
    drawing.box(20, 155, 120, 60, ["Stage 5", size(channels)], "neutral")
    gate = 80
    for x, width, lines in (
        (205, 130, ["Mean", "over all positions", size(channels, 1, 1)]),
        (355, 140, [f"1x1, {channels} to {filters}", "ReLU"]),
        (515, 140, [f"1x1, {filters} to {channels}", "sigmoid"]),
    ):
        drawing.box(x, gate - 30, width, 60, lines, "attention")
    for x in (335, 495):
        drawing.arrow((x, gate), (x + 20, gate))
    drawing.line((140, 185), (175, 185))
    drawing.arrow((175, 185), (175, gate), (205, gate))
    drawing.arrow((655, gate), (689, gate))
    drawing.circle(700, gate, TIMES)
    drawing.arrow((175, 145), (700, 145), (700, gate + 11))
    branches = [215 + 70 * number for number in range(len(rates))]
    for y, rate in zip(branches, rates, strict=True):
        kernel = "1x1" if rate == 1 else f"3x3, dilated by {rate}"
        drawing.box(210, y - 25, 280, 50, [kernel, f"BatchNorm, ReLU, {size(filters)}"], "context")
        drawing.arrow((175, 185), (175, y), (210, y))
    middle = sum(branches) / len(branches)
    for y in branches:
        drawing.arrow((490, y), (580, y), (580, middle + (11 if y > middle else -11)))
    drawing.circle(580, middle, "+")
    drawing.box(735, 130, 125, 90, ["Concatenate", size(channels + filters)], "neutral")
    drawing.arrow((711, gate), (797, gate), (797, 130))
    drawing.arrow((591, middle), (797, middle), (797, 220))
    drawing.arrow((860, 175), (875, 175))
    drawing.box(875, 130, 120, 90, ["3x3", "BatchNorm, ReLU", size(filters)], "context")
    return drawing.svg()


def shapes_of(model):
    """Returns a function from the name of a layer to the size of its output."""

    def size(name):
        _, height, width, channels = model.get_layer(name).output.shape
        return f"{height}x{width}x{channels}"

    return size


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in figures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
