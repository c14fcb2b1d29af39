"""What benchmarks are made of: statistics by hand, the machine, affinity and names."""

import gc
import itertools
import json
import os
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_crosscbam.benchmark.comparison import names_of
from keras_crosscbam.benchmark.contender import allowed_cores, pinned
from keras_crosscbam.benchmark.machine import OtherWork, busy_seconds, machine, state
from keras_crosscbam.benchmark.statistics import (
    Interval,
    is_settled,
    median_interval,
    percentiles,
    round_ratios,
)

SECONDS = st.floats(1e-4, 10, allow_nan=False)
TURNS = st.lists(st.lists(SECONDS, min_size=1, max_size=5), min_size=1, max_size=8)


def test_percentiles_lie_between_the_calls_on_both_sides():
    # Rank p / 100 * (n - 1): of 5 calls the 90th percentile is at rank 3.6, the 99th at 3.96.
    assert percentiles([5.0, 1.0, 2.0, 4.0, 3.0]) == pytest.approx((3.0, 4.6, 4.96))


@given(TURNS)
def test_a_contender_is_as_fast_as_itself(turns):
    ratios = round_ratios(turns, turns)
    assert ratios == [1.0] * len(turns)
    assert median_interval(ratios, resamples=50) == Interval(1.0, 1.0, 1.0)


@given(TURNS, st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_ratios_are_those_of_medians_within_rounds(turns, factor, random):
    slower = [[factor * seconds for seconds in turn] for turn in turns]
    for turn in slower:
        random.shuffle(turn)
    assert round_ratios(slower, turns) == pytest.approx([factor] * len(turns))
    # What slows a whole round down, the other one too, leaves the ratio alone.
    disturbed = [[3 * seconds for seconds in turn] for turn in (turns[0], slower[0])]
    ratios = round_ratios([disturbed[1], *slower[1:]], [disturbed[0], *turns[1:]])
    assert ratios == pytest.approx([factor] * len(turns))
    assert round_ratios(turns, slower) == pytest.approx([1 / factor] * len(turns))


def test_rounds_must_be_the_same_ones():
    with pytest.raises(ValueError, match="shorter"):
        round_ratios([[1.0], [1.0]], [[1.0]])


@given(st.lists(SECONDS, min_size=1, max_size=9), st.floats(0.1, 10))
@settings(max_examples=30)
def test_interval_holds_the_median_and_scales(values, factor):
    interval = median_interval(values, resamples=200)
    assert min(values) <= interval.low <= interval.median <= interval.high <= max(values)
    assert interval.median == np.median(values)
    assert interval == median_interval(values[:], resamples=200)
    scaled = median_interval([factor * value for value in values], resamples=200)
    assert scaled == pytest.approx([factor * x for x in interval])
    assert scaled.width == pytest.approx(interval.width)


def test_bootstrap_is_that_of_all_possible_resamples():
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    medians = [np.median(drawn) for drawn in itertools.product(values, repeat=len(values))]
    low, high = np.percentile(medians, (10, 90))
    assert median_interval(values, confidence=0.8) == Interval(4.0, low, high)


def test_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [
        interval.low <= 1.0 <= interval.high
        for interval in (median_interval(rng.lognormal(0, 0.2, 20)) for _ in range(200))
    ]
    assert 0.88 < np.mean(covered) < 0.995


@pytest.mark.parametrize(
    ("seconds", "settled"),
    [
        ([1.0] * 9, False),
        ([1.0] * 10, True),
        ([1.0] * 5 + [1.019] * 5, True),
        ([1.0] * 5 + [1.021] * 5, False),
        ([1.0] * 5 + [0.979] * 5, False),
        ([9.0] * 50 + [1.0] * 10, True),
        ([1.0] * 5 + [1.0, 1.0, 1.0, 9.0, 9.0], True),
    ],
)
def test_calls_settle_when_their_median_stays(seconds, settled):
    assert is_settled(seconds) is settled


# --- the machine


def test_machine_and_state_are_json():
    facts = machine()
    assert facts["cpu"]
    assert facts["cores"] == os.cpu_count()
    assert json.loads(json.dumps([facts, state()]))[0] == facts


def test_nvidia_smi_is_asked_for_every_card(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in --query-gpu=name,*) ;; *) exit 9 ;; esac\n'
        'echo "GeForce GTX 1080 Ti, 535.54, 11264, 250.00, 1911"\n'
        'echo "GeForce GTX 1080 Ti, 535.54, 11264, 250.00, [N/A]"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    first, second = machine()["gpus"]
    assert (first["name"], first["clocks.max.sm"]) == ("GeForce GTX 1080 Ti", "1911")
    assert second["clocks.max.sm"] == "[N/A]"
    assert state()["gpus"] == []  # the program refuses that query


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_the_clock_of_the_machine_leaves_no_file_open():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = busy_seconds(), busy_seconds()
        gc.collect()
    assert [str(warning.message) for warning in caught if "/proc" in str(warning.message)] == []
    assert first is None or 0 < first <= second


def test_other_work_is_what_was_not_ones_own():
    others, began, clock = OtherWork(), time.process_time(), time.perf_counter()
    while time.process_time() - began < 0.3:
        pass
    elapsed = time.perf_counter() - clock
    # Seen from outside, this loop is other work; ticks of 10 ms blur it.
    assert others.cores(own_seconds=0.0) * elapsed > 0.25
    assert others.cores(own_seconds=1e9) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_peak_memory_counts_from_where_it_was_reset():
    """In a process of its own: a large one has freed memory at hand that raises no peak."""
    program = (
        "import numpy as np\n"
        "from keras_crosscbam.benchmark.machine import memory, reset_peak\n"
        "np.ones(60_000_000, np.uint8)\n"
        "before = memory('VmRSS')\n"
        "reset_peak()\n"
        "assert memory('VmHWM') < before + 20_000_000\n"
        "np.ones(60_000_000, np.uint8)\n"
        "assert memory('VmHWM') > before + 50_000_000\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_pinning_holds_for_processes_and_ends():
    before = allowed_cores()
    program = [sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"]
    with pinned(1):
        assert subprocess.check_output(program, text=True).strip() == "1"
    assert allowed_cores() == before
    with pytest.raises(ValueError, match=rf"between 1 and the {len(before)} cores.*Received: 999"):
        pinned(999).__enter__()
    with pinned(None):
        assert allowed_cores() == before


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a.onnx"], ["a.onnx"]),
        (["x/a.onnx", "x/a.onnx"], ["a.onnx", "a.onnx #2"]),
        (["x/a.onnx", "y/a.onnx", "x/a.onnx"], ["x/a.onnx", "y/a.onnx", "x/a.onnx #2"]),
        (
            ["openvino:x/a.onnx", "openvino-bf16:x/a.onnx"],
            ["openvino:a.onnx", "openvino-bf16:a.onnx"],
        ),
    ],
)
def test_names_are_short_and_all_different(models, names):
    assert names_of(models) == names
