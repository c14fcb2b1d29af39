"""Test-time augmentation: the mean of several views."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import keras_crosscbam as kc
from keras_crosscbam.cli import main
from keras_crosscbam.datasets import load_camvid
from keras_crosscbam.evaluation import report
from keras_crosscbam.runtime import Description, TTARuntime
from keras_crosscbam.runtime.base import Runtime

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


class Slope(Runtime):
    """Three scores that depend on a pixel and on how far to the right it lies."""

    def __init__(self, size=None, output="logits"):
        super().__init__("slope", size, 3, description=Description(output=output))
        self.seen = []

    def run(self, prepared):
        self.seen.append(prepared.shape[1:3])
        right = np.linspace(0, 3, prepared.shape[2], dtype=np.float32)[:, None]
        return prepared.astype(np.float32) / 64 + right * np.float32([0, 1, -1])


def test_one_view_changes_no_label():
    np.testing.assert_array_equal(TTARuntime(Slope())(IMAGE), Slope()(IMAGE))


def test_the_mirror_image_is_averaged_like_torch_does():
    views = Slope().logits(IMAGE[None]), Slope().logits(IMAGE[None, :, ::-1])[:, :, ::-1]
    expected = sum(torch.from_numpy(view.copy()).softmax(dim=-1) for view in views) / 2
    found = TTARuntime(Slope(), flip=True).scores(IMAGE)
    np.testing.assert_allclose(found, expected[0], atol=1e-6)


def test_the_mirror_image_gets_mirrored_labels():
    run = TTARuntime(Slope(), scales=(1.0, 1.5), flip=True)
    np.testing.assert_allclose(
        run.scores(IMAGE)[:, ::-1], run.scores(np.ascontiguousarray(IMAGE[:, ::-1])), atol=1e-5
    )


def test_scales_are_averaged_like_torch_does():
    """A constant image has no borders that two ways of resizing could differ at."""
    image, run = np.full((24, 32, 3), 90, np.uint8), Slope()
    found = TTARuntime(run, scales=(0.5, 1.0)).scores(image)
    assert run.seen == [(12, 16), (24, 32)]
    small, large = (
        torch.from_numpy(Slope().logits(array[None])).softmax(dim=-1).permute(0, 3, 1, 2)
        for array in (image[:12, :16], image)
    )
    enlarged = functional.interpolate(small, (24, 32), mode="bilinear")
    np.testing.assert_allclose(found, ((enlarged + large) / 2)[0].permute(1, 2, 0), atol=1e-5)


def test_scales_are_of_the_size_asked_for():
    run = Slope()
    labels = TTARuntime(run, scales=(0.75, 1.25))(IMAGE, 48)
    assert run.seen == [(36, 48), (60, 80)]
    assert labels.shape == (24, 32)


def test_probabilities_stay_what_they_are():
    run = Slope(output="probabilities")
    np.testing.assert_allclose(TTARuntime(run).scores(IMAGE), run.scores(IMAGE), atol=1e-6)


@pytest.mark.parametrize(
    ("run", "views", "message"),
    [
        (Slope(), {"scales": ()}, "positive numbers. Received"),
        (Slope(), {"scales": (1.0, 0.0)}, "positive numbers. Received"),
        (Slope((24, 32)), {"scales": (1.0, 2.0)}, "fixed to 24x32 pixels"),
        (Slope(output="labels"), {"flip": True}, "slope outputs labels"),
    ],
)
def test_what_cannot_be_averaged_is_refused(run, views, message):
    with pytest.raises(ValueError, match=message):
        TTARuntime(run, **views)


def test_a_network_of_fixed_size_has_a_mirror_image():
    run = Slope((12, 16))
    assert TTARuntime(run, flip=True)(IMAGE).shape == (24, 32)
    assert run.seen == [(12, 16)] * 2


def test_the_commands_take_views(small_network, made_camvid, tmp_path, capsys):
    """As `evaluate` and `predict` print and write it, against the same in Python."""
    path = tmp_path / "network.keras"
    small_network.save(path)
    many = TTARuntime(kc.runtime.load(path), scales=(0.5, 1.0), flip=True)
    data = load_camvid(made_camvid, "val")
    views = ["--model", str(path), "--data", str(made_camvid), "--flip", "--scales", "0.5", "1"]
    main(["evaluate", *views])
    assert report(kc.evaluate(many, data)) in capsys.readouterr().out
    main(["predict", *views, "--split", "val", "--out", str(tmp_path / "out")])
    for index, (path, _) in enumerate(data.pairs):
        written = np.asarray(Image.open(tmp_path / "out" / path.name))
        np.testing.assert_array_equal(written, many(data[index][0]))


def test_an_encoder_has_no_views(tmp_path, capsys):
    assert main(["evaluate", "--variant", "STDC1", "--data", str(tmp_path), "--flip"]) == 2
    assert (
        "--flip, --scales, --pictures and --hold-out are for segmentation"
        in capsys.readouterr().err
    )
