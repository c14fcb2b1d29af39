"""The frames that came out best and worst, ranked and drawn."""

import numpy as np
import pytest
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.cli import main
from keras_crosscbam.datasets import CAMVID_CLASSES, load_camvid
from keras_crosscbam.evaluation import best_and_worst
from keras_crosscbam.label_files import write_best_and_worst
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.visualize import colorize

WIDTH, HEIGHT, RIGHT = 48, 32, (0, 12, 24, 36, 48)


class Building(Runtime):
    """Says Building everywhere."""

    def __init__(self):
        super().__init__("building", None, 11, CAMVID_CLASSES)

    def run(self, prepared):
        return np.broadcast_to(np.float32(np.arange(11) == 1), (*prepared.shape[:3], 11))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frame i is right in `RIGHT[i]` of its columns; the last one has no labels."""
    root, lines = tmp_path_factory.mktemp("frames"), []
    for i, columns in enumerate((*RIGHT, None)):
        labels = np.full((HEIGHT, WIDTH), 11, np.uint8)
        if columns is not None:
            labels[:, :columns], labels[:, columns:] = 1, 3
        for part, array in (("val", np.full((HEIGHT, WIDTH, 3), 9 * i)), ("valannot", labels)):
            (root / part).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / part / f"f{i}.png")
        lines.append(f"val/f{i}.png valannot/f{i}.png\n")
    (root / "val.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def data(folder):
    return load_camvid(folder, "val")


def test_each_frame_has_its_mean_iou(data):
    found = kc.evaluate(Building(), data)["frame_iou"]
    single = [kc.evaluate(Building(), data.subset([i]))["mean_iou"] for i in range(5)]
    np.testing.assert_array_equal(found, [*single, np.nan])
    # Building in a quarter, and no Road where there is some.
    np.testing.assert_allclose(found[:2], [0, 0.125])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ([], [])), (1, ([4], [0])), (2, ([4, 3], [0, 1])), (9, ([4, 3, 2, 1, 0], []))],
)
def test_they_are_ranked_and_none_comes_twice(data, count, expected):
    assert best_and_worst(kc.evaluate(Building(), data)["frame_iou"], count) == expected


def test_pictures_show_image_truth_and_prediction(data, tmp_path):
    scores = kc.evaluate(Building(), data)["frame_iou"]
    paths = write_best_and_worst(Building(), data, scores, tmp_path / "new", count=2)
    names = ["best-1-f4.png", "best-2-f3.png", "worst-1-f0.png", "worst-2-f1.png"]
    assert paths == [tmp_path / "new" / name for name in names]
    picture = np.asarray(Image.open(paths[-1]))
    expected = [
        data[1][0],
        colorize(data[1][1], CAMVID_CLASSES),
        colorize(np.ones((HEIGHT, WIDTH), np.uint8), CAMVID_CLASSES),
    ]
    np.testing.assert_array_equal(picture[:HEIGHT, : 3 * WIDTH], np.concatenate(expected, axis=1))
    assert picture.shape[1] > 3 * WIDTH  # the legend


def test_the_command_writes_them(folder, small_network, tmp_path, capsys):
    path = tmp_path / "network.keras"
    small_network.save(path)
    arguments = ["--data", str(folder), "--model", str(path), "--pictures", str(tmp_path / "out")]
    assert main(["evaluate", *arguments]) == 0
    written = sorted(str(file) for file in (tmp_path / "out").iterdir())
    assert len(written) == 5
    assert sorted(capsys.readouterr().out.splitlines()[-5:]) == written
