"""One interface over Keras and ONNX Runtime, and evaluation through it."""

import numpy as np
import pytest

import keras_crosscbam as kc
from keras_crosscbam.confusion import confusion_matrix
from keras_crosscbam.datasets import CAMVID_CLASSES, ClassTable, load_camvid
from keras_crosscbam.evaluation import report, summarize
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.runtime.base import Runtime


class Stripes(Runtime):
    """Says class 0 for dark pixels and class 1 for bright ones, at the size it is given."""

    def __init__(self, size=None):
        super().__init__("stripes", size, 2)
        self.seen = []

    def run(self, prepared):
        self.seen.append(prepared.shape[1:3])
        bright = prepared[..., :1] - 127.5
        return np.concatenate([-bright, bright], axis=-1)


IMAGE = np.zeros((40, 60, 3), np.uint8)
IMAGE[:, 30:] = 255


@pytest.mark.parametrize(
    ("fixed", "asked", "network_size"),
    [
        (None, None, (40, 60)),
        (None, 20, (20, 30)),
        (None, (16, 16), (16, 16)),
        ((8, 16), None, (8, 16)),
        ((8, 16), (8, 16), (8, 16)),
    ],
)
def test_labels_have_the_images_size(fixed, asked, network_size):
    run = Stripes(fixed)
    labels = run(IMAGE, asked)
    assert run.seen == [network_size]
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, IMAGE[..., 0] > 0)


def test_another_size_than_the_fixed_one_is_refused():
    with pytest.raises(ValueError, match=r"fixed to 8x16 pixels. Received: size=\(8, 8\)"):
        Stripes((8, 16))(IMAGE, (8, 8))


def test_scores_are_resized_like_torch_does():
    import torch

    run = Stripes()
    small = np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    scores = run.scores(small, output_size=(33, 57))
    planes = torch.from_numpy(run.logits(small[None]).transpose(0, 3, 1, 2))
    expected = torch.nn.functional.interpolate(planes, (33, 57), mode="bilinear")[0]
    np.testing.assert_allclose(scores, expected.permute(1, 2, 0), atol=1e-3)


class GivenScores(Runtime):
    """Outputs the scores that it is given, for an image of their height and width."""

    def __init__(self, scores):
        super().__init__("given", None, scores.shape[-1])
        self.output = scores[None]

    def run(self, prepared):
        return self.output


@pytest.mark.parametrize("output_size", [(9, 14), (18, 28), (33, 57), (9, 40), (5, 40), (4, 7)])
def test_labels_of_another_size_are_those_of_the_resized_scores(rng, output_size):
    """Larger labels are computed without resizing all scores, smaller ones from all of them."""
    smooth = rng.normal(size=(9, 14, 6)).cumsum(0).cumsum(1).astype(np.float32)
    run, image = GivenScores(smooth), np.zeros((9, 14, 3), np.uint8)
    scores = run.scores(image, output_size=output_size)
    labels = run.predict(image, output_size=output_size)
    assert labels.shape == output_size
    chosen = np.take_along_axis(scores, labels[..., None].astype(int), axis=-1)[..., 0]
    assert (scores.max(axis=-1) - chosen).max() < 1e-4


def test_classes_are_numbered_where_nobody_named_them():
    assert Stripes().classes.names == ("class 0", "class 1")


def test_class_table_of_another_length_is_refused(network):
    with pytest.raises(ValueError, match="has 11 classes, but the class table names 2"):
        kc.runtime.load(network, ClassTable(("a", "b"), ((0, 0, 0), (1, 1, 1))))


def test_onnx_equals_keras_on_a_photograph(network, onnx_file):
    photo = read_image(STREET)
    labels = kc.runtime.load(onnx_file)(photo)
    expected = kc.runtime.load(network)(photo, (90, 120))
    assert labels.shape == photo.shape[:2]
    assert np.mean(labels == expected) > 0.9999


def test_onnx_file_brings_its_class_names(onnx_file):
    assert kc.runtime.load(onnx_file).classes == CAMVID_CLASSES


def test_keras_file(network, tmp_path):
    network.save(tmp_path / "m.keras")
    image = read_image(STREET)[:64, :96]
    np.testing.assert_array_equal(
        kc.segment(tmp_path / "m.keras", image), kc.segment(network, image)
    )


def test_damaged_files_are_refused(onnx_file, tmp_path):
    for name, data in {"cut.onnx": onnx_file.read_bytes()[:5000], "cut.keras": b"PK"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}: not a readable"):
            kc.runtime.load(tmp_path / name)


@pytest.mark.parametrize("wrong", ["m.weights.h5", "m.txt"])
def test_other_files_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected a Keras model or the path"):
        kc.runtime.load(wrong)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere.onnx: no such file"):
        kc.runtime.load(tmp_path / "nowhere.onnx")


def test_confusion_matrix_by_hand():
    truth = np.array([[0, 0, 1], [2, 255, 1]], np.uint8)
    prediction = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)
    expected = [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 3), expected)


def test_summary_by_hand():
    """Class c never occurs: its IoU is NaN and it does not enter the mean."""
    table = ClassTable(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    result = summarize(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), table, frames=2)
    assert result["iou"]["a"] == pytest.approx(3 / 4)
    assert result["iou"]["b"] == pytest.approx(4 / 5)
    assert np.isnan(result["iou"]["c"])
    assert result["mean_iou"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert result["pixel_accuracy"] == pytest.approx(7 / 8)
    assert result["classes_in_mean"] == 2
    assert "mean IoU        77.50 % (over 2 of 3 classes)" in report(result)
    assert "\nc       -\n" in report(result)


def test_evaluate_equals_the_keras_metric(network, data_root):
    """The command's figure and the one shown during `fit` are two implementations of one thing."""
    from keras_crosscbam.datasets.pipeline import evaluation_batches
    from keras_crosscbam.training import SegmentationMeanIoU

    frames = load_camvid(data_root / "camvid-480x360", "val").subset([0, 40, 80])
    metric = SegmentationMeanIoU(11)
    for images, labels in evaluation_batches(frames):
        metric.update_state(labels, network(images, training=False))
    result = kc.evaluate(network, frames)
    assert result["frames"] == 3
    assert result["mean_iou"] == pytest.approx(float(metric.result()), abs=1e-6)
    np.testing.assert_allclose(list(result["iou"].values()), metric.per_class(), atol=1e-6)


def test_evaluate_refuses_other_classes(data_root):
    with pytest.raises(ValueError, match="has 2 classes, the data set 'camvid' 11"):
        kc.evaluate(Stripes(), load_camvid(data_root / "camvid-480x360", "val"))
