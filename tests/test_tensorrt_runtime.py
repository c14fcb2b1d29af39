"""What `TensorRTRuntime` does with buffers, shapes and graphs, on a stand-in for a card.

`test_on_a_card` of test_tensorrt.py does the same with TensorRT, where there is a card.
"""

import numpy as np
import pytest
from host_engine import TRT, HostCuda, HostEngine
from tiny_network import CLASSES, SIZE, TABLE, images, onnx_file, scores_of

from keras_crosscbam.runtime.onnx import OnnxRuntime
from keras_crosscbam.runtime.tensorrt import runtime as tensorrt
from keras_crosscbam.runtime.tensorrt.runtime import TensorRTRuntime


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A function that opens the network as an engine; returns runtime, engine and CUDA."""

    def open_network(profile=None, **written):
        path = onnx_file(tmp_path / "m.onnx", **written)
        engine, connection = HostEngine(path, profile), HostCuda()
        description = OnnxRuntime(path).description if written.get("described", True) else None
        monkeypatch.setattr(
            tensorrt, "open_engine", lambda path, trt: (engine, description, connection, TRT)
        )
        return TensorRTRuntime("m.engine"), engine, connection

    return open_network


BATCHES = [(1, 3, *SIZE), (2, 3, *SIZE), (4, 3, *SIZE)]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_scores_and_labels(opened, layout):
    run, _, _ = opened(layout=layout)
    assert (run.size, run.batch, run.num_classes, run.classes) == (SIZE, 1, CLASSES, TABLE)
    pixels = images(3)
    np.testing.assert_allclose(run.logits(pixels), scores_of(pixels), rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(run(pixels), scores_of(pixels).argmax(-1))


def test_raw_pixels_to_labels(opened):
    run, _, _ = opened(pixels="uint8", output="labels")
    pixels = images(2)
    assert run.dtype == np.uint8
    np.testing.assert_array_equal(run.labels(pixels), scores_of(pixels).argmax(-1))
    with pytest.raises(ValueError, match="outputs labels, not scores"):
        run.logits(pixels)


def test_a_foreign_engine(opened):
    run, _, _ = opened(described=False, output="labels", labels_dtype="int64")
    assert run.description.output == "labels"
    np.testing.assert_array_equal(run.labels(images()), scores_of(images()).argmax(-1))


def test_batches_within_and_beyond_the_profile(opened):
    run, engine, connection = opened(BATCHES, batch=None)
    assert run.batch is None
    for count, shapes in ((3, {3}), (1, {1}), (9, {4, 1})):
        engine.runs.clear()
        pixels = images(count)
        np.testing.assert_array_equal(run.labels(pixels), scores_of(pixels).argmax(-1))
        assert {shape[0] for shape in engine.runs} == shapes
    # One graph for each change of shape: 3, 1, 4 and again 1.
    assert connection.captured == 4


def test_a_profile_that_images_do_not_fit(opened):
    sizes = [(1, 3, 8, 8), (1, 3, *SIZE), (1, 3, 32, 32)]
    run, _, _ = opened(sizes, size=(None, None))
    np.testing.assert_array_equal(run(images()), scores_of(images()).argmax(-1))
    with pytest.raises(ValueError, match=r"from \(1, 3, 8, 8\) to \(1, 3, 32, 32\)"):
        run(images(size=(64, 64)))
    np.testing.assert_array_equal(run(images()), scores_of(images()).argmax(-1))


def test_a_graph_is_recorded_once_and_replayed(opened):
    run, engine, connection = opened()
    for _ in range(3):
        run(images())
    assert connection.captured == 1
    assert len(engine.runs) == 1 + 3


def test_without_graphs(opened, monkeypatch):
    """As with pycuda, or where the network cannot be recorded."""
    monkeypatch.setattr(HostCuda, "capture", lambda self, function: None)
    run, _, _ = opened()
    np.testing.assert_array_equal(run(images()), scores_of(images()).argmax(-1))


def test_device_time(opened):
    run, engine, _ = opened(BATCHES, batch=None)
    assert run.time_device(5, warm_up=2).shape == (5,)
    # What the engine is fastest at: two at once, one run before recording and seven after it.
    assert engine.runs == [BATCHES[1]] * 8
    run.time_device(1, batch=4, warm_up=0)
    assert engine.runs[-1] == BATCHES[2]


def test_memory_is_counted_and_freed(opened):
    run, _, connection = opened()
    assert run.memory == 4 * (3 + CLASSES) * SIZE[0] * SIZE[1]
    assert not connection.closed
    del run
    assert connection.closed


def test_two_inputs(opened, monkeypatch):
    monkeypatch.setattr(HostEngine, "get_tensor_mode", lambda self, name: "input")
    with pytest.raises(ValueError, match="expected one input, the image"):
        opened()
