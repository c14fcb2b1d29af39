"""What `TF_CONFIG` says of a cluster, and what of it is refused."""

import json

import pytest

from keras_crosscbam.training.distribution import Workers, _cluster_size, find_workers

CLUSTER = {"worker": ["10.0.0.1:2345", "10.0.0.2:2345"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "{}",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["10.0.0.1:2345"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_no_cluster_is_this_process_alone(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert type(find_workers()) is Workers


@pytest.mark.parametrize(
    ("cluster", "task", "size"),
    [
        (CLUSTER, {"type": "worker", "index": 1}, 2),
        (CLUSTER, {"type": "worker", "index": "1"}, 2),
        ({"chief": ["a:1"], **CLUSTER}, {"type": "chief", "index": 0}, 3),
    ],
)
def test_a_cluster_is_counted(monkeypatch, cluster, task, size):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert _cluster_size() == size


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "[]",
        "3",
        '{"cluster": ["a:1", "b:1"]}',
        '{"cluster": {"worker": 2}}',
        json.dumps({"cluster": CLUSTER}),
        json.dumps({"cluster": CLUSTER, "task": {"index": 0}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": None}}),
    ],
)
def test_what_is_no_cluster_is_shown(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"TF_CONFIG must be JSON like .*, or unset. Received: "):
        find_workers()
