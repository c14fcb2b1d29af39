"""Losses against independent versions in NumPy and PyTorch, on three backends and two replicas."""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import backend_losses
import keras
import numpy as np
import pytest
import replica_losses
import tensorflow as tf
from backend_losses import (
    CASES,
    CLASSES,
    OF_ONE_CLASS,
    TAUGHT,
    WEIGHTS,
    of_one_class,
    value_and_gradient,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_crosscbam.datasets import IGNORE
from keras_crosscbam.training import (
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocalLoss,
    SegmentationMeanIoU,
    SegmentationOHEM,
    WeightedSum,
    make_loss,
)

few = settings(deadline=None, max_examples=25)
every_case = pytest.mark.parametrize("case", CASES)


def batch(shape=(2, 3, 4), ignored=0.3, scale=3.0, seed=7):
    """Labels, a share of them ignored, and logits of a given spread."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, shape).astype(np.uint8)
    labels[rng.random(shape) < ignored] = IGNORE
    return labels, rng.normal(0, scale, (*shape, CLASSES)).astype(np.float32)


# References in float64, pixel by pixel


def labeled(labels, logits):
    """Pairs of a class and all classes' log-probabilities, for each labeled pixel."""
    for label, x in zip(labels.ravel(), np.float64(logits.reshape(-1, CLASSES)), strict=True):
        if label < CLASSES:
            yield label, x - x.max() - math.log(np.exp(x - x.max()).sum())


def mean(pairs):
    """The mean of weighted numbers, given as (weighted number, weight)."""
    values, weights = zip(*pairs, strict=True) if pairs else ((), (1,))
    return math.fsum(values) / math.fsum(weights)


def numpy_cross_entropy(labels, logits, weights=(1,) * CLASSES, smoothing=0.0):
    pairs = []
    for label, log_p in labeled(labels, logits):
        target = np.full(CLASSES, smoothing / CLASSES)
        target[label] += 1 - smoothing
        pairs.append((-(target * weights * log_p).sum(), weights[label]))
    return mean(pairs)


def numpy_focal(labels, logits, gamma, weights=(1,) * CLASSES):
    return mean(
        [
            (-weights[label] * (1 - math.exp(log_p[label])) ** gamma * log_p[label], weights[label])
            for label, log_p in labeled(labels, logits)
        ]
    )


def numpy_ohem(labels, logits, threshold, min_kept, weights=(1,) * CLASSES):
    pixels = [(-log_p[label], weights[label]) for label, log_p in labeled(labels, logits)]
    pixels.sort(reverse=True)
    hard = [pixel for pixel in pixels if math.exp(-pixel[0]) < threshold]
    least = max(1, int(min_kept * labels.size))
    return mean([(w * x, w) for x, w in (hard if len(hard) > least else pixels[:least])])


def numpy_dice(labels, logits, smooth):
    pixels, missing = list(labeled(labels, logits)), []
    for c in {label for label, _ in pixels}:
        common = math.fsum(math.exp(log_p[c]) for label, log_p in pixels if label == c)
        total = math.fsum(math.exp(log_p[c]) + (label == c) for label, log_p in pixels)
        missing.append(1 - (2 * common + smooth) / (total + smooth))
    return sum(missing) / max(len(missing), 1)


REFERENCES = {
    "cross_entropy": numpy_cross_entropy,
    "cross_entropy_weighted": lambda *pair: numpy_cross_entropy(*pair, WEIGHTS),
    "cross_entropy_smoothed": lambda *pair: numpy_cross_entropy(*pair, smoothing=0.2),
    "cross_entropy_both": lambda *pair: numpy_cross_entropy(*pair, WEIGHTS, 0.1),
    "focal": lambda *pair: numpy_focal(*pair, 2),
    "focal_weighted": lambda *pair: numpy_focal(*pair, 0.5, WEIGHTS),
    "focal_5": lambda *pair: numpy_focal(*pair, 5),
    "ohem": lambda *pair: numpy_ohem(*pair, 0.7, 1 / 16),
    "ohem_few": lambda *pair: numpy_ohem(*pair, 0.01, 0.4),
    "ohem_weighted": lambda *pair: numpy_ohem(*pair, 0.3, 0.2, WEIGHTS),
    "dice": lambda *pair: numpy_dice(*pair, 1),
    "dice_plain": lambda *pair: numpy_dice(*pair, 0),
    "sum": lambda *pair: 0.25 * numpy_focal(*pair, 1) + 2 * numpy_dice(*pair, 1),
}


def eager_gradient(loss, labels, logits):
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, variable)
    return float(value), tape.gradient(value, variable).numpy()


# Values


@every_case
@few
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    ignored=st.sampled_from([0, 0.3, 0.9, 1]),
    scale=st.sampled_from([0.1, 1, 5, 50]),
    seed=st.integers(0, 2**32 - 1),
)
def test_loss_is_that_of_numpy(case, shape, ignored, scale, seed):
    labels, logits = batch(shape, ignored, scale, seed)
    expected = REFERENCES[case](labels, logits)
    assert float(CASES[case](labels, logits)) == pytest.approx(expected, rel=1e-4, abs=2e-6)


@every_case
def test_gradient_is_that_of_finite_differences(case):
    labels, logits = batch(scale=1.5)
    expected, step = np.zeros(logits.shape), 1e-5
    for index in np.ndindex(logits.shape):
        shift = np.zeros(logits.shape)
        shift[index] = step
        ahead, back = (REFERENCES[case](labels, logits + sign * shift) for sign in (1, -1))
        expected[index] = (ahead - back) / (2 * step)
    assert np.abs(expected).max() > 1e-3
    _, gradient = eager_gradient(CASES[case], labels, logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@every_case
def test_nothing_labeled_gives_no_loss_and_no_gradient(case):
    value, gradient = eager_gradient(CASES[case], *batch(ignored=1))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@every_case
def test_ignored_pixels_do_not_matter(case):
    labels, logits = batch()
    changed = np.where((labels == IGNORE)[..., None], 1000 * logits, logits)
    assert float(CASES[case](labels, changed)) == float(CASES[case](labels, logits))


@every_case
@pytest.mark.parametrize("no_class", [CLASSES, 200, -1])
def test_labels_that_are_no_class_are_ignored(case, no_class):
    labels, logits = batch()
    changed = np.where(labels == IGNORE, no_class, labels.astype(int))
    assert float(CASES[case](changed, logits)) == float(CASES[case](labels, logits))


@pytest.mark.parametrize(
    "loss_class",
    [SegmentationCrossEntropy, SegmentationFocalLoss, SegmentationOHEM, SegmentationDice],
)
def test_another_ignore_label(loss_class):
    labels, logits = batch(ignored=0)
    changed = np.where(labels == 2, IGNORE, labels)
    loss, usual = loss_class(ignore_class=2), loss_class()
    assert float(loss(labels, logits)) == float(usual(changed, logits)) != 0


@every_case
@pytest.mark.parametrize("logit", [90.0, 1e4, 1e30])
def test_gradient_stays_finite_where_all_is_certain(case, logit):
    labels, _ = batch()
    # One half of the columns right beyond doubt, the other half as wrong.
    shown = np.where(np.arange(4) < 2, labels % CLASSES, (labels + 1) % CLASSES)
    logits = logit * np.eye(CLASSES, dtype=np.float32)[shown]
    value, gradient = eager_gradient(CASES[case], labels, logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@every_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_logits_of_half_precision_are_computed_in_float32(case, dtype):
    # So many pixels of so large a loss that no sum of them fits into float16.
    labels, logits = batch((1, 70, 70), ignored=0.1, scale=1000)
    logits = ops.cast(logits, dtype)
    expected = REFERENCES[case](labels, np.asarray(ops.cast(logits, "float32")))
    floatx = keras.config.floatx()
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    keras.config.set_floatx(dtype)
    try:
        loss = type(CASES[case]).from_config(CASES[case].get_config())
        results = loss(labels, logits), loss.call(labels, logits)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(floatx)
    for result in results:
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        assert float(result) == pytest.approx(expected, rel=1e-4)


@every_case
def test_loss_is_deterministic(case):
    labels, logits = batch((2, 150, 150))
    (value, gradient), (again, same) = (
        eager_gradient(CASES[case], labels, logits) for _ in range(2)
    )
    assert value == again
    np.testing.assert_array_equal(gradient, same)


# Against PyTorch


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_and_its_gradient_are_those_of_pytorch(weights, smoothing):
    torch = pytest.importorskip("torch")
    labels, logits = batch()
    variable = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        variable.movedim(-1, 1),
        torch.tensor(labels).long(),
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
    )
    expected.backward()
    loss = SegmentationCrossEntropy(weights, smoothing)
    value, gradient = eager_gradient(loss, labels, logits)
    assert value == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, variable.grad, atol=1e-7)


@pytest.mark.parametrize("gamma", [0, 0.3, 1, 2, 5])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_and_its_gradient_are_those_of_pytorch(weights, gamma):
    torch = pytest.importorskip("torch")
    labels, logits = batch()
    variable = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    counted = torch.tensor(labels) != IGNORE
    truth = torch.tensor(labels).long()[counted]
    p = variable.softmax(-1)[counted].gather(1, truth[:, None])[:, 0]
    weight = torch.tensor(weights or (1,) * CLASSES, dtype=torch.float64)[truth]
    expected = (weight * -((1 - p) ** gamma) * p.log()).sum() / weight.sum()
    expected.backward()
    value, gradient = eager_gradient(SegmentationFocalLoss(gamma, weights), labels, logits)
    assert value == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, variable.grad, atol=1e-7)


# Focal loss


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_of_gamma_0_is_cross_entropy(weights):
    focal, plain = SegmentationFocalLoss(0, weights), SegmentationCrossEntropy(weights)
    (value, gradient), (expected, slope) = (
        eager_gradient(loss, *batch(scale=20)) for loss in (focal, plain)
    )
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1, 2])
def test_focal_loss_next_to_certainty(gamma):
    """It goes like `missing ** (gamma + 1)`, and `missing` like the exponential of the logits."""
    missing = 1e-4
    logits = np.float32([[[[-math.log(missing), 0]]]])
    expected = missing ** (gamma + 1)
    value, gradient = eager_gradient(SegmentationFocalLoss(gamma), np.zeros((1, 1, 1)), logits)
    assert value == pytest.approx(expected, rel=0.01)
    slope = (gamma + 1) * expected
    np.testing.assert_allclose(gradient.ravel(), [-slope, slope], rtol=0.01)


# Online hard example mining


def ohem_of(probabilities, labels=None, **kwargs):
    """The loss of one row of pixels, given the probability that class 0 has in each."""
    p = np.float64(probabilities)
    logits = np.log(np.stack([p, 1 - p], axis=-1))[None, None]
    labels = np.zeros(p.shape) if labels is None else np.array(labels)
    return float(SegmentationOHEM(**kwargs)(labels[None, None], logits))


def minus_log(*probabilities):
    return pytest.approx(-np.log(probabilities).mean(), rel=1e-5)


def test_ohem_takes_all_pixels_below_the_threshold():
    p = [0.1, 0.9, 0.5, 0.99, 0.69, 0.71, 0.95, 0.8]
    assert ohem_of(p) == minus_log(0.1, 0.5, 0.69)
    assert ohem_of(p, threshold=0.75) == minus_log(0.1, 0.5, 0.69, 0.71)


def test_ohem_takes_the_hardest_where_too_few_are_below_the_threshold():
    assert ohem_of([0.95, 0.9, 0.8, 0.99], min_kept=0.5) == minus_log(0.9, 0.8)
    assert ohem_of([0.95, 0.2, 0.8, 0.99], min_kept=0.5) == minus_log(0.2, 0.8)
    assert ohem_of([0.95, 0.9, 0.8, 0.99], min_kept=0) == minus_log(0.8)
    assert ohem_of([0.3, 0.9, 0.8, 0.99], threshold=0, min_kept=1) == minus_log(0.3, 0.9, 0.8, 0.99)


def test_ohem_counts_the_share_of_all_pixels_but_takes_labeled_ones_alone():
    p, labels = [0.01, 0.9, 0.02, 0.8], [IGNORE, 0, IGNORE, 0]
    assert ohem_of(p, labels, min_kept=0.25) == minus_log(0.8)
    assert ohem_of(p, labels, min_kept=0.5) == minus_log(0.9, 0.8)
    assert ohem_of(p, labels, min_kept=1) == minus_log(0.9, 0.8)


def test_ohem_takes_equally_hard_pixels_together():
    # Class 1 weighs more, so that it would show which of them were taken.
    mixed = {"labels": [0, 1, 0, 1], "class_weights": [1, 3], "min_kept": 0.25}
    assert ohem_of([0.8, 0.2, 0.8, 0.05], **mixed) == minus_log(0.8)
    heavy = (math.log(0.8) + 3 * math.log(0.9)) / -4
    assert ohem_of([0.8, 0.1, 0.8, 0.1], **mixed | {"min_kept": 1}) == pytest.approx(heavy)


def test_ohem_weights_do_not_decide_what_is_hard():
    loss = ohem_of([0.8, 0.1], labels=[0, 1], class_weights=[0.01, 100], min_kept=0.5)
    assert loss == minus_log(0.8)


# Compiled, on three backends, and on two replicas


def spread_unevenly():
    """Classes 0 and 1 in the first two images; few pixels, of other classes, in the last two."""
    labels, logits = batch((4, 6, 5))
    labels[:2] = np.where(labels[:2] == IGNORE, IGNORE, labels[:2] % 2)
    labels[2:, :5] = IGNORE
    labels[2:, 5] = [[2, 3, 4, 2, 3], [IGNORE] * 5]
    return labels, logits


SPREAD_UNEVENLY = spread_unevenly()

PROGRAMS = {"jax": backend_losses, "torch": backend_losses, "tensorflow": replica_losses}


@pytest.fixture(scope="module")
def results_of(tmp_path_factory):
    """Starts the programs, all on CPUs; returns what waits for a backend's arrays."""
    folder = tmp_path_factory.mktemp("losses")
    labels, logits = SPREAD_UNEVENLY
    np.savez(folder / "batches.npz", labels=labels, logits=logits)

    def start(backend, program):
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        files = folder / "batches.npz", folder / f"{backend}.npz"
        return subprocess.Popen([sys.executable, program.__file__, *files], env=environment)

    running = {
        backend: start(backend, program)
        for backend, program in PROGRAMS.items()
        if find_spec(backend)
    }

    def wait(backend):
        if backend not in running:
            pytest.skip(f"{backend} is not installed")
        assert running[backend].wait() == 0
        return np.load(folder / f"{backend}.npz")

    yield wait
    for process in running.values():
        process.kill()


@pytest.fixture(scope="module")
def traced():
    """Each loss and gradient on TensorFlow, traced before the sizes are known."""
    return {
        case: value_and_gradient(loss, *SPREAD_UNEVENLY) for case, loss in (CASES | TAUGHT).items()
    }


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree(results_of, traced, backend):
    results = results_of(backend)
    for case, (value, gradient) in traced.items():
        np.testing.assert_allclose(results[case], value, rtol=1e-5, err_msg=case)
        np.testing.assert_allclose(
            results[f"{case}_gradient"], gradient, atol=1e-6, err_msg=f"gradient of {case}"
        )


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_agree_on_one_class(results_of, backend):
    results, pair = results_of(backend), of_one_class(*SPREAD_UNEVENLY)
    for case, loss in OF_ONE_CLASS.items():
        value, gradient = value_and_gradient(loss, *pair)
        assert value > 0
        np.testing.assert_allclose(results[f"one_{case}"], value, rtol=1e-5, err_msg=case)
        np.testing.assert_allclose(
            results[f"one_{case}_gradient"], gradient, atol=1e-6, err_msg=f"gradient of {case}"
        )
    metric = SegmentationMeanIoU(num_classes=1)
    metric.update_state(*pair)
    np.testing.assert_allclose(results["one_mean_iou"], metric.per_class())


def test_replicas_add_up_to_the_whole_batch(results_of):
    results = results_of("tensorflow")
    for case, loss in replica_losses.CASES.items():
        assert results[case] == pytest.approx(float(loss(*SPREAD_UNEVENLY)), rel=1e-5), case


def test_replicas_learn_as_one(results_of):
    labels, logits = SPREAD_UNEVENLY
    model = replica_losses.build_model()
    alone = replica_losses.fit(model, {"labels": labels, "logits": logits})
    assert np.ptp(alone["losses"]) > 0.1
    results = results_of("tensorflow")
    np.testing.assert_allclose(results["losses"], alone["losses"], rtol=1e-5)
    np.testing.assert_allclose(results["kernel"], alone["kernel"], atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_trace_serves_all_sizes(jit_compile):
    cases = ("cross_entropy_both", "focal_weighted", "ohem_weighted", "dice")
    signature = tf.TensorSpec((None,) * 3, "uint8"), tf.TensorSpec((*(None,) * 3, CLASSES))

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def losses(labels, logits):
        return [CASES[case](labels, logits) for case in cases]

    for shape in ((2, 3, 4), (1, 8, 5)):
        pair = batch(shape)
        expected = [REFERENCES[case](*pair) for case in cases]
        np.testing.assert_allclose(losses(*map(tf.constant, pair)), expected, rtol=1e-4)


@every_case
def test_a_replica_may_get_no_image_at_all(case):
    """As where the last batch has fewer images than there are replicas."""
    value, gradient = value_and_gradient(CASES[case], *batch((0, 4, 4)))
    assert value == 0
    assert gradient.shape == (0, 4, 4, CLASSES)


# Serialization, names, errors


@every_case
def test_loss_survives_serialization(case):
    loss = CASES[case]
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    again = keras.losses.get(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert float(again(*batch())) == float(loss(*batch()))


def test_model_is_judged_by_its_loss_and_saved_with_it(tmp_path):
    model = keras.Sequential([keras.Input((None, None, CLASSES)), keras.layers.Conv2D(CLASSES, 1)])
    model.compile("sgd", make_loss("ce:0.5,focal:0.5", WEIGHTS))
    labels, images = batch()
    logits = model.predict(images, verbose=0)
    expected = (
        numpy_cross_entropy(labels, logits, WEIGHTS) + numpy_focal(labels, logits, 2, WEIGHTS)
    ) / 2
    assert model.evaluate(images, labels, verbose=0) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is WeightedSum
    assert again.evaluate(images, labels, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("ce", SegmentationCrossEntropy(WEIGHTS, 0.1)),
        ("ce:1", SegmentationCrossEntropy(WEIGHTS, 0.1)),
        ("focal", SegmentationFocalLoss(3.0, WEIGHTS)),
        ("ohem", SegmentationOHEM(class_weights=WEIGHTS)),
        ("dice", SegmentationDice()),
        ("dice:2", WeightedSum([(SegmentationDice(), 2)])),
        (
            " ce : 1, dice:5e-1",
            WeightedSum([(SegmentationCrossEntropy(WEIGHTS, 0.1), 1), (SegmentationDice(), 0.5)]),
        ),
    ],
)
def test_make_loss(spec, expected):
    loss = make_loss(spec, WEIGHTS, focal_gamma=3.0, label_smoothing=0.1)
    assert keras.losses.serialize(loss) == keras.losses.serialize(expected)


@pytest.mark.parametrize("spec", ["", "cross", "ce,", "ce:", "ce:x", "ce 0.5", "ce:1:1", "CE"])
def test_make_loss_names_what_it_knows(spec):
    with pytest.raises(ValueError, match=r"ce, focal, ohem, dice.*Received: '"):
        make_loss(spec)


@pytest.mark.parametrize("spec", ["ce:0", "ce:-1,dice", "ce:nan", "ce:inf"])
def test_make_loss_wants_positive_weights(spec):
    with pytest.raises(ValueError, match="positive number"):
        make_loss(spec)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: SegmentationFocalLoss(-0.1), "gamma"),
        (lambda: SegmentationFocalLoss(5.1), "gamma"),
        (lambda: SegmentationFocalLoss(math.nan), "gamma"),
        (lambda: SegmentationCrossEntropy(label_smoothing=1.1), "label_smoothing"),
        (lambda: SegmentationCrossEntropy([1, -1]), "class_weights"),
        (lambda: SegmentationOHEM(threshold=7), "threshold"),
        (lambda: SegmentationOHEM(min_kept=100_000), "min_kept"),
        (lambda: SegmentationDice(smooth=-1), "smooth"),
        (lambda: WeightedSum([]), "losses"),
        (lambda: WeightedSum([(keras.losses.MeanSquaredError(), 1)]), "losses"),
    ],
)
def test_bad_arguments_are_refused(make, argument):
    with pytest.raises(ValueError, match=rf"`{argument}` must .*Received: "):
        make()


@pytest.mark.parametrize(
    "given",
    [
        dict(enumerate(WEIGHTS)),
        dict(reversed(list(enumerate(WEIGHTS)))),
        {np.int64(index): np.float32(weight) for index, weight in enumerate(WEIGHTS)},
        np.array(WEIGHTS),
        iter(WEIGHTS),
    ],
)
def test_class_weights_come_in_every_usual_form(given):
    """A dict stands for its values by their keys, whatever the order it was written in."""
    loss = SegmentationCrossEntropy(given)
    assert loss.class_weights == pytest.approx(WEIGHTS)
    labels, logits = batch()
    expected = numpy_cross_entropy(labels, logits, WEIGHTS)
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        {1: 2.0, 2: 3.0},
        {0: 1.0, 2: 3.0},
        {"0": 1.0, "1": 2.0},
        {"road": 1.0, "sky": 2.0},
        {0: "much", 1: 2.0},
        {},
        [],
        {1.0, 2.0},
        "12",
        3.0,
        [[1.0, 2.0]],
        [1.0, None],
    ],
)
@pytest.mark.parametrize(
    "make", [SegmentationCrossEntropy, lambda w: make_loss("ce:0.5,ohem:0.5", w)]
)
def test_class_weights_of_other_forms_are_refused(make, given):
    with pytest.raises(
        ValueError, match="`class_weights` must be one positive number for each label"
    ):
        make(given)


@every_case
def test_sample_weights_are_refused(case):
    labels, logits = batch()
    with pytest.raises(ValueError, match="does not support sample weights"):
        CASES[case](labels, logits, sample_weight=np.ones(labels.shape))


def test_shapes_that_do_not_fit_are_refused():
    labels, logits = batch()
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3, 4, 1\), logits of"):
        SegmentationDice()(labels[..., None], logits)
    with pytest.raises(ValueError, match="5 classes of `class_weights`"):
        SegmentationOHEM(class_weights=WEIGHTS)(labels, logits[..., :3])
