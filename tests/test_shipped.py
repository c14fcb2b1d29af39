"""The shipped weights do what their manifest entries say, in Keras and in ONNX Runtime."""

import pytest

import keras_crosscbam as kc
from keras_crosscbam.images import STREET

BUILDERS = {"cross_cbam_stdc1": kc.CrossCBAM_M, "cross_cbam_stdc2": kc.CrossCBAM_L}
ENTRIES = [
    pytest.param(entry, id=f"{name}-{entry['architecture']}")
    for name, entries in kc.list_weights().items()
    for entry in entries
]


def build(entry):
    return BUILDERS[entry["architecture"]](weights=entry["name"], input_shape=(None, None, 3))


def test_camvid_weights_ship():
    assert "cross_cbam_stdc1" in [e["architecture"] for e in kc.list_weights()["camvid"]]


@pytest.mark.parametrize("entry", ENTRIES)
def test_validation_figures_in_both_formats(entry, data_root, tmp_path):
    """To a hundredth of a point: rounding differs between processors, results do not."""
    data = kc.datasets.load_camvid(data_root / "camvid-480x360", "val")
    model, file = build(entry), tmp_path / "model.onnx"
    frames = [image for image, _ in data.pairs[::20]]
    print(kc.export.to_onnx(model, file, input_size=entry["input_size"], frames=frames))
    for candidate in (model, file):
        result = kc.evaluate(candidate, data)
        assert result["frames"] == entry["val_frames"]
        assert result["mean_iou"] == pytest.approx(entry["val_mean_iou"], abs=1e-4)
        assert result["pixel_accuracy"] == pytest.approx(entry["val_pixel_accuracy"], abs=1e-4)
        assert result["iou"] == pytest.approx(entry["val_iou"], abs=2e-4)


def test_photograph_of_a_street_shows_a_street():
    """A golden result that no rounding changes: what covers this picture, largest first."""
    model = kc.CrossCBAM_M(weights="camvid", input_shape=(None, None, 3))
    labels = kc.segment(model, STREET, size=360)
    shares = kc.visualize.class_shares(labels, model.classes)
    assert list(shares)[:2] == ["Building", "Sky"]
    assert shares["Road"] + shares["Pavement"] > 0.15
