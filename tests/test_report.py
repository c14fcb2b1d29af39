"""The report of a training, and its pictures in TensorBoard."""

import base64
import io
import json
import shlex
import sys
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_crosscbam import cli
from keras_crosscbam.datasets import IGNORE, ClassTable
from keras_crosscbam.datasets.dataset import SegmentationDataset
from keras_crosscbam.datasets.encodings import IndexEncoding
from keras_crosscbam.evaluation import evaluate
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.training import RECIPES, report, tensorboard
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.keep_best import KeepBest
from keras_crosscbam.training.report import write_report
from keras_crosscbam.training.tensorboard import (
    TensorBoardPictures,
    evenly_spaced,
    plot_curves,
    side_by_side,
)
from keras_crosscbam.visualize import colorize, overlay

CLASSES = ClassTable(
    ("road", "<script>alert('&')</script>", "sky", "never there"),
    ((128, 64, 128), (244, 35, 232), (70, 130, 180), (0, 0, 142)),
)
DASH = "\N{EN DASH}"

# Frames by how many of their 24x32 pixels are said wrong; the last one has no labels.
WRONG = {"a": 300, "b": 0, "c": 100, "d": 500, "town/e": 20, "f": 700, "g": 50, "void": 0}


@pytest.fixture(scope="session")
def val_set(tmp_path_factory):
    """Frames whose red channel is the truth and whose green channel is what `Says` says."""
    root, rng = tmp_path_factory.mktemp("frames"), np.random.default_rng(0)
    pairs = []
    for name, wrong in WRONG.items():
        truth = rng.integers(0, 3, (24, 32), np.uint8)
        said = truth.copy()
        places = rng.permutation(truth.size)[:wrong]
        said.flat[places] = (truth.flat[places] + 1) % 3
        truth[:2] = IGNORE
        if name == "void":
            truth[:] = IGNORE
        image, mask = root / f"{name}.png", root / f"{name}_mask.png"
        image.parent.mkdir(exist_ok=True)
        Image.fromarray(np.stack([truth, said, 0 * said], axis=-1)).save(image)
        Image.fromarray(truth).save(mask)
        pairs.append((image, mask))
    ids = {**{i: i for i in range(4)}, IGNORE: IGNORE}
    return SegmentationDataset("made", tuple(pairs), CLASSES, IndexEncoding(ids))


class Says(Runtime):
    """Says what the green channel holds."""

    def __init__(self, num_classes=4):
        super().__init__("says", None, num_classes)

    def run(self, prepared):
        return np.eye(self.num_classes, dtype=np.float32)[prepared[..., 1].astype(int)]


# The second epoch was validated and the best, the third was lost, and so was a speed.
ROWS = [
    {"epoch": 1, "step": 3, "learning_rate": 0.01, "main_loss": 2.0, "main_mean_iou": 0.1},
    {"epoch": 2, "step": 6, "images_per_second": 9, "main_loss": 1.0, "val_mean_iou": 0.4},
    {"epoch": 4, "step": 12, "images_per_second": 8, "main_loss": 0.5, "val_mean_iou": 0.3},
]


@pytest.fixture
def no_curves(monkeypatch):
    """Curves take a second to draw; most of the tests are about the rest."""
    file = io.BytesIO()
    Image.new("RGBA", (2, 2)).save(file, "PNG")
    monkeypatch.setattr(report, "plot_curves", lambda *args: file.getvalue())


def make_run(folder, rows=ROWS, **data):
    recipe = {**asdict(RECIPES["camvid-m"]), "weights": "<b>start</b>.weights.h5"}
    data = {"name": "made & more", "train_frames": 1234, **data}
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"recipe": recipe, "data": data}))
    log = EpochLog(folder / "log.csv")
    for row in rows:
        log.add(row)
    return folder


class Page(HTMLParser):
    """Checks that every element is closed in its turn, and collects what the page holds."""

    VOID = ("meta", "img", "source")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def values(self, tag, attribute):
        return [v for t, name, v in self.attributes if (t, name) == (tag, attribute)]

    def pictures(self):
        """The opened images by their alternative text; `"dark"` are the curves of dark pages."""
        sources = {
            **dict(zip(self.values("img", "alt"), self.values("img", "src"), strict=True)),
            "dark": self.values("source", "srcset")[0],
        }
        return {alternative: decoded(source) for alternative, source in sources.items()}


def decoded(uri):
    head, _, content = uri.partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
    picture.load()
    assert head == f"data:image/{picture.format.lower()}"
    return picture


@pytest.fixture(scope="module")
def run(tmp_path_factory, val_set):
    """The folder of a run with its report."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "it's a run")
    assert write_report(folder, Says(), val_set) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text(encoding="utf-8"))


def figures_of(page):
    return [float(value) for value in page.values("data", "value")]


def expected_figures(result):
    """Mean IoU and pixel accuracy, then IoU and share of each class that is there."""
    pixels = result["confusion"].sum(axis=1)
    figures = [result["mean_iou"], result["pixel_accuracy"]]
    for iou, count in zip(result["iou"].values(), pixels, strict=True):
        figures += [] if np.isnan(iou) else [iou]
        figures += [count / pixels.sum()] if count else []
    return figures


def test_figures_are_those_of_evaluate(page, val_set):
    expected = expected_figures(evaluate(Says(), val_set))
    assert len(expected) == 2 + 2 * 3  # the fourth class is never there
    assert figures_of(page)[: len(expected)] == expected
    assert f"{100 * expected[0]:.2f} %" in page.texts
    assert "mean IoU over 3 of 4 classes" in page.texts


def test_an_epoch_without_a_score_is_not_the_best(no_curves, val_set, tmp_path):
    rows = [{**ROWS[0], "val_mean_iou": np.nan}, *ROWS[1:]]
    file = write_report(make_run(tmp_path, rows), Says(), val_set)
    assert "2 of 4" in Page(file.read_text(encoding="utf-8")).texts


@pytest.mark.parametrize("size", [None, 12, (16, 16)])
def test_figures_of_a_keras_model_are_those_of_evaluate(no_curves, val_set, tmp_path, size):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, padding="same")(image))
    file = write_report(make_run(tmp_path), model, val_set, size)
    expected = expected_figures(evaluate(model, val_set, size))
    assert figures_of(Page(file.read_text(encoding="utf-8")))[: len(expected)] == expected


def test_the_file_needs_nothing_else(run, page):
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    references = {"src", "srcset", "href", "data", "action", "background", "poster"}
    addresses = [value for _, name, value in page.attributes if name in references]
    assert len(addresses) == len(page.pictures()) == 2 + 3 * 6
    assert all(address.startswith("data:image/") for address in addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    assert str(Path.home()) not in text
    assert [path.name for path in run.iterdir() if "report" in path.name] == ["report.html"]


def test_best_and_worst_frames(page, val_set):
    names = [f"{name}.png" for name in ("b", "town/e", "g", "f", "d", "a")]
    captions = [text for text in page.texts if text.endswith("mean IoU ")]
    assert [caption.split(" ")[0] for caption in captions] == names
    indices = [list(WRONG).index(name.removesuffix(".png")) for name in names]
    scores = [evaluate(Says(), val_set.subset([index]))["mean_iou"] for index in indices]
    assert figures_of(page)[-6:] == scores
    assert scores[0] == 1


def test_frames_beside_truth_and_prediction(page, val_set):
    shown = page.pictures()
    image, labels = val_set[list(WRONG).index("town/e")]
    truth = np.asarray(shown["town/e.png, truth"])
    np.testing.assert_array_equal(truth, colorize(labels, CLASSES))
    assert not truth[:2].any()  # ignored pixels are black
    predicted = np.asarray(shown["town/e.png, prediction"])
    np.testing.assert_array_equal(predicted, colorize(image[..., 1], CLASSES))
    assert shown["town/e.png, image"].format == "JPEG"
    assert shown["town/e.png, image"].size == (32, 24)


@pytest.mark.parametrize(("frames", "headings"), [(1, ["Best"]), (4, ["Best", "Worst"])])
def test_few_frames_are_shown_once(no_curves, val_set, tmp_path, frames, headings):
    file = write_report(make_run(tmp_path), Says(), val_set.subset(range(frames)))
    page = Page(file.read_text(encoding="utf-8"))
    assert [text for text in page.texts if text in ("Best", "Worst")] == headings
    assert len(page.values("img", "alt")) == 1 + 3 * frames


def test_large_frames_are_made_smaller_without_new_colors(no_curves, tmp_path, rng):
    truth = rng.integers(0, 4, (50, 1500), np.uint8)
    Image.fromarray(np.stack([truth] * 3, axis=-1)).save(tmp_path / "wide.png")
    Image.fromarray(truth).save(tmp_path / "mask.png")
    encoding = IndexEncoding({i: i for i in range(4)})
    data = SegmentationDataset(
        "wide", ((tmp_path / "wide.png", tmp_path / "mask.png"),), CLASSES, encoding
    )
    file = write_report(make_run(tmp_path), Says(), data)
    shown = Page(file.read_text(encoding="utf-8")).pictures()
    assert {part.size for alt, part in shown.items() if "wide" in alt} == {(640, 21)}
    colors = np.unique(np.asarray(shown["wide.png, truth"]).reshape(-1, 3), axis=0)
    assert set(map(tuple, colors.tolist())) == set(CLASSES.colors)


def test_confusion_matrix_by_row(page, val_set):
    confusion = evaluate(Says(), val_set)["confusion"]
    cells = [title.rsplit(": ", 1) for title in page.values("td", "title")]
    expected = []
    for name, row in zip(CLASSES.names[:3], confusion, strict=False):
        for other, count in zip(CLASSES.names, row, strict=True):
            share = f"{count:,} pixels, {100 * count / row.sum():.2f} %"
            expected.append([f"{name} predicted as {other}", share])
    assert cells == expected


def test_what_is_missing_is_a_dash(page):
    # IoU and share of the class, and its row of the matrix.
    at = page.texts.index("never there")
    assert page.texts[at + 1 : at + 3] == [DASH, DASH]
    assert page.texts[-1 - page.texts[::-1].index("never there") :][1:5] == [DASH] * 4


def test_text_is_escaped(run, page):
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert CLASSES.names[1] in page.texts
    assert page.texts.count("camvid-m on made & more") == 2
    assert "<b>start</b>.weights.h5" in page.texts


def test_headline_and_recipe(page):
    for text in ("2 of 4", "12", "1,234", str(len(WRONG))):
        assert text in page.texts
    assert any("gave 40.00 % in epoch 2." in text for text in page.texts)
    settings = dict(zip(page.texts, page.texts[1:], strict=False))
    assert settings["phases"] == "80 epochs at 256x320, 24 epochs at 360x480"
    assert settings["photometric"] == "yes"
    assert settings["accumulate"] == "1"
    assert settings["scale_range"] == "0.5, 2.0"
    assert settings["backbone_weights"] == "imagenet20"
    assert settings["validation_size"] == DASH


@pytest.mark.parametrize("size", [None, 12, (16, 32)])
def test_the_command_is_one(no_curves, val_set, tmp_path, monkeypatch, size):
    """As the run was named: relative, and with a blank in it."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "my run")
    file = write_report("my run", Says(), val_set.subset([0]), size)
    texts = Page(file.read_text(encoding="utf-8")).texts
    (command,) = [text for text in texts if text.startswith("crosscbam evaluate")]
    args = cli._parser().parse_args(shlex.split(command)[1:])
    assert (args.weights, args.variant) == (str(Path("my run/best.weights.h5")), "M")
    assert (args.data, args.size) == ([Path("DATA")], size)


def test_a_run_without_figures(val_set, tmp_path):
    file = write_report(make_run(tmp_path, rows=[]), Says(), val_set.subset([0]))
    page = Page(file.read_text(encoding="utf-8"))
    assert page.texts[page.texts.index("best epoch") - 1] == DASH
    assert decoded(page.values("source", "srcset")[0]).size == (1500, 900)


def test_a_failed_report_leaves_the_old_one(no_curves, val_set, tmp_path, monkeypatch):
    file = write_report(make_run(tmp_path), Says(), val_set.subset([0]))
    old, write_text = file.read_bytes(), Path.write_text

    def write_half(path, text, **kwargs):
        write_text(path, text[: len(text) // 2], **kwargs)
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(RuntimeError, match=r"report\.html cannot be written \(disk full\)"):
        write_report(tmp_path, Says(), val_set.subset([1]))
    assert file.read_bytes() == old


def test_wrong_folders_and_models_are_refused(val_set, tmp_path):
    with pytest.raises(
        ValueError, match=r"does not contain run\.json\. Pass the folder of a training"
    ):
        write_report(tmp_path, Says(), val_set)
    make_run(tmp_path)
    with pytest.raises(ValueError, match="says has 5 classes, the data set 'made' 4"):
        write_report(tmp_path, Says(num_classes=5), val_set)
    assert not (tmp_path / "report.html").exists()


def test_without_matplotlib(val_set, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-crosscbam\[train\]'"):
        write_report(make_run(tmp_path), Says(), val_set)


# Curves


def plotted(monkeypatch, rows, best=None):
    """The points of each curve by panel and label."""
    figures = []
    make = tensorboard.figure_class()

    def kept(**kwargs):
        figures.append(make(**kwargs))
        return figures[0]

    monkeypatch.setattr(tensorboard, "figure_class", lambda: kept)
    assert decoded_png(plot_curves(rows, best)).getextrema()[3] == (0, 255)  # drawn on nothing
    return {
        (axes.get_title(loc="left"), line.get_label()): line.get_xydata().tolist()
        for axes in figures[0].axes
        for line in axes.lines
    }


def decoded_png(content):
    return Image.open(io.BytesIO(content)).convert("RGBA")


def test_curves_leave_out_what_the_log_lacks(monkeypatch):
    curves = plotted(monkeypatch, ROWS, best=ROWS[1])
    assert curves["Loss", "main head"] == [[1, 2], [2, 1], [4, 0.5]]
    assert curves["Loss", "auxiliary head"] == []
    assert curves["Mean IoU (%)", "training crops"] == [[1, 10]]
    assert curves["Mean IoU (%)", "validation"] == [[2, 40], [4, 30]]
    assert curves["Mean IoU (%)", "best"] == [[2, 40]]
    (speed,) = [line for (panel, _), line in curves.items() if panel.endswith("(images/s)")]
    assert speed == [[2, 9], [4, 8]]


def test_a_single_epoch_is_seen():
    one, none = (np.asarray(decoded_png(plot_curves(rows))) for rows in (ROWS[:1], []))
    assert one.shape == none.shape == (900, 1500, 4)
    # The learning rate, down on the left, has no legend: blue is its one point.
    blue = (one[450:, :750] == (0, 0x72, 0xB2, 255)).all(axis=-1)
    assert 20 < blue.sum() < 200


@pytest.mark.parametrize("dark", [False, True])
def test_curves_stand_out_from_their_page(dark):
    pixels = np.asarray(decoded_png(plot_curves(ROWS, dark=dark)))
    drawn = pixels[pixels[..., 3] == 255][:, :3].mean(axis=-1)
    assert drawn.min() > 60 if dark else drawn.max() < 230


# TensorBoard


class Validation:
    """A judge of few words: scores by epoch, and the same labels each time."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.samples = {}

    def __call__(self):
        for index in evenly_spaced(len(self.dataset)):
            self.samples[index] = self.dataset[index][0][..., 1]
        return {"val_mean_iou": 0.5}


@pytest.fixture
def events():
    """A function that reads the pictures of a folder: steps and bytes of PNGs by tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder):
        found = accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
        found.Reload()
        return {
            # After width and height.
            tag: [(e.step, e.tensor_proto.string_val[2:]) for e in found.Tensors(tag)]
            for tag in found.Tags()["tensors"]
        }

    return read


def test_pictures_of_each_validation(val_set, tmp_path, events):
    """In a real `fit` behind `KeepBest`, which judges after the second and the last epoch."""
    validation = Validation(val_set)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    keep = KeepBest(validation, "val_mean_iou", model, None, epochs=3, validation_freq=2)
    shown = TensorBoardPictures(tmp_path / "tensorboard", validation)
    model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, callbacks=[keep, shown], verbose=0)
    found = events(tmp_path / "tensorboard")
    names = [f"validation/{i} {val_set.pairs[i][0].name}" for i in (0, 2, 5, 7)]
    assert sorted(found) == sorted(names)
    image, labels = val_set[2]
    expected = side_by_side(image, labels, validation.samples[2], CLASSES)
    for steps in found.values():
        assert [step for step, _ in steps] == [1, 2]
    for _, (content,) in found[names[1]]:
        np.testing.assert_array_equal(Image.open(io.BytesIO(content)), expected)


def test_no_pictures_without_a_validation(val_set, tmp_path):
    shown = TensorBoardPictures(tmp_path / "tensorboard", Validation(val_set))
    shown.on_epoch_end(0, {"loss": 1.0})
    shown.on_train_end()
    assert not (tmp_path / "tensorboard").exists()


def test_three_pictures_side_by_side(val_set):
    image, labels = val_set[0]
    row = np.asarray(side_by_side(image, labels, image[..., 1], CLASSES, gap=5))
    assert row.shape == (24, 3 * 32 + 2 * 5, 3)
    np.testing.assert_array_equal(row[:, :32], image)
    for left, shown in ((37, labels), (74, image[..., 1])):
        assert (row[:, left - 5 : left] == 255).all()
        np.testing.assert_array_equal(
            row[:, left : left + 32], overlay(image, shown, CLASSES, legend=False)
        )


def test_large_pictures_are_made_smaller():
    image, labels = np.zeros((600, 1200, 3), np.uint8), np.zeros((600, 1200), np.uint8)
    assert side_by_side(image, labels, labels, CLASSES, side=300, gap=0).size == (900, 150)


@given(st.integers(1, 3000), st.integers(2, 9))
def test_spaced_frames_are_distinct_and_reach_both_ends(count, chosen):
    indices = evenly_spaced(count, chosen)
    assert len(set(indices)) == len(indices) == min(count, chosen)
    assert (indices[0], indices[-1]) == (0, count - 1)
    steps = np.diff(indices)
    assert not len(steps) or (steps.min() > 0 and steps.max() - steps.min() <= 1)
