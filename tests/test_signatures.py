"""Builders spell out their arguments, and `help` explains each of them."""

import inspect
import pydoc
import re

import pytest

import keras_crosscbam as kc
from keras_crosscbam.variants import VARIANTS

GENERAL = {f"CrossCBAM_{name}": kc.CrossCBAM for name in VARIANTS}
GENERAL |= {"STDC1": kc.STDC, "STDC2": kc.STDC}
BUILDERS = [*GENERAL, "CrossCBAM", "STDC"]
SMALL = (64, 96, 3)


def parameters(function):
    return inspect.signature(function, eval_str=True).parameters


@pytest.mark.parametrize("name", GENERAL)
def test_named_builders_have_the_arguments_of_the_general_one(name):
    named, general = parameters(getattr(kc, name)), dict(parameters(GENERAL[name]))
    del general["backbone"]
    assert list(named) == list(general)
    own = {"input_shape", "alpha", "name"} if name.startswith("Cross") else set()
    for argument in general.keys() - own:
        assert named[argument] == general[argument]


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda variant: variant.name)
def test_defaults_are_those_of_the_table(variant):
    named = parameters(getattr(kc, f"CrossCBAM_{variant.name}"))
    assert named["alpha"].default == variant.alpha
    assert named["name"].default == f"cross_cbam_{variant.name.lower()}"


@pytest.mark.parametrize("name", BUILDERS)
def test_every_argument_and_result_has_a_type(name):
    signature = inspect.signature(getattr(kc, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize("name", BUILDERS)
def test_help_explains_every_argument(name):
    text = pydoc.plaintext.document(getattr(kc, name), name)
    arguments = text[text.index("Args:") : text.index("Returns:")]
    explained = re.findall(r"^ {8}(\w+): ", arguments, re.MULTILINE)
    assert explained == list(parameters(getattr(kc, name)))
    assert f">>> {'model = ' if name == 'CrossCBAM' else ''}" in text
    assert "Raises:" in text
    assert not re.search(r"[{]\w*[}]", text)


@pytest.mark.parametrize("name", ["L1", "S"])
def test_the_number_of_classes_is_that_of_the_table(name):
    model = getattr(kc, f"CrossCBAM_{name}")(SMALL, aspp_filters=32)
    assert model.output_shape == (None, 64, 96, VARIANTS[name].num_classes)
    assert model.classes is None


def test_weights_and_classes_come_before_the_table(tmp_path):
    file = tmp_path / "three.weights.h5"
    kc.CrossCBAM_M(SMALL, num_classes=3).save_weights(file)
    assert kc.CrossCBAM_M(SMALL, weights=file).output_shape[-1] == 3
    assert kc.CrossCBAM_M(SMALL, classes=["sky", "road"]).output_shape[-1] == 2
    with pytest.raises(ValueError, match=r"`num_classes` must be at least 1\. Received: 0"):
        kc.CrossCBAM_M(SMALL, num_classes=0)


def test_named_encoders_pass_their_arguments_on():
    model = kc.STDC2((64, 96, 1), num_classes=5, classifier_activation=None, alpha=0.5, name="mine")
    assert (model.name, model.input_shape, model.output_shape) == (
        "mine",
        (None, 64, 96, 1),
        (None, 5),
    )
    assert model.get_layer("predictions").activation.__name__ == "linear"
