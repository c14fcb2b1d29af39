"""Probabilities, entropies and thresholds, beside NumPy and SciPy."""

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy

import keras_crosscbam as kc
from keras_crosscbam.confidence import assess, confidence_pictures
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable
from keras_crosscbam.heat_map import COLORS, heat_map
from keras_crosscbam.images import STREET
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.description import Description
from keras_crosscbam.segmentation import segment_files
from keras_crosscbam.visualize import overlay, painted


class Gray(Runtime):
    """One logit a pixel, or its sigmoid, or the label: red from -2 to 2."""

    def __init__(self, output="logits"):
        super().__init__("gray", None, 1, description=Description(output=output))

    def run(self, prepared):
        logits = prepared[..., :1] / 63.75 - 2
        if self.description.output == "probabilities":
            return 1 / (1 + np.exp(-logits))
        return (logits > 0).astype(np.uint8) if self.description.output == "labels" else logits


@pytest.fixture
def scores(rng):
    return rng.normal(scale=3, size=(150, 7, 5)).astype(np.float32)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_maps(scores, output):
    expected = softmax(scores, axis=-1)
    given = scores if output == "logits" else expected
    labels, probability, spread = assess(given, output)
    np.testing.assert_array_equal(labels, scores.argmax(-1))
    np.testing.assert_allclose(probability, expected.max(-1), atol=1e-6)
    np.testing.assert_allclose(spread, entropy(expected, axis=-1) / np.log(5), atol=1e-5)
    # A foreign file does not say which of the two it gives.
    np.testing.assert_allclose(assess(given).probability, probability, atol=1e-6)


def test_extremes():
    scores = np.float32([[[0, 0, 0], [1000, 0, 0], [0, 1, 0]]])
    _, probability, spread = assess(scores)
    np.testing.assert_allclose(probability[0, :2], [1 / 3, 1], atol=1e-6)
    np.testing.assert_allclose(spread[0, :2], [1, 0], atol=1e-6)
    assert assess(np.float32([[[0, 1, 0]]]), "probabilities").entropy.tolist() == [[0]]


def test_threshold(scores):
    labels, probability, _ = assess(scores, threshold=0.7)
    sure = probability >= 0.7
    assert 0 < sure.mean() < 1
    np.testing.assert_array_equal(labels[sure], scores.argmax(-1)[sure])
    assert set(labels[~sure]) == {255}


def test_probabilities_in_python(network):
    plain = kc.segment(network, STREET, size=64)
    labels, probabilities = kc.segment(network, STREET, size=64, return_probabilities=True)
    np.testing.assert_array_equal(labels, plain)
    assert probabilities.shape == (*plain.shape, 11)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), plain)
    some = kc.segment(network, [STREET], size=64, threshold=0.6)[0]
    expected = np.where(probabilities.max(-1) < 0.6, 255, plain)
    np.testing.assert_array_equal(some, expected)
    assert 0 < (some == 255).mean() < 1


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_one_class_has_two_probabilities(output):
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    labels, probabilities = kc.segment(Gray(output), image, return_probabilities=True)
    expected = 1 / (1 + np.exp(-(np.arange(256) / 63.75 - 2)))
    np.testing.assert_allclose(probabilities[0, :, 1], expected, atol=1e-6)
    np.testing.assert_array_equal(labels[0], expected > 0.5)
    unsure = kc.segment(Gray(output), image, threshold=0.8)[0]
    np.testing.assert_array_equal(unsure == 255, np.maximum(expected, 1 - expected) < 0.8)


def test_labels_alone_have_no_probabilities(tmp_path):
    for options in ({"threshold": 0.5}, {"return_probabilities": True}):
        with pytest.raises(ValueError, match="gray gives labels, not scores"):
            kc.segment(Gray("labels"), STREET, **options)
    with pytest.raises(ValueError, match="gray gives labels, not scores"):
        segment_files(Gray("labels"), STREET, tmp_path, confidence=True)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`threshold` must be a probability"):
            kc.segment(Gray(), STREET, threshold=wrong)


def test_files(tmp_path):
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2).repeat(40, axis=0)
    Image.fromarray(image).save(tmp_path / "a.png")
    options = {"confidence": True, "threshold": 0.8}
    (result,) = segment_files(Gray(), tmp_path / "a.png", tmp_path / "out", **options)
    expected = assess(Gray().scores(image), threshold=0.8)
    read = {
        kind: np.asarray(Image.open(tmp_path / "out" / f"a_{kind}.png"))
        for kind in ("labels", "probability", "entropy", "confidence", "overlay")
    }
    np.testing.assert_array_equal(read["labels"], expected.labels)
    np.testing.assert_array_equal(read["probability"], np.rint(255 * expected.probability))
    np.testing.assert_array_equal(read["entropy"], np.rint(255 * expected.entropy))
    np.testing.assert_array_equal(read["confidence"][:40], COLORS[read["probability"]])
    # Where it is not sure, the overlay shows the image.
    unsure = expected.labels == 255
    np.testing.assert_array_equal(read["overlay"][:, :256][:40][unsure], image[unsure])
    assert sum(result.shares.values()) == pytest.approx(1 - unsure.mean())


def test_heat_map_rises_in_brightness():
    brightness = COLORS @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) >= 0).all()
    assert brightness[0] < 5
    assert brightness[-1] > 235
    mixed = heat_map(np.ones((2, 3)), np.full((2, 3, 3), 100, np.uint8), opacity=0.5)
    np.testing.assert_allclose(np.asarray(mixed)[0, 0], 100 / 2 + COLORS[255] / 2, atol=1)
    outside = np.asarray(heat_map(np.array([[-1.0, 2.0]])))
    np.testing.assert_array_equal(outside[0], COLORS[[0, 255]])


def test_pictures_of_any_size():
    for size in ((1, 1), (3, 500), (500, 3)):
        pictures = confidence_pictures(assess(np.zeros((*size, 3), np.float32)))
        assert pictures["probability"].size == size[::-1]
        assert pictures["confidence"].width == size[1]


def test_only_some_classes_are_drawn(tmp_path):
    table = ClassTable(("Road", "Sky"), ((200, 0, 0), (0, 200, 0)))
    image = np.full((70, 90, 3), 100, np.uint8)
    labels = np.zeros((70, 90), np.uint8)
    labels[:, 40:] = 1
    labels[:, 80:] = 255
    seen = painted(image, labels, table, shown=("Sky",))
    np.testing.assert_array_equal(seen[:, :40], image[:, :40])
    np.testing.assert_array_equal(seen[:, 80:], image[:, 80:])
    np.testing.assert_allclose(seen[:, 40:80], np.broadcast_to([50, 150, 50], (70, 40, 3)), atol=1)
    legend = np.asarray(overlay(image, labels, table, shown=("Sky",)))[:, 90:].reshape(-1, 3)
    assert [0, 200, 0] in legend.tolist()
    assert [200, 0, 0] not in legend.tolist()
    assert CAMVID_CLASSES.find(["road", "SKY", "Car"]) == ("Road", "Sky", "Car")
    with pytest.raises(ValueError, match=r"No class is called 'tram', 'Bus'. The classes are Sky,"):
        CAMVID_CLASSES.find(["road", "tram", "Bus"])
    with pytest.raises(ValueError, match="No class is called 'tram'"):
        segment_files(Gray(), STREET, tmp_path, shown=["tram"])
