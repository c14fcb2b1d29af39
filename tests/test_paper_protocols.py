"""Published loops run as often, and on what, as those who published them did."""

import numpy as np
import pytest
from counting_runtime import Counting, OnDevice

from keras_crosscbam.benchmark import PROTOCOLS, paper_protocols


@pytest.mark.parametrize(
    ("name", "runs", "mean", "deviation"),
    [
        ("pp-liteseg", 2500, 0.5, 12**-0.5),
        ("bisenet", 1000, 0.0, 0.0),
        ("mmsegmentation", 200, None, None),
    ],
)
def test_published_loops_run_as_often_as_published(name, runs, mean, deviation):
    run, images = Counting(), np.full((2, 8, 16, 3), 77, np.uint8)
    result = paper_protocols.measure(PROTOCOLS[name], run, images)
    assert run.runs == runs
    assert result.calls == result.prescribed == PROTOCOLS[name].calls
    assert result.fps == pytest.approx(2 * result.calls / result.seconds)
    if mean is None:
        assert (run.last == 77).all()
    else:
        assert run.last.mean() == pytest.approx(mean, abs=0.05)
        assert run.last.std() == pytest.approx(deviation, abs=0.05)


def test_stdc_seg_doubles_the_calls_before_it_divides():
    blocks = []

    def time_calls(calls):
        blocks.append(calls)
        return [1 / 256] * calls

    # 400 calls are the first to take a second: 800 / (400 / 256) * 6, which is 12 seconds' worth.
    assert paper_protocols._calibrated(time_calls, limit=30) == 12 * 256
    assert sum(blocks) == 700


def test_time_limit_ends_a_published_loop_early():
    run, images = OnDevice(), np.zeros((1, 8, 16, 3), np.uint8)
    result = paper_protocols.measure(PROTOCOLS["stdc-seg"], run, images, limit=0.9)
    # The limit is looked at every 50 calls: after 250 they have taken 0.98 seconds.
    assert (result.calls, result.prescribed) == (250, 12 * 256)
    assert result.fps == pytest.approx(256)
