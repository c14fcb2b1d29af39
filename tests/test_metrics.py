"""Metric and schedule against independent versions in NumPy and in cityscapesScripts."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from PIL import Image

from keras_crosscbam.datasets import IGNORE
from keras_crosscbam.training import (
    PolySchedule,
    SegmentationCrossEntropy,
    SegmentationMeanIoU,
    iou_per_class,
)

CLASSES = 5
SHAPE = (2, 4, 6)
WEIGHTS = (0.5, 1, 2, 4, 0.1)

few = settings(deadline=None, max_examples=25)
label_maps = arrays(np.uint8, SHAPE, elements=st.sampled_from([*range(CLASSES), IGNORE]))
logit_maps = arrays(np.float32, (*SHAPE, CLASSES), elements=st.floats(-50, 50, width=32))


@pytest.fixture
def labels(rng):
    """Labels of all classes and some ignored pixels."""
    return rng.choice([*range(CLASSES), IGNORE], SHAPE).astype(np.uint8)


@pytest.fixture
def logits(rng):
    return rng.normal(0, 3, (*SHAPE, CLASSES)).astype(np.float32)


# Metric


@pytest.fixture
def pixelwise_model():
    """Logits from each pixel by itself, trained with the loss and judged by the metric."""
    model = keras.Sequential([keras.Input((None, None, CLASSES)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile(
        keras.optimizers.Adam(0.1),
        SegmentationCrossEntropy(WEIGHTS),
        metrics=[SegmentationMeanIoU(CLASSES)],
    )
    return model


def test_evaluate_agrees_with_numpy(pixelwise_model, labels, logits):
    scores = pixelwise_model.evaluate(logits, labels, return_dict=True, verbose=0)
    predicted = pixelwise_model.predict(logits, verbose=0)
    iou = numpy_iou(labels, predicted.argmax(axis=-1))
    assert scores["mean_iou"] == pytest.approx(np.nanmean(iou), rel=1e-5)


def test_fit_learns(pixelwise_model, labels, rng):
    onehot = np.eye(256, CLASSES, dtype=np.float32)[labels]
    history = pixelwise_model.fit(onehot, labels, epochs=40, verbose=0).history
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["mean_iou"][-1] == 1


def numpy_iou(labels, predicted, classes=CLASSES):
    """IoU of each class from sets of pixels, without a confusion matrix."""
    valid = labels != IGNORE
    iou = np.full(classes, np.nan)
    for c in range(classes):
        truth, prediction = (labels == c) & valid, (predicted == c) & valid
        if (truth | prediction).any():
            iou[c] = (truth & prediction).sum() / (truth | prediction).sum()
    return iou


def onehot(predicted, classes=CLASSES):
    return np.eye(classes, dtype=np.float32)[predicted]


@few
@given(label_maps, arrays(np.uint8, SHAPE, elements=st.integers(0, CLASSES - 1)))
def test_metric_is_the_mean_over_the_classes_that_occur(labels, predicted):
    expected = numpy_iou(labels, predicted)
    metric = SegmentationMeanIoU(CLASSES)
    metric.update_state(labels, onehot(predicted))
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-6)
    mean = 0 if np.isnan(expected).all() else np.nanmean(expected)
    assert float(metric.result()) == pytest.approx(mean, rel=1e-5)


def test_confusion_has_truth_in_rows(labels, rng):
    predicted = rng.integers(0, CLASSES, SHAPE)
    metric = SegmentationMeanIoU(CLASSES)
    metric.update_state(labels, onehot(predicted))
    expected = np.zeros((CLASSES, CLASSES))
    for truth, prediction in zip(labels.ravel(), predicted.ravel(), strict=True):
        if truth != IGNORE:
            expected[truth, prediction] += 1
    np.testing.assert_array_equal(ops.convert_to_numpy(metric.confusion), expected)
    np.testing.assert_allclose(iou_per_class(expected), numpy_iou(labels, predicted))


def test_iou_per_class_by_hand():
    # Class 0 is found on 3 pixels and taken for class 1 on one; class 2 is nowhere.
    iou = iou_per_class([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(iou, [0.75, 0, np.nan])


def test_absent_classes_do_not_enter_the_mean():
    metric = SegmentationMeanIoU(CLASSES)
    metric.update_state(np.array([[[0, 0, 1]]]), onehot(np.array([[[0, 0, 2]]])))
    # Class 1 is missed, 2 is wrongly predicted; 3 and 4 occur in neither.
    np.testing.assert_array_equal(metric.per_class(), [1, 0, 0, np.nan, np.nan])
    assert float(metric.result()) == pytest.approx(1 / 3)


def test_metric_before_any_pixel_is_zero():
    assert float(SegmentationMeanIoU(CLASSES).result()) == 0


def test_metric_accumulates_over_batches_and_resets(labels, rng):
    predicted = rng.integers(0, CLASSES, SHAPE)
    metric, whole = SegmentationMeanIoU(CLASSES), SegmentationMeanIoU(CLASSES)
    whole.update_state(labels, onehot(predicted))
    for _ in range(2):
        for i in range(len(labels)):
            metric.update_state(labels[i : i + 1], onehot(predicted[i : i + 1]))
        assert float(metric.result()) == float(whole.result())
        metric.reset_state()
        assert float(metric.result()) == 0


def test_metric_takes_logits_of_any_dtype(labels, logits):
    results = []
    for dtype in ("float32", "bfloat16"):
        metric = SegmentationMeanIoU(CLASSES)
        metric.update_state(labels, ops.cast(np.round(logits * 4), dtype))
        results.append(float(metric.result()))
    assert results[0] == results[1]


def test_metric_refuses_sample_weights(labels, logits):
    with pytest.raises(ValueError, match="sample weights"):
        SegmentationMeanIoU(CLASSES).update_state(labels, logits, sample_weight=np.ones(SHAPE))


@pytest.mark.parametrize("channels", [1, CLASSES - 1, CLASSES + 1])
def test_metric_refuses_logits_of_another_number_of_classes(labels, channels):
    logits = np.zeros((*SHAPE, channels), np.float32)
    with pytest.raises(ValueError, match=rf"`num_classes=5` channels.*Received: .*{channels}\)"):
        SegmentationMeanIoU(CLASSES).update_state(labels, logits)


def test_metric_survives_serialization(labels, logits):
    metric = SegmentationMeanIoU(CLASSES, ignore_class=3, name="iou")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is SegmentationMeanIoU
    assert again.get_config() == metric.get_config()
    for m in (metric, again):
        m.update_state(labels % CLASSES, logits)
    assert float(again.result()) == float(metric.result())


@few
@given(label_maps, logit_maps)
def test_metric_agrees_with_keras(labels, logits):
    # Classes that only the prediction of ignored pixels holds count in neither.
    ours = SegmentationMeanIoU(CLASSES)
    theirs = keras.metrics.MeanIoU(CLASSES, ignore_class=IGNORE, sparse_y_pred=False)
    for metric in (ours, theirs):
        metric.update_state(labels, logits)
    assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-5)


def test_metric_agrees_with_cityscapes_scripts(tmp_path, rng):
    """On files: truth with all the ids of Cityscapes, predictions with those of the 19 classes."""
    evaluation = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    ids = {label.id: label.trainId for label in evaluation.labels if label.id >= 0}
    evaluated = sorted((i for i, train_id in ids.items() if train_id != 255), key=ids.get)
    assert len(evaluated) == 19
    to_label = np.array([ids[i] for i in range(len(ids))])

    metric, files = SegmentationMeanIoU(19), []
    for frame in range(3):
        truth = rng.choice(list(ids), (20, 30)).astype(np.uint8)
        # The last two classes occur nowhere, the one before only where nothing counts.
        truth[np.isin(truth, evaluated[-3:])] = 0
        predicted = np.where(rng.random(truth.shape) < 0.5, to_label[truth], 3)
        predicted[predicted == IGNORE] = rng.integers(0, 17, (predicted == IGNORE).sum())
        metric.update_state(to_label[truth][None], onehot(predicted, 19)[None])
        pair = (
            tmp_path / f"a_{frame:06}_000019_pred.png",
            tmp_path / f"a_{frame:06}_000019_gtFine_labelIds.png",
        )
        for file, array in zip(pair, (np.take(evaluated, predicted), truth), strict=True):
            Image.fromarray(array.astype(np.uint8)).save(file)
        files.append([str(file) for file in pair])

    predictions, truths = map(list, zip(*files, strict=True))
    options = {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True}
    arguments = SimpleNamespace(**{**vars(evaluation.args), **options})
    results = evaluation.evaluateImgLists(predictions, truths, arguments)
    expected = [results["classScores"][evaluation.id2label[i].name] for i in evaluated]
    assert np.isnan(expected).tolist() == 16 * [False] + 3 * [True]
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-6)
    assert float(metric.result()) == pytest.approx(results["averageScoreClasses"], rel=1e-5)


# Schedule


def numpy_rate(step, first, steps, last, power, warmup):
    rate = last + (first - last) * (1 - min(step, steps) / steps) ** power
    return rate * min(1, (step + 1) / warmup) if warmup else rate


@few
@given(
    step=st.integers(0, 200_000),
    steps=st.integers(1, 100_000),
    last=st.floats(0, 0.01),
    power=st.floats(0.5, 2),
    warmup=st.integers(0, 1000),
)
def test_schedule_follows_the_formula(step, steps, last, power, warmup):
    schedule = PolySchedule(0.01, steps, last, power=power, warmup_steps=warmup)
    expected = numpy_rate(step, 0.01, steps, last, power, warmup)
    assert float(schedule(step)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_schedule_starts_and_ends_at_the_given_rates():
    schedule = PolySchedule(0.01, 100, 1e-4)
    rates = [float(schedule(step)) for step in range(150)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100:] == pytest.approx([1e-4] * 50)
    assert (np.diff(rates[:101]) < 0).all()


def test_warm_up_rises_linearly():
    schedule = PolySchedule(0.01, 10**9, warmup_steps=4)
    assert [float(schedule(s)) for s in range(6)] == pytest.approx(
        [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01]
    )


def test_schedule_survives_serialization():
    schedule = PolySchedule(0.01, 100, 1e-4, power=0.8, warmup_steps=7)
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert type(again) is PolySchedule
    assert again.get_config() == schedule.get_config()
    assert [float(again(s)) for s in (0, 3, 50)] == [float(schedule(s)) for s in (0, 3, 50)]


def test_optimizer_steps_along_the_schedule():
    optimizer = keras.optimizers.SGD(PolySchedule(0.1, 3, power=1.0))
    variable = keras.Variable(np.float32(0))
    path = []
    for _ in range(4):
        optimizer.apply([ops.ones(())], [variable])
        path.append(float(variable))
    assert np.diff([0, *path]) == pytest.approx([-0.1, -0.2 / 3, -0.1 / 3, 0], abs=1e-7)


@pytest.mark.parametrize("number", [None, 2.0, 0, -1])
def test_a_number_of_classes_that_is_none_is_refused(number):
    with pytest.raises(ValueError, match="`num_classes` must be a whole number"):
        SegmentationMeanIoU(number)
