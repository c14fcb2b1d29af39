"""Weights of other implementations become ours: by name, with a report, or not at all."""

import runpy
import sys
from pathlib import Path

import foreign_weights
import h5py
import keras
import numpy as np
import pytest
import torch
from foreign_weights import difference, renamed, stages
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import nn

import keras_crosscbam as kc
from keras_crosscbam.cli import main
from keras_crosscbam.models.weights import find_weights, switches_of
from keras_crosscbam.weight_conversion import TARGETS

ANY_SIZE = (None, None, 3)
TOLERANCE = 1e-4
STAGES = ("stage3", "stage4", "stage5")


@pytest.fixture(scope="module")
def twin():
    return foreign_weights.network()


@pytest.fixture(scope="module")
def deep_twin():
    return foreign_weights.network("stdc2")


@pytest.fixture(scope="module")
def images():
    return foreign_weights.pictures(2, (65, 97), seed=5)


def encoder_of(file, backbone="stdc1", **arguments):
    build = {"stdc1": kc.STDC1, "stdc2": kc.STDC2}[backbone]
    return build(include_top=False, weights=file, input_shape=ANY_SIZE, **arguments)


def assert_same_taps(file, module, images, backbone="stdc1"):
    ours, theirs = encoder_of(file, backbone)(images), stages(module, images)
    for stage in STAGES:
        assert theirs[stage].std() > 0.1
        assert difference(ours[stage], theirs[stage]) < TOLERANCE


# Encoders


@pytest.mark.parametrize(
    ("names", "prefix", "naming"),
    [
        ("published", "", "STDC-Seg"),
        ("published", "module.", "STDC-Seg"),
        ("published", "cp.backbone.", "STDC-Seg"),
        ("published", "module.cp.backbone.", "STDC-Seg"),
        ("mmsegmentation", "", "MMSegmentation"),
        ("mmsegmentation", "backbone.", "MMSegmentation"),
        ("mmsegmentation", "backbone.backbone.", "MMSegmentation"),
        ("super_gradients", "backbone.", "super-gradients"),
        ("super_gradients", "module.cp.backbone.", "super-gradients"),
    ],
)
def test_encoders_of_every_naming_compute_the_same(names, prefix, naming, twin, images, tmp_path):
    state = renamed(twin, getattr(foreign_weights, names), prefix=prefix)
    state[f"{prefix}arm16.conv.conv.weight"] = torch.zeros(128, 512, 3, 3)
    torch.save({"state_dict": state}, tmp_path / "w.tar")
    out = tmp_path / "w.weights.h5"
    conversion = kc.convert_weights(tmp_path / "w.tar", "stdc1", out)
    assert conversion.naming == naming
    assert conversion.left_out == (f"{prefix}arm16.conv.conv.weight",)
    counted = [name for name in state if name.endswith("num_batches_tracked")]
    assert len(conversion.loaded) == len(state) - len(counted) - 1
    assert conversion.missing == ("top_conv", "top_dense", "predictions")
    assert_same_taps(out, twin, images)


@pytest.mark.parametrize("names", ["published", "mmsegmentation", "super_gradients"])
def test_the_deeper_encoder_too(names, deep_twin, images, tmp_path):
    state = renamed(deep_twin, getattr(foreign_weights, names), "stdc2", "net.")
    save_file(state, tmp_path / "w.safetensors")
    kc.convert_weights(tmp_path / "w.safetensors", "stdc2", tmp_path / "w.weights.h5")
    assert_same_taps(tmp_path / "w.weights.h5", deep_twin, images, "stdc2")


def without_padding(module):
    for part in module.modules():
        if isinstance(part, nn.AvgPool2d):
            part.count_include_pad = False


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_paddles_encoder_leaves_the_padding_out(prefix, images, tmp_path):
    module = foreign_weights.network(change=without_padding)
    file = foreign_weights.write_paddle(
        tmp_path / "w.pdparams", renamed(module, foreign_weights.paddle, prefix=prefix)
    )
    out = tmp_path / "w.weights.h5"
    conversion = kc.convert_weights(file, "stdc1", out)
    assert conversion.naming == "PaddleSeg"
    assert conversion.switches == {"count_include_pad": False}
    assert "mean 0.5" in str(conversion)
    assert_same_taps(out, module, images)
    # Weights that came to Paddle from PyTorch were trained with poolings that count it.
    kc.convert_weights(file, "stdc1", out, count_include_pad=True)
    assert difference(encoder_of(out)(images)["stage3"], stages(module, images)["stage3"]) > 0.1


def test_the_switch_goes_with_the_weights(images, tmp_path):
    module = foreign_weights.network(change=without_padding)
    state = renamed(module, foreign_weights.paddle)
    file = foreign_weights.write_paddle(tmp_path / "w.pdparams", state)
    out = tmp_path / "w.weights.h5"
    kc.convert_weights(file, "stdc1", out)
    network = kc.CrossCBAM_M(num_classes=3, backbone_weights=out, input_shape=ANY_SIZE)
    assert switches_of(network) == {"count_include_pad": False}
    taps = keras.Model(network.input, network.get_layer("stage5").output)
    assert difference(taps(images), stages(module, images)["stage5"]) < TOLERANCE

    # Through a training's weights file, and through a `.keras` file.
    network.save_weights(tmp_path / "trained.weights.h5")
    again = kc.CrossCBAM_M(
        num_classes=3, weights=tmp_path / "trained.weights.h5", input_shape=ANY_SIZE
    )
    np.testing.assert_array_equal(again(images), network(images))
    network.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(images), network(images))

    with pytest.raises(ValueError, match=r"Build the model with count_include_pad=False"):
        kc.CrossCBAM_M(num_classes=3, backbone_weights=out, count_include_pad=True)
    shipped = find_weights("imagenet20", "stdc1").source
    with pytest.raises(ValueError, match=r"Build the model with count_include_pad=True"):
        kc.STDC1(weights=shipped, count_include_pad=False)


@pytest.mark.parametrize("names", ["published", "super_gradients"])
def test_the_published_classifier_squares_its_features(names, twin, images, tmp_path):
    classifier = foreign_weights.Classifier()
    prefix = "backbone." if names == "super_gradients" else ""
    state = renamed(twin, getattr(foreign_weights, names), prefix=prefix)
    unit = "seq." if names == "super_gradients" else ""
    for name, tensor in classifier.state_dict().items():
        state[name.replace("conv_last.", f"conv_last.{unit}")] = tensor
    torch.save({"state_dict": state}, tmp_path / "w.tar")
    out = tmp_path / "w.weights.h5"
    conversion = kc.convert_weights(tmp_path / "w.tar", "stdc1", out)
    assert conversion.switches == {"square_top": True}
    assert not conversion.left_out
    assert not conversion.missing
    model = kc.STDC1(weights=out, input_shape=ANY_SIZE, classifier_activation=None)
    stage5 = torch.from_numpy(stages(twin, images)["stage5"].transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        expected = classifier(stage5).numpy()
    assert expected.std() > 0.1
    assert difference(model(images), expected) < TOLERANCE
    # The encoder alone does not ask for the square.
    assert_same_taps(out, twin, images)
    with pytest.raises(ValueError, match="Build the model with square_top=True"):
        kc.STDC1(weights=out, square_top=False)
    assert switches_of(kc.STDC1(num_classes=7)) == {}


# Cross-CBAM


def test_the_twin_goes_there_and_back(twin, images, tmp_path):
    torch.save(twin.state_dict(), tmp_path / "w.pth")
    out = tmp_path / "w.weights.h5"
    conversion = kc.convert_weights(tmp_path / "w.pth", "CrossCBAM_M1", out)
    assert not conversion.missing + conversion.left_out
    model = kc.CrossCBAM_M1(weights=out, aux_head=True, input_shape=ANY_SIZE)
    expected = stages(twin, images)
    for head, logits in model(images).items():
        assert difference(logits, expected[head]) < TOLERANCE
    for back, read in (
        ("back.safetensors", load_file),
        ("back.pth", lambda path: torch.load(path, weights_only=True)),
    ):
        report = kc.convert_weights(out, "torch", tmp_path / back)
        state = read(tmp_path / back)
        assert set(report.loaded) == set(state)
        other = foreign_weights.torch_cross_cbam.CrossCBAM("stdc1", num_classes=11, aux_head=True)
        other.load_state_dict({name: torch.as_tensor(array) for name, array in state.items()})
        for name, tensor in other.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                np.testing.assert_array_equal(tensor, twin.state_dict()[name])


def test_shipped_weights_go_to_torch(images, tmp_path):
    source = find_weights("camvid", "cross_cbam_stdc1").source
    kc.convert_weights(source, "torch", tmp_path / "camvid.safetensors")
    module = foreign_weights.torch_cross_cbam.CrossCBAM("stdc1", num_classes=11)
    state = load_file(tmp_path / "camvid.safetensors")
    module.load_state_dict({n: torch.from_numpy(a) for n, a in state.items() if "aux" not in n})
    model = kc.CrossCBAM_M(weights="camvid", input_shape=ANY_SIZE)
    assert difference(model(images), stages(module.eval(), images)["main"]) < 1e-3


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"alpha": 0.5}, r"does not support: alpha=0\.5"),
        ({"gate_activation": "relu"}, "does not support: gate_activation='relu'"),
        ({"aspp_filters": 128, "aspp_dilation_rates": (2, 4)}, "aspp_dilation_rates="),
        ({"count_include_pad": False}, "does not support: count_include_pad=False"),
    ],
)
def test_networks_that_the_twin_does_not_compute_are_refused(architecture, message, tmp_path):
    kc.CrossCBAM(num_classes=2, **architecture).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match=message):
        kc.convert_weights(tmp_path / "w.weights.h5", "torch", tmp_path / "w.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.weights.h5"]


META = {
    "config": "norm_cfg = dict(type='BN', eps=0.001, requires_grad=True)\nmodel = dict(a=1)",
    "CLASSES": tuple("abcdefghijk"),
    "PALETTE": [[i, i, i] for i in range(11)],
}


@pytest.fixture(scope="module")
def authors():
    return foreign_weights.network(change=foreign_weights.with_authors_differences)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_authors_checkpoint_computes_the_same(prefix, authors, images, tmp_path):
    state = renamed(authors, foreign_weights.authors, prefix=prefix)
    state[f"{prefix}decode_head.last_conv.conv.weight"] = torch.zeros(256, 1024, 1, 1)
    state[f"{prefix}decode_head.lite_aspp.conv_seg.weight"] = torch.zeros(19, 256, 1, 1)
    torch.save({"meta": META, "state_dict": state}, tmp_path / "w.pth")
    out = tmp_path / "w.weights.h5"
    conversion = kc.convert_weights(tmp_path / "w.pth", "M1", out)
    assert len(conversion.left_out) == 2
    assert conversion.switches == {"gate_activation": "relu"}
    text = str(conversion)
    assert "biases instead of batch normalization" in text
    assert "is 0.001 in the file" in text
    assert "se_layer.conv1.conv" in text
    model = kc.CrossCBAM_M1(weights=out, aux_head=True, input_shape=ANY_SIZE)
    assert model.classes.names == tuple("abcdefghijk")
    expected = stages(authors, images)
    for head, logits in model(images).items():
        assert expected[head].std() > 0.1
        assert difference(logits, expected[head]) < TOLERANCE
    with pytest.raises(ValueError, match=r"does not support: gate_activation='relu'"):
        kc.convert_weights(out, "torch", tmp_path / "w.safetensors")


def authors_state(authors, **changes):
    state = renamed(authors, foreign_weights.authors)
    for name, tensor in changes.items():
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    return state


HEAD = "decode_head."


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({f"{HEAD}conv_seg.bias": None}, {}, r"decode_head\.conv_seg\.bias of \d+ layers are"),
        ({}, {"aspp_dilation_rates": (1, 3, 5)}, "do not match aspp_dilation_rates"),
        ({}, {"aspp_dilation_rates": (2, 4)}, "do not match aspp_dilation_rates"),
        (
            {f"{HEAD}lite_aspp.extra.weight": torch.zeros(256, 1024, 1, 1)},
            {},
            r"expected one array in decode_head\.lite_aspp with the shape",
        ),
        ({f"{HEAD}lite_aspp.bottleneck.conv.weight": None}, {}, "not the authors'"),
        (
            {f"{HEAD}penultimate_conv.conv.weight": torch.zeros(128, 512, 1, 1)},
            {},
            r"penultimate_conv\.conv: expected shapes \[\(1, 1, 512, 256\)\]",
        ),
    ],
)
def test_authors_checkpoints_of_another_structure_are_refused(
    changes, arguments, message, authors, tmp_path
):
    torch.save(authors_state(authors, **changes), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message) as error:
        kc.convert_weights(tmp_path / "w.pth", "M", tmp_path / "w.weights.h5", **arguments)
    assert str(tmp_path / "w.pth") in str(error.value)
    assert not (tmp_path / "w.weights.h5").exists()


def test_another_treatment_of_pixels_is_noted(twin, tmp_path):
    config = "img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[58.4, 57.1, 57.4], to_rgb=False)"
    state = renamed(twin, foreign_weights.mmsegmentation, prefix="backbone.")
    torch.save({"meta": {"config": config}, "state_dict": state}, tmp_path / "w.pth")
    report = kc.convert_weights(tmp_path / "w.pth", "stdc1", tmp_path / "w.weights.h5")
    assert len(report.notes) == 3
    assert "mean=[127.5, 127.5, 127.5]" in report.notes[0]
    assert "BGR" in report.notes[1]


def test_a_configuration_with_two_epsilons_asks_which(authors, tmp_path):
    config = "norm_cfg = dict(type='BN', eps=0.001)\nnorm_cfg = dict(type='SyncBN')"
    content = {"meta": {"config": config}, "state_dict": authors_state(authors)}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"pass the right one as `epsilon`"):
        kc.convert_weights(tmp_path / "w.pth", "M", tmp_path / "w.weights.h5")
    kc.convert_weights(tmp_path / "w.pth", "M", tmp_path / "w.weights.h5", epsilon=1e-3)


# Refusals


def published_state(module, **changes):
    state = renamed(module, foreign_weights.published)
    return {**state, **changes}


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        (
            lambda s: s.pop("features.5.conv_list.2.bn.bias"),
            "stdc1",
            r"features\.5\.conv_list\.2\.bn",
        ),
        (
            lambda s: s.update(
                {"features.7.conv_list.0.conv.weight": torch.zeros(512, 1024, 3, 3)}
            ),
            "stdc1",
            r"features\.7\.conv_list\.0\.conv: expected shapes \[\(1, 1, 1024, 512\)\]",
        ),
        (
            lambda s: s.update({"features.0.bn.running_var": torch.full((32,), float("nan"))}),
            "stdc1",
            r"features\.0\.bn contains numbers that are not finite",
        ),
        (lambda s: None, "stdc2", "its encoder is STDC1, but stdc2 needs STDC2"),
        (lambda s: None, "L1", "its encoder is STDC1, but L1 needs STDC2"),
        (lambda s: None, "M1", r"no decoder of Cross-CBAM\. Convert it with --to stdc1"),
        (lambda s: None, "S1", r"the width alpha=1, S1 0\.5"),
        (
            lambda s: s.update({"features.2.skip.0.weight": torch.zeros(64, 1, 3, 3)}),
            "stdc1",
            "another kind of STDC",
        ),
        (
            lambda s: s.update({f"teacher.{n}": t for n, t in s.items()}),
            "stdc1",
            "several encoders",
        ),
        (
            lambda s: s.pop("features.0.conv.weight"),
            "stdc1",
            "it contains no STDC: expected one of",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(change, to, message, twin, tmp_path):
    state = published_state(twin)
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message) as error:
        kc.convert_weights(tmp_path / "w.pth", to, tmp_path / "w.weights.h5")
    assert str(error.value).startswith(f"{tmp_path / 'w.pth'}: ")
    assert str(error.value).endswith("Nothing was written.")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("stdc3", "w.weights.h5"), "`to` must be one of stdc1, stdc2, M1"),
        (("stdc1", "w.keras"), r"`out` must end in \.weights\.h5"),
        (("torch", "w.onnx"), r"`out` must end in one of \.safetensors, \.pt, \.pth"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message, tmp_path):
    to, out = arguments
    with pytest.raises(ValueError, match=message):
        kc.convert_weights(tmp_path / "w.pth", to, tmp_path / out)


def test_an_epsilon_out_of_range_is_refused(twin, tmp_path):
    torch.save(published_state(twin), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="`epsilon` must be a small positive number"):
        kc.convert_weights(tmp_path / "w.pth", "stdc1", tmp_path / "w.weights.h5", epsilon=-1)


def test_biases_before_normalizations_are_kept(images, tmp_path):
    """A convolution with a bias and a normalization behind it, as some variants have it."""
    module = foreign_weights.network()
    unit = module.stem_conv2
    with_bias = nn.Conv2d(32, 64, 3, 2, padding=1)
    with_bias.weight = unit.conv.weight
    nn.init.normal_(with_bias.bias, std=0.1)
    unit.conv = with_bias
    torch.save(renamed(module, foreign_weights.mmsegmentation), tmp_path / "w.pth")
    kc.convert_weights(tmp_path / "w.pth", "stdc1", tmp_path / "w.weights.h5")
    assert_same_taps(tmp_path / "w.weights.h5", module, images)


def test_missing_packages_are_named(twin, tmp_path, monkeypatch):
    torch.save(twin.state_dict(), tmp_path / "w.pth")
    kc.convert_weights(tmp_path / "w.pth", "M", tmp_path / "w.weights.h5")
    for name in ("torch", "safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    # Reading takes neither.
    kc.convert_weights(tmp_path / "w.pth", "M", tmp_path / "again.weights.h5")
    with pytest.raises(ImportError, match=r"keras-crosscbam\[convert\]"):
        kc.convert_weights(tmp_path / "w.weights.h5", "torch", tmp_path / "w.safetensors")
    with pytest.raises(ImportError, match=r"or write \.safetensors instead"):
        kc.convert_weights(tmp_path / "w.weights.h5", "torch", tmp_path / "w.pt")
    assert not list(tmp_path.glob("*.safetensors"))


# Switches in weights files


def test_gates_with_a_relu_are_told_by_the_file(tmp_path, images):
    switched = {"num_classes": 3, "aspp_filters": 32, "input_shape": ANY_SIZE}
    model = kc.CrossCBAM("stdc1", gate_activation="relu", **switched)
    model.save_weights(tmp_path / "w.weights.h5")
    again = kc.CrossCBAM("stdc1", weights=tmp_path / "w.weights.h5", **switched)
    np.testing.assert_array_equal(again(images), model(images))
    plain = kc.CrossCBAM("stdc1", **switched)
    with pytest.raises(ValueError, match="Build the model with gate_activation='relu'"):
        find_weights(tmp_path / "w.weights.h5", "").load_into(plain)
    with pytest.raises(ValueError, match="gate_activation='relu'"):
        plain.load_weights(tmp_path / "w.weights.h5")
    model.load_weights(tmp_path / "w.weights.h5")
    # Files of older versions do not tell.
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        told = []
        file.visit(lambda name: told.append(name) if name.endswith("/switches") else None)
        for name in told:
            del file[name]
    assert len(told) == 3
    find_weights(tmp_path / "w.weights.h5", "").load_into(model)


def test_a_switch_of_a_newer_version_is_refused(tmp_path):
    model = kc.STDC1(num_classes=3, square_top=True)
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        told = []
        file.visit(lambda name: told.append(name) if name.endswith("/switches") else None)
        (name,) = told
        del file[name]
        file[name] = np.frombuffer(b'{"cube_top": true}', np.uint8)
    with pytest.raises(
        ValueError, match=r"switches that this version of the package does not know: \['cube"
    ):
        find_weights(tmp_path / "w.weights.h5", "")


# The command


def test_the_command_prints_the_report(twin, tmp_path, capsys):
    state = published_state(twin, **{"x2.0.0.conv.weight": torch.zeros(1)})
    torch.save({"state_dict": state}, tmp_path / "w.tar")
    out = tmp_path / "new" / "w.weights.h5"
    command = ["convert-weights", str(tmp_path / "w.tar"), "--to", "stdc1", "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == f"{tmp_path / 'w.tar'} (STDC-Seg) -> {out}"
    assert "left out: 1 arrays: x2 (1)" in printed
    assert "not in the file: top_conv, top_dense, predictions" in printed
    assert out.exists()
    assert main([*command[:3], "stdc2", *command[4:]]) == 2
    error = capsys.readouterr().err
    assert error.startswith("crosscbam convert-weights: ")
    assert error.count("\n") == 1


def test_every_variant_is_a_target():
    assert {
        "stdc1",
        "stdc2",
        "torch",
        *(n.removeprefix("CrossCBAM_") for n in kc.list_models()),
    } == {*TARGETS}


@pytest.mark.slow
def test_the_example_trains_from_a_converted_file(twin, made_camvid, tmp_path, monkeypatch, capsys):
    torch.save({"state_dict": published_state(twin)}, tmp_path / "STDCNet813M.tar")
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[1] / "examples" / "finetune_from_stdc.py"
    arguments = f"--stdc STDCNet813M.tar --data {made_camvid} --epochs 1 --batch 2 --crop 32 64"
    monkeypatch.setattr(sys, "argv", [str(example), *arguments.split()])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    assert "STDCNet813M.tar (STDC-Seg) -> stdc1_converted.weights.h5" in printed
    assert "finetuned.keras: val mIoU" in printed
    trained = keras.models.load_model("finetuned.keras")
    assert trained.classes.names == kc.datasets.CAMVID_CLASSES.names
