"""Several images in one run, and threads: the same labels, the same errors, in the same order."""

import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

import keras_crosscbam as kc
from keras_crosscbam.batching import outputs
from keras_crosscbam.classes import ClassTable
from keras_crosscbam.images import STREET, read_image
from keras_crosscbam.label_files import PredictionError, write_predictions
from keras_crosscbam.parallel import parallel_map, prefetched
from keras_crosscbam.runtime.base import Runtime
from keras_crosscbam.segmentation import segment_files

TABLE = ClassTable(("dark", "bright"), ((0, 0, 200), (200, 0, 0)))


class Brightness(Runtime):
    """Says "bright" where red is above one half; fails on batches with an image of red 66."""

    def __init__(self, batch=None):
        super().__init__("brightness", None, 2, TABLE, batch=batch)
        self.shapes = []

    def run(self, prepared):
        self.shapes.append(prepared.shape[:3])
        if (prepared[:, 0, 0, 0] == 66).any():
            raise MemoryError("too much")
        red = prepared[..., :1] - 127.5
        return np.concatenate([-red, red], axis=-1)


def picture(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("workers", [1, 3])
def test_map_keeps_the_order(workers):
    def slow(item):
        time.sleep(0.001 * (7 * item % 5))
        return -item

    assert [*parallel_map(slow, range(30), workers)] == [-item for item in range(30)]
    assert [*parallel_map(slow, [])] == []


def test_errors_come_after_the_results_before_them():
    def items():
        yield from (1, 2)
        raise OSError("lost")

    for function, source, error in (
        (str, items(), OSError),
        (lambda x: 1 / (3 - x), range(9), ZeroDivisionError),
    ):
        seen = []

        def use(function=function, source=source, seen=seen):
            for result in parallel_map(function, source):
                seen.append(result)

        with pytest.raises(error):
            use()
        assert len(seen) == (2 if error is OSError else 3)


def test_closing_ends_the_threads_and_the_source():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    before = threading.active_count()
    chain = parallel_map(abs, prefetched(endless()), workers=2)
    assert next(chain) == 1
    chain.close()
    assert closed == [True]
    assert threading.active_count() == before


def test_memory_is_bounded():
    taken = []
    items = (taken.append(i) or i for i in range(100))
    chain = parallel_map(abs, items, workers=2, ahead=3)
    next(chain)
    assert len(taken) == 5
    chain.close()


def test_batches_have_images_of_one_size():
    sizes = [(6, 8)] * 5 + [(4, 4)] * 2 + [(6, 8)]
    images = [picture(i, *size) for i, size in enumerate(sizes)]
    run = Brightness()
    labels = kc.segment(run, images, batch=3)
    assert run.shapes == [(3, 6, 8), (2, 6, 8), (2, 4, 4), (1, 6, 8)]
    for image, each in zip(images, labels, strict=True):
        np.testing.assert_array_equal(each, Brightness()(image))
    run = Brightness()
    for image, each in zip(images, kc.segment(run, images, size=(12, 12), batch=4), strict=True):
        np.testing.assert_array_equal(each, Brightness()(image, (12, 12)))
    assert run.shapes == [(4, 12, 12), (4, 12, 12)]


def test_fixed_batch_is_filled_up():
    run = Brightness(batch=4)
    images = [picture(i) for i in range(6)]
    for image, labels in zip(images, kc.segment(run, images), strict=True):
        np.testing.assert_array_equal(labels, Brightness()(image))
    assert run.shapes == [(4, 6, 8)] * 2
    with pytest.raises(ValueError, match=r"brightness is fixed to batches of 4. Received: batch=2"):
        kc.segment(run, images, batch=2)
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match="`batch` must be a positive number of images"):
            kc.segment(Brightness(), images, batch=wrong)


def test_output_that_the_network_writes_over():
    """As runtimes with buffers of their own have it."""

    class Buffered(Brightness):
        buffer = np.zeros((1, 6, 8, 2))

        def run(self, prepared):
            self.buffer[:] = super().run(prepared)
            return self.buffer

    images = [picture(i) for i in range(8)]
    for image, item in zip(images, [*outputs(Buffered(), images, lambda x: x)], strict=True):
        np.testing.assert_array_equal(item.labels(Buffered()), Brightness()(image))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_one_image_that_fails_does_not_cost_its_batch(tmp_path, batch):
    for index in range(5):
        image = picture(index)
        image[0, 0, 0] = 66 if index == 2 else 0
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"")
    results = segment_files(Brightness(), tmp_path, tmp_path / "out", batch=batch)
    assert [bool(result.error) for result in results] == [False, False, True, True, False]
    assert "2.png" in results[2].error
    assert "too much" in results[2].error
    assert "3.png: not a readable image" in results[3].error
    for index in (0, 1, 4):
        labels = np.asarray(Image.open(tmp_path / "out" / f"{index}_labels.png"))
        np.testing.assert_array_equal(labels, Brightness()(read_image(tmp_path / f"{index}.png")))
    files = sorted(tmp_path.glob("*.png"))
    with pytest.raises(PredictionError, match=r"2 of 5 images.*2.png.*too much.*3.png"):
        write_predictions(Brightness(), files, tmp_path / "predicted", batch=batch)
    assert sorted(p.name for p in (tmp_path / "predicted").iterdir()) == [
        "0.png",
        "1.png",
        "4.png",
    ]


def test_python_raises_what_went_wrong(tmp_path):
    images = [picture(0), tmp_path / "nothing.png", picture(1)]
    with pytest.raises(ValueError, match=r"nothing.png: no such file"):
        kc.segment(Brightness(), images, batch=2)


def test_evaluation_is_the_same(network, made_camvid):
    """Frame by frame, in pairs, and by a plain loop over single calls."""
    data = kc.datasets.load_camvid(made_camvid, "train")
    one, pairs = (kc.evaluate(network, data, size=48, batch=batch) for batch in (None, 4))
    run = kc.runtime.load(network)
    confusion = np.zeros((11, 11), np.int64)
    for image, labels in data:
        predicted = run.predict(image, 48, output_size=labels.shape)
        known = labels != 255
        np.add.at(confusion, (labels[known], predicted[known]), 1)
    np.testing.assert_array_equal(one["confusion"], confusion)
    # In a batch, sums are rounded in another order.
    assert np.abs(pairs["confusion"] - confusion).sum() <= 1e-3 * confusion.sum()
    assert pairs["frame_iou"].shape == one["frame_iou"].shape


def test_segment_is_what_it_was(network):
    """A single image goes through threads to the very labels of a call of the runtime."""
    run = kc.runtime.load(network)
    image = read_image(STREET)
    np.testing.assert_array_equal(kc.segment(network, STREET, size=48), run(image, 48))
    two = kc.segment(network, [STREET, STREET], size=48, batch=2)
    assert all((labels == run(image, 48)).mean() > 0.999 for labels in two)


def test_reading_goes_on_while_the_network_runs():
    """The second image is read before the first one is through the network."""
    second = threading.Event()

    class Waiting(Brightness):
        def run(self, prepared):
            assert second.wait(30)
            return super().run(prepared)

    def read(index):
        if index == 1:
            second.set()
        return picture(index)

    items = [*outputs(Waiting(), range(3), read)]
    assert [item.error for item in items] == [None] * 3


def test_command_line(onnx_file, made_camvid, tmp_path, capsys):
    from keras_crosscbam import cli

    arguments = ["--data", made_camvid, "--split", "val", "--model", onnx_file]
    outs = []
    for more in ([], ["--batch", "1"]):
        assert cli.main([str(a) for a in ["evaluate", *arguments, *more]]) == 0
        outs.append(re.sub(r".*\r", "", capsys.readouterr().out.split("IoU per class")[1]))
    assert outs[0] == outs[1]
    assert cli.main([str(a) for a in ["evaluate", *arguments, "--batch", "3"]]) == 2
    assert "fixed to batches of 1" in capsys.readouterr().err
