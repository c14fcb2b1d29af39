"""One class of objects against background: one logit a pixel, from losses to exported files."""

import csv

import keras
import numpy as np
import pytest
import torch
import yaml
from backend_losses import OF_ONE_CLASS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_network import SMALL
from tiny_network import BIAS, KERNEL, SIZE, TABLE, images, onnx_file

import keras_crosscbam as kc
from keras_crosscbam import cli
from keras_crosscbam.classes import BACKGROUND_COLOR, object_classes
from keras_crosscbam.datasets import IGNORE, ClassTable
from keras_crosscbam.evaluation import report
from keras_crosscbam.models.activation import last_activation
from keras_crosscbam.runtime import Description, TTARuntime
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.runtime.coarse_logits import upsample
from keras_crosscbam.training import (
    RECIPES,
    Phase,
    Recipe,
    SegmentationCrossEntropy,
    SegmentationFocalLoss,
    SegmentationMeanIoU,
    SegmentationOHEM,
    make_loss,
)

few = settings(deadline=None, max_examples=25)
batches = given(
    ignored=st.sampled_from([0, 0.3, 0.9]),
    scale=st.sampled_from([0.1, 1, 5, 20]),
    seed=st.integers(0, 2**32 - 1),
)
CRACK = object_classes("crack", (255, 0, 0))


def batch(ignored=0.3, scale=3.0, seed=7, shape=(2, 3, 4)):
    """Labels 0 and 1, a share of them ignored, and one logit for each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, shape).astype(np.uint8)
    labels[rng.random(shape) < ignored] = IGNORE
    labels[0, 0, 0] = 1
    return labels, rng.normal(0, scale, (*shape, 1)).astype(np.float32)


def labeled(labels, logits):
    """Logits and truths of the labeled pixels, in PyTorch's float64."""
    counted = labels != IGNORE
    return torch.tensor(logits[..., 0][counted]).double(), torch.tensor(labels[counted]).double()


def binary_cross_entropy(z, y, **options):
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y, **options)


# Losses, against PyTorch's and Keras' binary ones


@few
@batches
def test_cross_entropy_is_the_binary_one_of_pytorch(ignored, scale, seed):
    labels, logits = batch(ignored, scale, seed)
    expected = binary_cross_entropy(*labeled(labels, logits)).item()
    assert float(SegmentationCrossEntropy()(labels, logits)) == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )


@few
@batches
def test_two_class_weights_are_a_pos_weight_but_for_the_divisor(ignored, scale, seed):
    labels, logits = batch(ignored, scale, seed)
    z, y = labeled(labels, logits)
    total = binary_cross_entropy(z, y, pos_weight=torch.tensor(3.5), reduction="sum")
    expected = total.item() / torch.where(y > 0, 3.5, 1.0).sum().item()
    loss = SegmentationCrossEntropy(class_weights=(1, 3.5))
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_label_smoothing_is_that_of_keras(smoothing):
    labels, logits = batch()
    z, y = (tensor.numpy() for tensor in labeled(labels, logits))
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    loss = SegmentationCrossEntropy(label_smoothing=smoothing)
    assert float(loss(labels, logits)) == pytest.approx(float(theirs(y, z)), rel=1e-5)


@few
@batches
@pytest.mark.parametrize("gamma", [0.5, 2])
def test_focal_loss_is_that_of_the_sigmoid(gamma, ignored, scale, seed):
    labels, logits = batch(ignored, scale, seed)
    z, y = labeled(labels, logits)
    p = torch.sigmoid(torch.where(y > 0, z, -z))
    expected = ((1 - p) ** gamma * -p.log()).mean().item()
    assert float(SegmentationFocalLoss(gamma)(labels, logits)) == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )


def test_ohem_mines_by_the_sigmoid():
    labels, logits = batch()
    losses = binary_cross_entropy(*labeled(labels, logits), reduction="none")
    hard = losses[losses > -np.log(0.7)]
    assert len(hard) > 24 / 16
    assert float(SegmentationOHEM()(labels, logits)) == pytest.approx(hard.mean().item(), rel=1e-5)


@few
@batches
def test_dice_is_the_mean_of_background_and_object(ignored, scale, seed):
    labels, logits = batch(ignored, scale, seed)
    z, y = labeled(labels, logits)
    missing = []
    for p, g in ((torch.sigmoid(z), y), (torch.sigmoid(-z), 1 - y)):
        if g.any():
            missing.append(1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1))
    expected = torch.stack(missing).mean().item()
    assert float(make_loss("dice")(labels, logits)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", OF_ONE_CLASS)
def test_a_logit_counts_as_two_of_which_one_is_0(case):
    """The same loss, and the same gradient to the logit, as of two classes with logits 0 and z."""
    import tensorflow as tf

    labels, logits = batch(scale=1.5)
    z, loss = tf.Variable(logits), OF_ONE_CLASS[case]
    with tf.GradientTape(persistent=True) as tape:
        one = loss(labels, z)
        two = loss(labels, tf.concat([tf.zeros_like(z), z], axis=-1))
    assert float(one) == float(two) > 0
    gradient = tape.gradient(one, z).numpy()
    np.testing.assert_array_equal(gradient, tape.gradient(two, z).numpy())
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("weights", [[3.0], [1.0, 2.0, 3.0]])
def test_class_weights_of_another_number_are_refused(weights):
    with pytest.raises(ValueError, match="One logit has two classes, background and object"):
        SegmentationCrossEntropy(class_weights=weights)(*batch())


# Metric


@few
@batches
def test_metric_is_the_binary_one_of_keras(ignored, scale, seed):
    labels, logits = batch(ignored, scale, seed)
    z, y = (tensor.numpy() for tensor in labeled(labels, logits))
    metric = SegmentationMeanIoU(num_classes=1)
    metric.update_state(labels, logits)
    of_both = []
    for label in (0, 1):
        theirs = keras.metrics.BinaryIoU(target_class_ids=[label], threshold=0.5)
        theirs.update_state(y, 1 / (1 + np.exp(-z)))
        of_both.append(float(theirs.result()))
    present = [((y == label) | ((z > 0) == label)).any() for label in (0, 1)]
    expected = np.where(present, of_both, np.nan)
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-5)
    assert float(metric.result()) == pytest.approx(np.nanmean(expected), rel=1e-5)


def test_fit_learns_one_class():
    labels, _ = batch(shape=(4, 8, 8))
    pixels = np.where(labels == 1, 1.0, -1.0)[..., None].astype(np.float32)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)])
    metric = SegmentationMeanIoU(num_classes=1)
    model.compile(keras.optimizers.Adam(0.5), make_loss("ce:0.5,dice:0.5"), metrics=[metric])
    history = model.fit(pixels, labels, epochs=30, verbose=0).history
    assert 0 < history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["mean_iou"][-1] == 1


# Class tables and dataset.yaml


def test_a_table_of_one_logit_has_two_names():
    assert (len(CRACK), CRACK.num_classes) == (2, 1)
    assert CRACK.names == ("background", "crack")
    assert ClassTable(CRACK.names, CRACK.colors) == CRACK
    assert ClassTable(CRACK.names, CRACK.colors).num_classes == 2
    with pytest.raises(ValueError, match=r"two names, background and object\. Received: 4"):
        ClassTable(TABLE.names, TABLE.colors, one_logit=True)


# Builders and weights


def test_a_softmax_over_one_class_is_refused():
    with pytest.raises(ValueError, match="softmax over one class is always 1"):
        kc.CrossCBAM_M(num_classes=1, classifier_activation="softmax")
    with pytest.raises(ValueError, match="softmax over one class is always 1"):
        kc.STDC1(num_classes=1)
    with pytest.raises(ValueError, match=r"`num_classes` must be at least 1\. Received: 0"):
        kc.CrossCBAM_M(num_classes=0)


@pytest.fixture(scope="module")
def model():
    """A network of one class whose logits are far apart, and of either sign."""
    keras.utils.set_random_seed(3)
    model = kc.CrossCBAM_M(num_classes=1, input_shape=(None, None, 3), aux_head=True, **SMALL)
    classifier = model.get_layer("classifier")
    kernel = classifier.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    logits = kc.inference_model(model).predict(images(1, (64, 96)).astype(np.float32), verbose=0)
    classifier.bias.assign([-np.median(logits)])
    return model


def test_weights_of_one_class_say_so_and_load(model, tmp_path):
    file = tmp_path / "one.weights.h5"
    kc.inference_model(model).save_weights(file)
    again = kc.CrossCBAM_M(weights=file, input_shape=(None, None, 3), **SMALL)
    assert again.output_shape == (None, None, None, 1)
    pixels = images(1, (64, 96)).astype(np.float32)
    logits = kc.inference_model(model).predict(pixels, verbose=0)
    np.testing.assert_array_equal(again.predict(pixels, verbose=0), logits)
    run = kc.runtime.load(again)
    assert (run.num_classes, run.classes.names) == (2, ("background", "object"))
    np.testing.assert_array_equal(run.labels(pixels), logits[..., 0] > 0)
    np.testing.assert_array_equal(run.logits(pixels), np.concatenate([0 * logits, logits], -1))


def test_a_table_names_the_object_with_or_without_the_background(tiny):
    assert kc.runtime.load(tiny, CRACK).classes == CRACK
    run = kc.runtime.load(tiny, ClassTable(("crack",), ((255, 0, 0),)))
    assert run.classes == CRACK
    with pytest.raises(ValueError, match="has 2 classes, but the class table names 4"):
        kc.runtime.load(tiny, TABLE)


# Keras models of others: a logit and a probability have different thresholds


def ending_in(*layers):
    return keras.Sequential([keras.Input((*SIZE, 3)), *layers])


@pytest.mark.parametrize(
    ("layers", "activation"),
    [
        ([keras.layers.Conv2D(1, 1)], "linear"),
        ([keras.layers.Conv2D(1, 1, activation="sigmoid")], "sigmoid"),
        ([keras.layers.Conv2D(1, 1), keras.layers.Activation("sigmoid")], "sigmoid"),
        (
            [
                keras.layers.Conv2D(1, 1, strides=2, activation="sigmoid"),
                keras.layers.UpSampling2D(2, interpolation="bilinear"),
                keras.layers.Activation("linear", dtype="float32"),
            ],
            "sigmoid",
        ),
        ([keras.layers.Conv2D(3, 1), keras.layers.Softmax()], "softmax"),
        ([keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization()], None),
    ],
    ids=str,
)
def test_the_final_activation_is_recognized(layers, activation):
    model = ending_in(*layers)
    assert last_activation(model) == activation
    image = keras.Input((*SIZE, 3))
    assert last_activation(keras.Model(image, model(image))) == activation
    assert last_activation(keras.Model(image, keras.ops.sigmoid(model(image)))) == "sigmoid"


def test_a_sigmoid_has_its_threshold_at_one_half():
    model = ending_in(keras.layers.Conv2D(1, 1, activation="sigmoid"))
    model.set_weights([np.full((1, 1, 3, 1), 0.01), np.array([-3.8])])
    run = kc.runtime.load(model)
    p = model.predict(images().astype(np.float32), verbose=0)[..., 0]
    assert 0.1 < (p > 0.5).mean() < 0.9
    assert run.description.output == "probabilities"
    np.testing.assert_array_equal(run.labels(images()), p > 0.5)
    np.testing.assert_array_equal(run.logits(images()), np.stack([1 - p, p], axis=-1))


@pytest.mark.parametrize("layer", [keras.layers.BatchNormalization(), keras.layers.ReLU()])
def test_one_score_of_unknown_kind_is_refused(layer):
    with pytest.raises(ValueError, match="must be a logit or a probability: end it in"):
        kc.runtime.load(ending_in(keras.layers.Conv2D(1, 1), layer))


@pytest.mark.parametrize("kernel", [KERNEL[:, :1], np.abs(KERNEL[:, :1]) / 1000])
def test_foreign_files_do_not_say_what_their_one_score_is(tmp_path, kernel):
    onnx_file(tmp_path / "m.onnx", kernel=kernel, described=False)
    with pytest.raises(ValueError, match=r"of one class must output labels \(logit > 0, or prob"):
        kc.runtime.load(tmp_path / "m.onnx").labels(images())


# Files of every format


def logits_of(pixels):
    """Those of the tiny network's first class."""
    return (pixels.astype(np.float32) @ KERNEL + BIAS)[..., :1]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("output", ["logits", "coarse_logits"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_described_onnx_files(tmp_path, layout, output, engine):
    onnx_file(tmp_path / "m.onnx", layout, output=output, kernel=KERNEL[:, :1], classes=CRACK)
    run, logits = kc.runtime.load(tmp_path / "m.onnx", engine=engine), logits_of(images(2))
    if output == "coarse_logits":
        coarse = logits.reshape(2, SIZE[0] // 4, 4, SIZE[1] // 4, 4, 1).mean(axis=(2, 4))
        logits = upsample(coarse, SIZE)
    assert (run.num_classes, run.classes) == (2, CRACK)
    clear = np.abs(logits[..., 0]) > 1e-2
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(run.labels(images(2))[clear], logits[clear][:, 0] > 0)
    expected = np.concatenate([0 * logits, logits], -1)
    np.testing.assert_allclose(run.logits(images(2)), expected, atol=1e-2)


@pytest.fixture(scope="module")
def tiny():
    """The tiny network's first class in Keras."""
    model = ending_in(keras.layers.Conv2D(1, 1))
    model.set_weights([KERNEL[None, None, :, :1], BIAS[:1]])
    model.classes = CRACK
    return model


@pytest.fixture(scope="module")
def tiny_sigmoid(tiny):
    return keras.Sequential([tiny, keras.layers.Activation("sigmoid")])


WRITERS = {
    "m.onnx": kc.export.to_onnx,
    "m.xml": kc.export.to_openvino,
    "m.tflite": kc.export.to_litert,
    "m": kc.export.to_saved_model,
}


@pytest.mark.parametrize("output", ["logits", "probabilities", "labels"])
@pytest.mark.parametrize("file", WRITERS)
def test_exported_files_agree_with_numpy(tiny, tmp_path, file, output):
    parity = WRITERS[file](tiny, tmp_path / file, output=output, frames=list(images(2)))
    assert parity.argmax_agreement == 1
    run, logits = kc.runtime.load(tmp_path / file), logits_of(images(2))
    assert (run.num_classes, run.classes) == (2, CRACK)
    np.testing.assert_array_equal(run.labels(images(2)), logits[..., 0] > 0)
    raw = run.run(run.prepare(images()))
    if output == "labels":
        assert (raw.shape, raw.dtype) == ((1, *SIZE), np.uint8)
        return
    assert raw.size == images()[..., 0].size
    p = torch.sigmoid(torch.tensor(logits[..., 0]).double()).numpy()
    expected = np.stack([1 - p, p] if output == "probabilities" else [0 * p, logits[..., 0]], -1)
    np.testing.assert_allclose(run.logits(images(2)), expected, atol=1e-2)


@pytest.mark.parametrize("output", ["probabilities", "labels"])
def test_a_model_with_its_sigmoid_is_exported_with_one_sigmoid(tiny_sigmoid, tmp_path, output):
    frames = list(images(2))
    kc.export.to_onnx(tiny_sigmoid, tmp_path / "m.onnx", output=output, frames=frames)
    run, logits = kc.runtime.load(tmp_path / "m.onnx"), logits_of(images(2))
    np.testing.assert_array_equal(run.labels(images(2)), logits[..., 0] > 0)
    assert run.classes.names == ("background", "object")
    if output == "probabilities":
        p = torch.sigmoid(torch.tensor(logits[..., 0])).numpy()
        np.testing.assert_allclose(run.logits(images(2))[..., 1], p, atol=1e-5)


def test_logits_of_a_model_with_its_sigmoid_are_taken_before_it(tiny_sigmoid, tmp_path):
    kc.export.to_onnx(tiny_sigmoid, tmp_path / "m.onnx", frames=list(images(2)))
    received = kc.runtime.load(tmp_path / "m.onnx").logits(images(2))
    np.testing.assert_allclose(received[..., 1], logits_of(images(2))[..., 0], rtol=1e-5)
    np.testing.assert_array_equal(received[..., 0], 0)


def test_coarse_logits_of_the_network_itself(model, tmp_path):
    frames = [images(1, (64, 96))[0]]
    options = {"input_size": (64, 96), "frames": frames, "output": "coarse_logits"}
    assert kc.export.to_onnx(model, tmp_path / "m.onnx", **options).argmax_agreement == 1
    labels = kc.segment(tmp_path / "m.onnx", frames[0])
    assert set(np.unique(labels)) == {0, 1}
    np.testing.assert_array_equal(labels, kc.segment(model, frames[0]))


@pytest.mark.parametrize(
    ("runtime", "file"),
    [("onnxruntime", "m.onnx"), ("openvino", "m.xml"), ("litert", "m.tflite")],
)
@pytest.mark.parametrize("output", ["probabilities", "labels"])
def test_int8_files_of_one_class(tmp_path, runtime, file, output):
    keras.utils.set_random_seed(2)
    convolutions = [keras.layers.Conv2D(8, 3, padding="same", activation="relu") for _ in range(3)]
    model = ending_in(keras.layers.Rescaling(1 / 255), *convolutions, keras.layers.Conv2D(1, 1))
    bias = np.median(model.predict(images(4).astype(np.float32), verbose=0))
    model.layers[-1].bias.assign([-bias])
    frames, options = list(images(4)), {"output": output, "max_loss": 10}
    made = kc.export.quantize(model, tmp_path / file, frames, runtime, **options)
    assert made.int8_convolutions == 2
    labels = kc.runtime.load(tmp_path / file).labels(images(4))
    expected = kc.runtime.load(model).labels(images(4))
    assert 0.2 < expected.mean() < 0.8
    assert (labels == expected).mean() > 0.9


def test_quantized_scores_are_read_in_their_unit(tiny, tmp_path):
    """0 of a logit is another number in a file whose output is INT8."""
    import tensorflow as tf

    from keras_crosscbam.runtime.description import write_beside

    converter = tf.lite.TFLiteConverter.from_keras_model(tiny)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    frames = images(8).astype(np.float32)
    converter.representative_dataset = lambda: ([frame[None]] for frame in frames)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    file = tmp_path / "m.tflite"
    file.write_bytes(converter.convert())
    with pytest.raises(ValueError, match="of one class must output labels"):
        kc.runtime.load(file).labels(images())
    write_beside(file, Description("nhwc", "uint8", "logits", CRACK))
    logits = logits_of(images())[..., 0]
    clear = np.abs(logits) > 0.05 * np.abs(logits).max()
    assert clear.mean() > 0.5
    labels = kc.runtime.load(file).labels(images())
    np.testing.assert_array_equal(labels[clear], logits[clear] > 0)


# Views, evaluation, pictures


class Slope(Runtime):
    """One score, which rises with the pixel."""

    def __init__(self, output):
        super().__init__("slope", None, 1, CRACK, description=Description(output=output))
        self.output = output

    def run(self, prepared):
        logits = (prepared[..., :1].astype(np.float32) - 100) / 20
        return logits if self.output == "logits" else 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_views_are_averaged_as_probabilities(output):
    image = images()[0]
    left, right = (
        torch.sigmoid((torch.tensor(np.ascontiguousarray(view[..., 0])).float() - 100) / 20)
        for view in (image, image[:, ::-1, :])
    )
    p = (left + right.flip(1)) / 2
    run = TTARuntime(Slope(output), flip=True)
    np.testing.assert_allclose(run.scores(image)[..., 1], p, atol=1e-6)
    np.testing.assert_array_equal(run(image), p > 0.5)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_scores_are_resized_before_the_threshold(output):
    image, run = images()[0], Slope(output)
    scores = torch.tensor(run.run(image[None])).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(scores, (40, 60), mode="bilinear")[0, 0].numpy()
    threshold = 0.5 if output == "probabilities" else 0
    clear = np.abs(resized - threshold) > 1e-3
    labels = run.predict(image, output_size=(40, 60))
    np.testing.assert_array_equal(labels[clear], resized[clear] > threshold)


# From YAML to exported files, by the command line


@pytest.fixture(scope="module")
def cracks(tmp_path_factory):
    """Dark lines on a bright ground: masks of 0 and 255, a few ids 7 that do not count."""
    root, rng = tmp_path_factory.mktemp("cracks"), np.random.default_rng(4)
    for split, frames in (("train", 4), ("val", 2)):
        for number in range(frames):
            mask = np.zeros((64, 96), np.uint8)
            row = int(rng.integers(8, 40))
            mask[row : row + 16] = 255
            mask[:4, :4] = 7
            image = np.where(mask == 255, 20, 220)[..., None] + rng.integers(0, 20, (64, 96, 3))
            for kind, array in (("images", image.astype(np.uint8)), ("masks", mask)):
                file = root / kind / split / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    content = {"name": "cracks", "classes": [{"name": "crack", "id": 255}], "ignore": [7]}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content))
    return root


def test_labels_of_one_class_from_yaml(cracks):
    val = kc.datasets.load_dataset(cracks, "val")
    assert val.classes.names == ("background", "crack")
    assert val.classes.colors[0] == BACKGROUND_COLOR
    assert val.classes.num_classes == 1
    mask = np.asarray(Image.open(val.pairs[0][1]))
    np.testing.assert_array_equal(val[0][1], np.select([mask == 255, mask == 7], [1, IGNORE], 0))


def test_evaluation_tells_background_and_object(cracks):
    """Of a runtime that finds the dark lines but for one half of the picture."""

    class Half(Slope):
        def run(self, prepared):
            logits = -super().run(prepared)
            logits[:, :, 48:] = -1
            return logits

    result = kc.evaluate(Half("logits"), kc.datasets.load_dataset(cracks, "val"))
    # 16 of 64 rows are a crack, one half of it is missed, 16 pixels do not count.
    background, crack = 48 * 96 - 16, 16 * 96
    assert result["iou"]["crack"] == pytest.approx(0.5)
    assert result["iou"]["background"] == pytest.approx(background / (background + crack / 2))
    assert result["mean_iou"] == pytest.approx(np.mean([*result["iou"].values()]))
    assert result["confusion"].shape == (2, 2)
    assert "background" in report(result)
    assert "crack" in report(result)


def test_strays_are_reported_with_what_makes_them_background(cracks, tmp_path, capsys):
    content = {"name": "cracks", "classes": [{"name": "crack", "id": 255}]}
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(cracks / folder)
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(content))
    assert cli.main(["doctor", str(tmp_path)]) == 1
    assert "ids that belong to no class" in (out := capsys.readouterr().out)
    assert "`background: rest`" in out
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({**content, "background": "rest"}))
    assert cli.main(["doctor", str(tmp_path)]) == 0


@pytest.mark.slow
def test_doctor_train_evaluate_segment_export(cracks, tmp_path, capsys, monkeypatch):
    recipe = Recipe(
        name="one",
        variant="M",
        phases=(Phase(2, (64, 96)),),
        batch_size=2,
        steps_per_epoch=6,
        validation_freq=1,
        learning_rate=2e-3,
        warmup_steps=0,
        loss="ce:0.5,dice:0.5",
        class_balance=0.5,
        class_mix=0.5,
        balanced_sampling=True,
        label_smoothing=0.05,
    )
    monkeypatch.setitem(RECIPES, "one", recipe)
    out = tmp_path / "run"
    assert cli.main(["doctor", str(cracks)]) == 0
    assert "crack" in capsys.readouterr().out
    assert not cli.main(["train", "--recipe", "one", "--data", str(cracks), "--out", str(out)])
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 0 < float(rows[-1]["main_loss"]) < float(rows[0]["main_loss"])
    last = {name: float(rows[-1][f"val_iou_{name}"]) for name in ("background", "crack")}
    assert float(rows[-1]["val_mean_iou"]) == pytest.approx(np.mean([*last.values()]), abs=1e-4)
    assert (out / "report.html").is_file()

    # The same names with two logits are other data: the run does not go on with another head.
    content = yaml.safe_load((cracks / "dataset.yaml").read_text())
    content["classes"] = [{"name": "background"}, *content["classes"]]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(content))
    for folder in ("images", "masks"):
        (tmp_path / folder).symlink_to(cracks / folder)
    capsys.readouterr()
    again = ["train", "--recipe", "one", "--data", str(tmp_path), "--out", str(out)]
    assert cli.main(again) == 2
    assert "num_classes" in capsys.readouterr().err

    weights = ["--weights", str(out / "best.weights.h5")]
    assert not cli.main(["evaluate", "--data", str(cracks), *weights])
    shown = capsys.readouterr().out
    best = max(float(row["val_mean_iou"]) for row in rows)
    assert f"mean IoU        {100 * best:.2f} %" in shown

    model = kc.CrossCBAM_M(weights=out / "best.weights.h5", input_shape=(None, None, 3))
    val = kc.datasets.load_dataset(cracks, "val")
    images = [val[i][0] for i in range(len(val))]
    logits = model.predict(np.float32(images), verbose=0)[..., 0]
    frames = ["--frames", str(cracks / "images/val"), "--size", "64x96"]
    for output in ("labels", "probabilities"):
        file = tmp_path / f"{output}.onnx"
        exported = ["export", "--output", output, "--out", str(file), *frames, *weights]
        assert not cli.main(exported)
        assert not cli.main(["evaluate", "--data", str(cracks), "--model", str(file)])
        assert f"mean IoU        {100 * best:.2f} %" in capsys.readouterr().out
        pictures = tmp_path / output
        segment = ["segment", str(cracks / "images/val"), "--out", str(pictures)]
        assert not cli.main([*segment, "--model", str(file)])
        for number, z in enumerate(logits):
            written = np.asarray(Image.open(pictures / f"{number}_labels.png"))
            np.testing.assert_array_equal(written[np.abs(z) > 1e-4], (z > 0)[np.abs(z) > 1e-4])
