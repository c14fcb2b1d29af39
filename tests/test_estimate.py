"""Estimates of the latency on a card: the work of a graph, the roofline, and its check."""

import json
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
from onnx_graphs import conv, write_graph

import keras_crosscbam as kc
from keras_crosscbam.benchmark import CARDS
from keras_crosscbam.benchmark.calibration import calibrate, load_calibration
from keras_crosscbam.benchmark.cards import PRECISIONS
from keras_crosscbam.benchmark.graph_file import read_graph
from keras_crosscbam.benchmark.kernels import kernels_of
from keras_crosscbam.benchmark.roofline import LAUNCH, fit_efficiency
from keras_crosscbam.benchmark.stages import STAGES, assign_stages, stage_of
from keras_crosscbam.cli import main


@pytest.fixture
def network_file(tmp_path):
    """A convolution of 3 to 4 channels at 8x8 with an activation."""
    nodes = [conv("image", ["w", "b"], "y"), ("Relu", ["y"], ["scores"], {})]
    return write_graph(tmp_path / "network.onnx", nodes, {"w": (4, 3, 3, 3), "b": (4,)})


def kernels(path, nodes, constants=(), **more):
    return kernels_of(read_graph(write_graph(path, nodes, constants, **more)))


# --- the work of a graph


def test_convolution_with_activation_is_one_kernel(network_file):
    (kernel,) = kernels_of(read_graph(network_file))
    assert kernel.operators == ("Conv", "Relu")
    assert kernel.macs == 4 * 3 * 3 * 3 * 64
    assert kernel.values == 3 * 64 + (4 * 27 + 4) + 4 * 64
    assert kernel.bytes(2) == 2 * kernel.values


def test_sum_joins_one_convolution_and_the_activation_behind_it(tmp_path):
    nodes = [
        conv("image", ["w"], "a"),
        conv("image", ["w"], "b"),
        ("Add", ["a", "b"], ["c"], {}),
        ("Relu", ["c"], ["scores"], {}),
    ]
    found = kernels(tmp_path / "n.onnx", nodes, {"w": (4, 3, 1, 1)})
    assert Counter(kernel.operators for kernel in found) == {
        ("Conv",): 1,
        ("Conv", "Add", "Relu"): 1,
    }


def test_constant_scale_is_part_of_the_convolution_but_a_gate_is_not(tmp_path):
    nodes = [
        conv("image", ["w"], "a"),
        ("Mul", ["a", "scale"], ["b"], {}),
        conv("b", ["v"], "c"),
        ("Mul", ["c", "image"], ["scores"], {}),
    ]
    constants = {"w": (3, 3, 1, 1), "v": (3, 3, 1, 1), "scale": (1, 3, 1, 1)}
    found = kernels(tmp_path / "n.onnx", nodes, constants, output=(1, 3, 8, 8))
    assert [kernel.operators for kernel in found] == [("Conv", "Mul"), ("Conv",), ("Mul",)]


def test_pointwise_nodes_are_one_kernel_unless_something_else_reads_them(tmp_path):
    nodes = [
        ("Sigmoid", ["image"], ["gate"], {}),
        ("Mul", ["image", "gate"], ["gated"], {}),  # the gate is read by this node alone
        ("GlobalAveragePool", ["gated"], ["mean"], {}),
        ("Mul", ["gated", "mean"], ["scores"], {}),  # `gated` is also read by the pooling
    ]
    found = kernels(tmp_path / "n.onnx", nodes, output=(1, 3, 8, 8))
    assert [kernel.operators for kernel in found] == [
        ("Sigmoid", "Mul"),
        ("GlobalAveragePool",),
        ("Mul",),
    ]
    # The gate never reaches the memory.
    assert [kernel.values for kernel in found] == [2 * 192, 192 + 3, 2 * 192 + 3]


def test_padding_is_part_of_the_convolution(tmp_path):
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    nodes = [("Pad", ["image", "pads"], ["y"], {}), ("Conv", ["y", "w"], ["scores"], {})]
    (kernel,) = kernels(tmp_path / "n.onnx", nodes, {"w": (4, 3, 3, 3), "pads": pads})
    assert kernel.operators == ("Pad", "Conv")
    assert kernel.values == 3 * 64 + 4 * 27 + 4 * 64


def test_views_shapes_and_weights_have_no_kernel(tmp_path):
    nodes = [
        ("Shape", ["image"], ["shape"], {}),
        ("Slice", ["shape", "two", "four"], ["sides"], {}),
        ("Concat", ["channels", "sides"], ["target"], {"axis": 0}),
        ("Mul", ["w", "w"], ["squares"], {}),
        conv("image", ["squares"], "y"),
        ("Reshape", ["y", "flat"], ["z"], {}),
        ("Reshape", ["z", "target"], ["scores"], {}),
    ]
    whole = {"two": [2], "four": [4], "channels": [1, 4], "flat": [1, -1]}
    constants = {name: np.array(value, np.int64) for name, value in whole.items()}
    (kernel,) = kernels(tmp_path / "n.onnx", nodes, {"w": (4, 3, 1, 1), **constants})
    assert kernel.operators == ("Conv",)
    assert kernel.values == 3 * 64 + 12 + 4 * 64


def test_concatenation_is_written_by_those_before_it(tmp_path):
    nodes = [
        conv("image", ["w"], "a"),
        conv("image", ["w"], "b"),
        ("Concat", ["a", "b"], ["c"], {"axis": 1}),
        conv("c", ["v"], "scores"),
    ]
    found = kernels(tmp_path / "n.onnx", nodes, {"w": (4, 3, 1, 1), "v": (4, 8, 1, 1)})
    assert [kernel.values for kernel in found] == [192 + 12 + 256, 192 + 12 + 256, 512 + 32 + 256]


def test_labels_are_bytes_of_their_own_type(tmp_path):
    nodes = [
        ("ArgMax", ["image"], ["labels"], {"axis": 1}),
        ("Cast", ["labels"], ["scores"], {"to": 1}),
    ]
    found = kernels(tmp_path / "n.onnx", nodes, output=(1, 1, 8, 8))
    assert [(kernel.values, kernel.other_bytes) for kernel in found] == [(192, 512), (64, 512)]


@pytest.mark.parametrize(
    ("kind", "second", "output", "macs"),
    [
        ("MatMul", (8, 5), (1, 3, 8, 5), 3 * 8 * 8 * 5),
        ("Conv", (6, 1, 3, 3), (1, 6, 6, 6), 6 * 36 * 9),  # depthwise
        ("ConvTranspose", (3, 4, 2, 2), (1, 4, 9, 9), 3 * 64 * 4 * 4),
    ],
)
def test_macs(tmp_path, kind, second, output, macs):
    attributes = {"group": 3} if second[1] == 1 else {}
    nodes = [(kind, ["image", "w"], ["scores"], attributes)]
    (kernel,) = kernels(tmp_path / "n.onnx", nodes, {"w": second}, output=output)
    assert kernel.macs == macs


def test_macs_of_every_stage_are_those_of_the_keras_layers(network, onnx_file):
    """The independent counts are those of `keras_crosscbam.flops`, layer by layer."""
    found = kernels_of(read_graph(onnx_file))
    by_stage, expected = defaultdict(list), defaultdict(list)
    for kernel in found:
        by_stage[kernel.stage].append(kernel.macs)
    counts = kc.flops.count_layers(network, (90, 120))
    for count in counts:
        expected[stage_of(f"model/{count.path}/Conv2D")].append(count.conv_macs)
    for stage in (*by_stage, *expected):
        assert sorted(filter(None, by_stage[stage])) == sorted(filter(None, expected[stage])), stage
    assert set(by_stage) == set(STAGES)
    assert sum(kernel.macs for kernel in found) == sum(count.conv_macs for count in counts) > 1e8


# --- stages


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("cross_cbam_stdc1/stage3_block1_conv2/relu/Relu", "stage3"),
        ("cross_cbam_stdc1_1/stage3_1/concat", "stage3"),
        ("cross_cbam_stdc1_12/ccbam4_12/low_spatial_attention_12/Mean", "ccbam4"),
        ("cross_cbam_stdc1/lateral4/relu/Relu", "ccbam4"),
        ("stdc1_seg/context5_conv/relu/Relu", "context5_conv"),
        ("stdc1_seg/Sigmoid_2", None),  # an operation between layers
        ("/layer1/layer1.0/conv1/Conv", "layer1"),
        ("Conv__160", None),
        ("", None),
    ],
)
def test_stage_of_a_name(name, stage):
    assert stage_of(name) == stage


def test_unnamed_nodes_belong_to_the_named_node_after_them_or_else_before_them():
    named = dict.fromkeys(range(1, 9)) | {3: "stage3", 5: "head"}
    successors = {1: [2], 2: [3], 3: [4], 4: [5], 5: [6], 6: [7]}
    stages = assign_stages(named, successors)
    expected = ["stage3", "stage3", "stage3", "head", "head", "head", "head", "other"]
    assert list(stages.values()) == expected


# --- the roofline


def test_estimate_by_hand(network_file):
    efficiency = load_calibration().efficiency
    macs, values = 4 * 27 * 64, 192 + 112 + 256
    for card, precision, size in (("t4", "fp32", 4), ("t4", "fp16", 2), ("h100", "int8", 1)):
        rate, width = 1e12 * getattr(CARDS[card], precision), 1e9 * CARDS[card].bandwidth
        ideal = max(2 * macs / rate, size * values / width)
        found = kc.estimate(network_file, card, precision)
        assert found.milliseconds == pytest.approx(1e3 * (ideal / efficiency + LAUNCH))
        assert found.fps == pytest.approx(1e3 / found.milliseconds)


def test_fit_is_the_least_squares_solution():
    rng = np.random.default_rng(1)
    ideal, kernels, published = rng.uniform(1e-3, 5e-3, (3, 9))
    kernels = (1e4 * kernels).astype(int)
    slope = np.linalg.lstsq((ideal / published)[:, None], 1 - kernels * LAUNCH / published)[0][0]
    assert fit_efficiency(ideal, kernels, published) == pytest.approx(1 / slope)


def test_a_faster_precision_is_never_estimated_slower(network_file):
    for card, facts in CARDS.items():
        having = [p for p in PRECISIONS if facts.rate(p) is not None]
        times = [kc.estimate(network_file, card, precision).milliseconds for precision in having]
        assert times == sorted(times, reverse=True), card


def test_every_card_names_its_source():
    for name, card in CARDS.items():
        assert "NVIDIA" in card.source, name
        assert card.fp16 is not None or card.remark, name


# --- the constant and its check


def test_constant_is_fitted_on_the_peers_and_checked_on_cross_cbam():
    calibration = load_calibration()
    again = calibrate(calibration.card, calibration.precision, calibration.figures)
    assert again.efficiency == pytest.approx(calibration.efficiency)
    assert {f.network.split("-")[0] for f in calibration.figures if f.fitted} == {
        "stdc1",
        "stdc2",
        "pp",
    }
    assert {f.network[:10] for f in calibration.checked} == {"cross-cbam"}
    # The constant depends on nothing that it is checked on.
    fitted = [figure for figure in calibration.figures if figure.fitted]
    assert calibrate("gtx-1080-ti", "fp32", fitted).efficiency == again.efficiency


def test_published_figures_are_those_of_the_table_of_variants():
    from keras_crosscbam.variants import VARIANTS

    checked = {(f.network, f.size): f.fps for f in load_calibration().checked}
    for variant in VARIANTS.values():
        if variant.paper_fps:
            network = "cross-cbam-m" if variant.backbone == "stdc1" else "cross-cbam-l"
            assert checked[network, variant.input_size] == variant.paper_fps


@pytest.mark.slow
def test_recorded_work_is_that_of_the_exported_network():
    model = kc.CrossCBAM_M1(weights=None, num_classes=19)
    found = kc.estimate(model)
    calibration = load_calibration()
    (figure,) = (f for f in calibration.checked if f.fps == 240.9)
    assert len(found.kernels) == figure.kernels
    assert found.milliseconds == pytest.approx(1e3 * calibration.estimated(figure))


# --- what is printed


def test_table_calls_it_an_estimate_and_gives_the_errors(network_file):
    text = kc.estimate(network_file).table()
    calibration = load_calibration()
    assert text.startswith("Estimate, not a measurement: network.onnx 1x8x8, GeForce GTX 1080 Ti")
    assert f"median {100 * calibration.median_error:.0f} %, worst" in text
    assert f"worst {100 * calibration.worst_error:.0f} %" in text
    assert "note:" not in text


@pytest.mark.parametrize(
    ("card", "precision", "note"),
    [
        ("t4", "fp32", "no published figure of this card was available for a check"),
        ("gtx-1080-ti", "int8", "no published figure of this card in INT8 was available"),
        ("t4", "fp16", "all layers are taken to compute in FP16"),
    ],
)
def test_notes_say_what_was_not_checked(network_file, card, precision, note):
    assert f"note: {note}" in kc.estimate(network_file, card, precision).table()


def test_file_for_another_runtime_is_noted(network_file):
    import onnx

    from keras_crosscbam.runtime.description import METADATA, Description

    model = onnx.load(network_file)
    text = Description("nchw", extra={"optimized_for": "openvino"}).to_json()
    onnx.helper.set_model_props(model, {METADATA: text})
    onnx.save(model, network_file)
    assert "note: the file was rewritten for openvino" in kc.estimate(network_file).table()


def test_json_has_the_kernels_and_sums_over_stages(network_file, tmp_path, capsys):
    out = tmp_path / "estimate.json"
    assert main(["estimate", str(network_file), "--card", "a100", "--json", str(out)]) == 0
    assert capsys.readouterr().out.startswith("Estimate, not a measurement")
    entries = json.loads(out.read_text())
    assert entries["is_estimate"] is True
    assert sum(s["milliseconds"] for s in entries["stages"]) == pytest.approx(
        entries["milliseconds"]
    )
    assert entries["kernels"][0]["kernel"]["operators"] == ["Conv", "Relu"]


# --- files of any size, and refusals


def test_file_of_any_size_needs_a_size(tmp_path):
    sides = ("batch", 3, "rows", "columns")
    nodes = [conv("image", ["w"], "scores")]
    path = write_graph(
        tmp_path / "free.onnx", nodes, {"w": (4, 3, 3, 3)}, image=sides, output=("b", 4, "r", "c")
    )
    with pytest.raises(ValueError, match="takes images of any size: pass the size"):
        kc.estimate(path)
    found = kc.estimate(path, size=(10, 20))
    assert (found.batch, found.size) == (1, (10, 20))
    assert found.kernels[0].kernel.macs == 4 * 27 * 200


def test_channels_last_file_has_its_size(tmp_path):
    nodes = [
        ("Transpose", ["image"], ["y"], {"perm": (0, 3, 1, 2)}),
        conv("y", ["w"], "scores"),
    ]
    path = write_graph(
        tmp_path / "n.onnx", nodes, {"w": (4, 3, 3, 3)}, image=(2, 8, 16, 3), output=(2, 4, 8, 16)
    )
    found = kc.estimate(path)
    assert (found.batch, found.size) == (2, (8, 16))
    assert found.fps == pytest.approx(2000 / found.milliseconds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"card": "gtx-1060"},
            r"`card` must be one of gtx-1080-ti, .*agx-orin. Received: 'gtx-1060'",
        ),
        ({"precision": "fp8"}, "`precision` must be one of"),
        (
            {"precision": "fp16"},
            "no fp16 rate for gtx-1080-ti. .*in float32 there. Cards with fp16: rtx",
        ),
        ({"size": (16, 16)}, "takes images of 8x8. Received: 16x16"),
    ],
)
def test_refusals(network_file, arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.estimate(network_file, **arguments)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x00" * 100])
def test_unreadable_file(tmp_path, capsys, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert main(["estimate", str(path), "--card", "t4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"crosscbam estimate: {path}: not a readable ONNX file")


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"none.onnx: no such file"):
        kc.estimate(tmp_path / "none.onnx")


def test_quantized_file_is_estimated_in_int8_alone(tmp_path):
    whole = {"scale": np.float32([0.1]).reshape(()), "zero": np.int8(0).reshape(())}
    nodes = [
        ("QuantizeLinear", ["image", "scale", "zero"], ["q"], {}),
        ("DequantizeLinear", ["q", "scale", "zero"], ["d"], {}),
        conv("d", ["w"], "scores"),
    ]
    path = write_graph(tmp_path / "q.onnx", nodes, {"w": (4, 3, 3, 3), **whole})
    with pytest.raises(ValueError, match="quantized to INT8: pass precision='int8'"):
        kc.estimate(path)
    assert [k.kernel.operators for k in kc.estimate(path, precision="int8").kernels] == [("Conv",)]


@pytest.mark.parametrize(("kind", "domain"), [("Einsum", ""), ("Fast", "other.tool")])
def test_unknown_operator_is_refused(tmp_path, kind, domain):
    attributes = {"domain": domain, **({"equation": "abcd->abcd"} if kind == "Einsum" else {})}
    nodes = [(kind, ["image"], ["scores"], attributes)]
    path = write_graph(
        tmp_path / "n.onnx", nodes, output=(1, 3, 8, 8), opsets=[domain] if domain else ()
    )
    with pytest.raises(ValueError, match=f"The cost of the operator '{kind}' is not known"):
        kc.estimate(path)


def test_shape_that_depends_on_the_pixels_is_refused(tmp_path):
    nodes = [("NonZero", ["image"], ["y"], {}), ("Cast", ["y"], ["scores"], {"to": 1})]
    path = write_graph(tmp_path / "n.onnx", nodes, output=None)
    with pytest.raises(ValueError, match=r"is not fixed. Export the network with a fixed size"):
        kc.estimate(path)


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match=r"path of an ONNX file or a `keras.Model`. Received: 3"):
        kc.estimate(3)


def test_command_refuses_in_one_line(network_file, capsys):
    for options, message in (
        (["--card", "gtx-1060"], "`card` must be one of gtx-1080-ti"),
        (["--card", "t4", "--variant", "M"], "pass either a file or --variant, not both"),
        (["--card", "t4", "--size", "8"], "pass --size HEIGHTxWIDTH"),
    ):
        assert main(["estimate", str(network_file), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_a_file_needs_neither_keras_nor_a_runtime(network_file):
    program = (
        "import sys, keras_crosscbam as kc; "
        "sys.modules.update(dict.fromkeys(('keras', 'tensorflow', 'onnxruntime'))); "
        "print(kc.estimate(sys.argv[1], 't4').fps > 0)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, network_file], capture_output=True, text=True
    )
    assert (process.stdout, process.returncode) == ("True\n", 0), process.stderr
