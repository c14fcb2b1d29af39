"""A report says by itself what stands against its figures."""

import dataclasses
import json

import pytest
from counting_runtime import Counting

from keras_crosscbam.benchmark import Report, benchmark


@pytest.fixture
def quiet():
    """A report that nothing stands against."""
    report = benchmark([Counting()], [Counting()], scopes=["network"], rounds=2)
    conditions = {
        "before": {"load": 0.0, "cpu_mhz": [2000.0, 2000.0], "governor": None, "gpus": []},
        "after": {"load": 1.0, "cpu_mhz": [2000.0, 2000.0], "governor": None, "gpus": []},
        "other_cores": 0.0,
    }
    seconds = {"network": {name: [[1.0] * 60, [1.0] * 60] for name in report.contenders}}
    setting = {**report.setting, "isolated": True}
    contenders = {
        name: {**facts, "warm_up": {"network": {"calls": 9, "seconds": 1.0, "stable": True}}}
        for name, facts in report.contenders.items()
    }
    return dataclasses.replace(
        report, conditions=conditions, seconds=seconds, setting=setting, contenders=contenders
    )


def test_nothing_is_doubted_without_reason(quiet):
    assert quiet.warnings() == []
    assert "warning" not in quiet.table()


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (
            ("seconds", "network", "counting", [[1.0] * 60, [2.0] * 60]),
            "wider than 10 % for counting",
        ),
        (("conditions", "other_cores", 1.5), "other programs used 1.5 of"),
        (("conditions", "other_cores", None), "the load was 3.0 before"),
        (
            ("conditions", "after", "cpu_mhz", [1000.0, 1800.0]),
            "clock changed from 2000 to 1800 MHz",
        ),
        (("contenders", "counting", "warm_up", "network", "stable", False), "not stable"),
        (("contenders", "counting", "output", "labels"), "different outputs (labels, logits)"),
        (("contenders", "counting", "clock", "device"), "timed by their device's clock"),
        (("contenders", "counting", "classes", 19), "different numbers of classes"),
        (("setting", "isolated", False), "ran in one process"),
    ],
)
def test_every_reason_for_doubt_is_given(quiet, change, warning):
    entries = json.loads(quiet.to_json())
    *path, key, value = change
    target = entries
    for step in path:
        target = target[step]
    target[key] = value
    if change[1:2] == ("other_cores",) and value is None:
        entries["conditions"]["before"]["load"] = 3.0
    warnings = Report.from_json(json.dumps(entries)).warnings()
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_few_calls_make_p99_doubtful(quiet):
    seconds = {"network": {name: [[1.0] * 49, [1.0] * 50] for name in quiet.contenders}}
    (warning,) = dataclasses.replace(quiet, seconds=seconds).warnings()
    assert "fewer than 100 calls" in warning
