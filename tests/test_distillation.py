"""Distillation: the loss, the teachers beside a network, and trainings with them."""

import json
import math
import shutil
import signal
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from trained import arrays_of, assert_same_end, log_of, run, start
from training_program import TINY

import keras_crosscbam as kc
from keras_crosscbam.checksum import file_sha256
from keras_crosscbam.datasets import IGNORE, load_camvid
from keras_crosscbam.models.architecture import architecture_of
from keras_crosscbam.models.weights import Weights, find_weights, variables_of
from keras_crosscbam.training import RECIPES, Phase, SegmentationDistillation, with_settings
from keras_crosscbam.training.teachers import Teacher, find_teachers, with_teachers

CLASSES = 5
ALPHA = 0.125
NARROW = {"alpha": ALPHA, "use_se_aspp": False, "fusion": "sum"}


def batch(shape=(2, 3, 4), ignored=0.3, scale=3.0, seed=7):
    """Labels, a share of them ignored, and the logits of a student and a teacher."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, shape).astype(np.uint8)
    labels[rng.random(shape) < ignored] = IGNORE
    return labels, *rng.normal(0, scale, (2, *shape, CLASSES)).astype(np.float32)


def loss_of(labels, student, teacher, temperature=1.0):
    both = np.concatenate([student, teacher], axis=-1)
    return float(SegmentationDistillation(temperature)(labels, both))


def log_probabilities(logits):
    shifted = np.float64(logits) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def probabilities(logits):
    return np.exp(log_probabilities(logits))


def numpy_distillation(labels, student, teacher, temperature):
    q, p = (log_probabilities(np.float64(x) / temperature) for x in (student, teacher))
    divergence = (np.exp(p) * (p - q)).sum(axis=-1)[labels != IGNORE]
    return temperature**2 * divergence.mean() if divergence.size else 0.0


# The loss


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    ignored=st.sampled_from([0, 0.3, 0.9, 1]),
    scale=st.sampled_from([0.1, 1, 5, 20]),
    temperature=st.sampled_from([0.5, 1.0, 2.0, 8.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_loss_is_that_of_numpy(shape, ignored, scale, temperature, seed):
    pair = batch(shape, ignored, scale, seed)
    expected = numpy_distillation(*pair, temperature)
    assert loss_of(*pair, temperature) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_and_gradient_are_those_of_pytorch(temperature):
    torch = pytest.importorskip("torch")
    labels, student, teacher = batch()
    variable = torch.tensor(student, dtype=torch.float64, requires_grad=True)
    counted = torch.tensor(labels) != IGNORE
    expected = temperature**2 * torch.nn.functional.kl_div(
        torch.log_softmax(variable / temperature, -1)[counted],
        torch.softmax(torch.tensor(teacher, dtype=torch.float64) / temperature, -1)[counted],
        reduction="batchmean",
    )
    expected.backward()
    both = tf.Variable(np.concatenate([student, teacher], axis=-1))
    with tf.GradientTape() as tape:
        value = SegmentationDistillation(temperature)(labels, both)
    gradient = tape.gradient(value, both).numpy()
    assert float(value) == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(gradient[..., :CLASSES], variable.grad, atol=1e-7)
    np.testing.assert_array_equal(gradient[..., CLASSES:], 0)


@pytest.mark.parametrize("no_class", [IGNORE, CLASSES, 2 * CLASSES - 1, -1])
def test_pixels_without_a_class_do_not_matter(no_class):
    """Whatever the teacher sees in the padding of a crop; five classes, not ten."""
    labels, student, teacher = batch()
    left_out = (labels == IGNORE)[..., None]
    changed = [np.where(left_out, factor * x, x) for factor, x in ((9, student), (-7, teacher))]
    expected = loss_of(labels, student, teacher)
    relabeled = np.where(labels == IGNORE, no_class, labels.astype(int))
    assert loss_of(relabeled, *changed) == pytest.approx(expected, rel=1e-6)


def test_the_same_scores_cost_nothing_and_certain_ones_stay_finite():
    labels, student, _ = batch(ignored=0)
    assert loss_of(labels, student, student + 5, 2.0) == pytest.approx(0, abs=1e-6)
    certain = np.float32(1e4) * np.eye(CLASSES, dtype=np.float32)[labels]
    assert loss_of(labels, certain, certain) == 0
    assert math.isfinite(loss_of(labels, -certain, certain))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_logits_of_half_precision_are_computed_in_float32(dtype):
    labels, *logits = batch((1, 70, 70), scale=300)
    both = keras.ops.cast(np.concatenate(logits, axis=-1), dtype)
    rounded = np.split(np.asarray(keras.ops.cast(both, "float32")), 2, axis=-1)
    loss = SegmentationDistillation(0.5)(labels, both)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(numpy_distillation(labels, *rounded, 0.5), rel=1e-4)


def test_loss_survives_serialization():
    loss = SegmentationDistillation(3.0, ignore_class=2)
    again = keras.losses.get(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert again.get_config() == loss.get_config()
    labels, *logits = batch()
    both = np.concatenate(logits, axis=-1)
    assert float(again(labels, both)) == float(loss(labels, both)) != 0


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be a positive number\. Received: "):
        SegmentationDistillation(temperature)
    with pytest.raises(ValueError, match="`temperature` must be positive and finite"):
        replace(TINY, temperature=temperature)


def test_logits_of_one_network_are_refused():
    labels, student, _ = batch()
    with pytest.raises(ValueError, match=r"even number.*\(2, 3, 4, 5\)"):
        SegmentationDistillation()(labels, student)
    with pytest.raises(ValueError, match="does not support sample weights"):
        SegmentationDistillation()(labels, student, sample_weight=np.ones(labels.shape))


# The teachers


def network(seed=0, num_classes=11, **switches):
    """A network whose scores are far enough apart to be learned."""
    keras.utils.set_random_seed(seed)
    model = kc.CrossCBAM(
        input_shape=(None, None, 3), num_classes=num_classes, **(NARROW | switches)
    )
    kernel = model.get_layer("classifier").kernel
    kernel.assign(np.random.default_rng(seed).normal(0, 0.5, kernel.shape))
    return model


def saved(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    return saved(network(), tmp_path_factory.mktemp("teacher") / "teacher.weights.h5")


@pytest.fixture
def images(rng):
    return rng.uniform(0, 255, (2, 48, 64, 3)).astype(np.float32)


def logits_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def test_probabilities_of_several_teachers_are_averaged(images):
    networks = [network(seed, dropout_rate=0.9) for seed in (1, 2, 3)]
    layer = Teacher(networks)
    each = [probabilities(logits_of(model, images)) for model in networks]
    # In inference mode whatever is around it.
    taught = keras.ops.convert_to_numpy(layer(images, training=True))
    np.testing.assert_allclose(probabilities(taught), np.mean(each, axis=0), atol=1e-5)
    alone = keras.ops.convert_to_numpy(Teacher(networks[:1])(images))
    np.testing.assert_array_equal(alone, logits_of(networks[0], images))
    assert not layer.weights


def test_a_teacher_stands_beside_the_network_and_outside_its_weights(teacher_file, images):
    student = kc.CrossCBAM(
        input_shape=(None, None, 3), num_classes=11, aux_head=True, dropout_rate=0.9, **NARROW
    )
    model = with_teachers(student, [find_weights(teacher_file, "")], {})
    assert sorted(w.path for w in model.weights) == sorted(w.path for w in student.weights)
    outputs = model(images, training=True)
    assert outputs.keys() == {"main", "aux", "distilled"}
    expected = logits_of(network(), images)
    np.testing.assert_allclose(outputs["distilled"][..., 11:], expected, atol=1e-5)
    np.testing.assert_array_equal(outputs["distilled"][..., :11], outputs["main"])
    inference = kc.inference_model(model)
    assert inference.output_shape == (None, None, None, 11)
    assert not any(layer.name == "teacher" for layer in inference.layers)


@pytest.mark.parametrize(
    "switches",
    [
        {"fusion": "ccbam"},
        {"fusion": "ccbam", "use_se_aspp": True},
        {
            "fusion": "ccbam",
            "use_se_aspp": True,
            "aspp_filters": 512,
            "aspp_dilation_rates": (2, 4, 12),
        },
        {"fusion": "ccbam", "aspp_filters": 128, "backbone": "stdc2"},
        {"fusion": "sum", "aspp_filters": 512},
        {"fusion": "sum", "alpha": 0.25},
        {"fusion": None, "use_se_aspp": True},
        {"fusion": None},
    ],
    ids=str,
)
def test_the_architecture_is_found_from_the_file(switches, images):
    model = network(**switches)
    arrays = {
        path: [keras.ops.convert_to_numpy(v) for v in variables]
        for path, variables in variables_of(model).items()
    }
    weights = Weights("some.weights.h5", arrays, {})
    found = architecture_of(weights)
    assert found["alpha"] == switches.get("alpha", ALPHA)
    again = kc.CrossCBAM(input_shape=(None, None, 3), **found)
    weights.load_into(again)
    np.testing.assert_array_equal(logits_of(again, images), logits_of(model, images))


def test_the_switch_that_older_files_do_not_tell_is_read_in_the_teachers_folder(tmp_path, images):
    gated = {"gate_activation": "relu", "fusion": "ccbam"}
    file = saved(network(**gated), tmp_path / "run" / "best.weights.h5")
    with h5py.File(file, "r+") as content:
        told = []
        content.visit(lambda name: told.append(name) if name.endswith("/switches") else None)
        for name in told:
            del content[name]
    assert len(told) == 2
    student = kc.CrossCBAM(input_shape=(None, None, 3), num_classes=11, aux_head=True, **NARROW)

    def taught(architecture):
        model = with_teachers(student, [find_weights(file, "")], architecture)
        return keras.ops.convert_to_numpy(model(images)["distilled"][..., 11:])

    expected = logits_of(network(**gated), images)
    assert np.abs(taught({}) - expected).max() > 1e-3
    np.testing.assert_allclose(taught({"gate_activation": "relu"}), expected, atol=1e-5)
    recipe = {"architecture": {"gate_activation": "relu"}}
    file.with_name("run.json").write_text(json.dumps({"recipe": recipe, "data": {}}))
    np.testing.assert_allclose(taught({}), expected, atol=1e-5)


def test_teachers_by_name_file_and_list(teacher_file):
    names = kc.datasets.CAMVID_CLASSES.names
    (named,) = find_teachers(replace(TINY, teacher="camvid"), names)
    assert named.source.endswith("cross_cbam_stdc2_camvid.weights.h5")
    both = replace(TINY, teacher=("camvid", str(teacher_file)), teacher_variant="M")
    sources = [weights.source for weights in find_teachers(both, names)]
    assert sources[0].endswith("cross_cbam_stdc1_camvid.weights.h5")
    assert sources[1] == str(teacher_file)
    assert find_teachers(TINY, names) == []


def test_teachers_of_other_classes_are_refused(teacher_file, tmp_path):
    recipe = replace(TINY, teacher=str(teacher_file))
    with pytest.raises(ValueError, match=r"teacher\.weights\.h5 must have .* Received: 11 classes"):
        find_teachers(recipe, ("road", "sky"))
    # Equally many, but others: the shipped weights and those of a run know their names.
    letters = tuple("abcdefghijk")
    with pytest.raises(ValueError, match=r"must have .* a, b, c.* Received: Sky, Building"):
        find_teachers(replace(TINY, teacher="camvid"), letters)
    copy = shutil.copy(teacher_file, tmp_path / "best.weights.h5")
    (tmp_path / "run.json").write_text(json.dumps({"data": {"classes": list("kjihgfedcba")}}))
    with pytest.raises(ValueError, match="Received: k, j, i"):
        find_teachers(replace(TINY, teacher=str(copy)), letters)


def test_no_teacher_is_a_missing_file_or_an_encoder():
    with pytest.raises(ValueError, match=r"nowhere\.weights\.h5: no such weights file"):
        find_teachers(replace(TINY, teacher="nowhere.weights.h5"), ())
    with pytest.raises(ValueError, match="No weights 'imagenet20' for cross_cbam_stdc2"):
        find_teachers(replace(TINY, teacher="imagenet20"), ())
    encoder = find_weights("imagenet20", "stdc1").source
    with pytest.raises(ValueError, match="does not contain a segmentation network"):
        find_teachers(replace(TINY, teacher=encoder), ())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("teacher=camvid", "camvid"),
        ("teacher=null", None),
        ('teacher=["a.weights.h5","b.weights.h5"]', ("a.weights.h5", "b.weights.h5")),
        ('teacher=["a.weights.h5"]', ("a.weights.h5",)),
    ],
)
def test_settings_of_teachers(setting, value):
    assert with_settings(RECIPES["camvid-m"], [setting]).teacher == value


@pytest.mark.parametrize("setting", ["teacher=[]", "teacher=[1,2]", "teacher=3.5e", "teacher={}"])
def test_bad_settings_of_teachers(setting):
    if setting == "teacher=3.5e":  # any word may be the name of a file
        assert with_settings(TINY, [setting]).teacher == "3.5e"
        return
    with pytest.raises(ValueError, match="--set teacher takes "):
        with_settings(TINY, [setting])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distillation_weight": 0.0}, "`distillation_weight` must be positive"),
        ({"teacher_variant": "XL"}, "`teacher_variant` must be one of"),
        ({"teacher_architecture": {"depth": 3}}, "`teacher_architecture` may contain"),
    ],
)
def test_senseless_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


# Trainings


def taught(teacher, **changes):
    return replace(
        TINY,
        architecture=NARROW,
        phases=(Phase(2, (64, 64)),),
        teacher=teacher,
        temperature=2.0,
        **changes,
    )


def divergence(model, teacher, root):
    """How far a model's probabilities are from its teacher's, over the training frames."""
    frames = load_camvid(root, "train")
    images, labels = (np.stack(x) for x in zip(*(frames[i] for i in range(6)), strict=True))
    images = images.astype(np.float32)
    scores = (logits_of(m, images) for m in (model, teacher))
    return numpy_distillation(np.where(labels == IGNORE, IGNORE, 0), *scores, 1.0)


def student(weights=None, **options):
    common = {"input_shape": (None, None, 3), "classes": kc.datasets.CAMVID_CLASSES, **NARROW}
    return kc.CrossCBAM(weights=weights, **common, **options)


@pytest.fixture(scope="module")
def lessons(teacher_file):
    """A recipe of forty steps with a teacher."""
    return taught(
        str(teacher_file),
        steps_per_epoch=20,
        learning_rate=5e-3,
        distillation_weight=10.0,
        keep="last",
    )


@pytest.fixture(scope="module")
def taught_run(lessons, made_camvid, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "taught"
    run(made_camvid, out, lessons)
    return out


def test_a_student_gets_closer_to_its_teacher(taught_run, made_camvid, tmp_path):
    first, last = (row["distilled_loss"] for row in log_of(taught_run))
    assert last < 0.8 * first
    best = taught_run / "best.weights.h5"
    near, far = (divergence(s, network(), made_camvid) for s in (student(best), student()))
    print(f"divergence from the teacher {near:.2f}, before the training {far:.2f}")
    assert near < 0.8 * far
    # Neither what is kept nor what is resumed from holds a teacher.
    assert arrays_of(best).keys() == arrays_of(saved(student(), tmp_path / "s.weights.h5")).keys()
    with_aux = arrays_of(saved(student(aux_head=True), tmp_path / "aux.weights.h5")).keys()
    (state,) = (taught_run / "checkpoints").glob("*-000000040-*")
    layers = {path for path in arrays_of(state) if path.startswith("layers/")}
    assert layers == with_aux


@pytest.mark.slow
def test_a_student_without_a_teacher_stays_away_from_it(taught_run, lessons, made_camvid, tmp_path):
    alone = run(made_camvid, tmp_path / "alone", replace(lessons, teacher=None))
    files = taught_run / "best.weights.h5", alone
    near, far = (divergence(student(file), network(), made_camvid) for file in files)
    print(f"divergence from the teacher {near:.2f}, without one {far:.2f}")
    assert near < 0.8 * far
    assert arrays_of(files[0]).keys() == arrays_of(alone).keys()
    states = [
        next((out / "checkpoints").glob("*-000000040-*"))
        for out in (taught_run, tmp_path / "alone")
    ]
    assert arrays_of(states[0]).keys() == arrays_of(states[1]).keys()


@pytest.mark.slow
def test_a_taught_run_resumes_to_the_same_bits(teacher_file, made_camvid, tmp_path):
    settings = (
        f"teacher={teacher_file}",
        f"architecture={json.dumps(NARROW)}",
        "phases=2x64x64",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    running = start(made_camvid, killed, *settings, "second checkpoint half written")
    recipe = with_settings(TINY, settings)
    run(made_camvid, whole, recipe)
    error = running.communicate()[1]
    assert running.returncode == -signal.SIGKILL, error
    described = json.loads((killed / "run.json").read_text())
    assert described["weights"]["teacher"] == f"sha256:{file_sha256(teacher_file)}"
    run(made_camvid, killed, recipe)
    assert_same_end(killed, whole)
    # With another teacher under the old name nothing goes on.
    other = saved(network(seed=1), tmp_path / "teacher.weights.h5")
    described["recipe"]["teacher"] = str(other)
    (killed / "run.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"contains a run with other weights \(teacher changed\)"):
        run(made_camvid, killed, replace(recipe, teacher=str(other)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_with_everything_else(teacher_file, made_camvid, tmp_path, dtype):
    recipe = taught(
        (str(teacher_file),) * 2,
        dtype_policy=dtype,
        ema=0.9,
        accumulate=2,
        backbone_rate=0.0,
        aux_loss="focal",
        steps_per_epoch=4,
        class_mix=0.5,
    )
    run(made_camvid, tmp_path, recipe)
    for row in log_of(tmp_path):
        parts = row["main_loss"] + recipe.aux_weight * row["aux_loss"] + row["distilled_loss"]
        assert row["loss"] == pytest.approx(parts, rel=1e-3)
        assert row["distilled_loss"] > 0
