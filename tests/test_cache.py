"""Decoded frames stay in memory only as long as there is some, whoever sets the limit."""

import logging
import math
import threading
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from training_program import TINY

from keras_crosscbam.datasets import cache, load_camvid
from keras_crosscbam.datasets.cache import Cached, available_memory
from keras_crosscbam.datasets.pipeline import training_batches
from keras_crosscbam.training.segmentation import phased_batches

MB = 10**6


class Counting:
    """Frames of 1 MB, each image and mask half of it, and how often each was read."""

    name = "made"

    def __init__(self, frames):
        self.frames, self.reads = frames, Counter()

    def __len__(self):
        return self.frames

    def __getitem__(self, index):
        self.reads[index] += 1
        half = np.full(MB // 2, index, np.uint8)
        return half, half


def limited(monkeypatch, data, total):
    """A `Cached` on a machine of so many bytes, which it alone uses."""
    frames = Cached(data)
    monkeypatch.setattr(cache, "available_memory", lambda: total - MB * len(frames._frames))
    return frames


def read_twice(frames):
    for _ in range(2):
        for index in range(len(frames)):
            assert [part[0] for part in frames[index]] == [index, index]


def test_with_enough_memory_each_frame_is_read_once(monkeypatch, caplog):
    data = Counting(10)
    read_twice(limited(monkeypatch, data, 25 * MB))
    assert set(data.reads.values()) == {1}
    assert not caplog.records


def test_with_too_little_half_of_it_is_used_and_the_rest_read_again(monkeypatch, caplog):
    data = Counting(10)
    with caplog.at_level(logging.WARNING):
        read_twice(limited(monkeypatch, data, 8 * MB))
    # Keeping a fifth frame would leave three free, less than the cache would hold.
    assert [data.reads[i] for i in range(10)] == [1] * 4 + [2] * 6
    (record,) = caplog.records
    assert record.getMessage() == (
        "made: 4 of 10 decoded frames are kept in memory (0.00 GB, with 0.00 GB free). The "
        "other frames are read from their files each time, which is slower"
    )


def test_other_processes_may_take_the_memory_meanwhile(monkeypatch):
    data, free = Counting(4), iter([100 * MB, 100 * MB, MB])
    monkeypatch.setattr(cache, "available_memory", lambda: next(free))
    read_twice(Cached(data))
    assert [data.reads[i] for i in range(4)] == [1, 1, 2, 2]


def test_many_threads_keep_each_frame_once(monkeypatch):
    frames = limited(monkeypatch, Counting(20), 100 * MB)
    threads = [threading.Thread(target=read_twice, args=[frames]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert frames._bytes == 20 * MB


def test_batches_are_the_same_with_and_without_memory(monkeypatch, made_camvid, caplog):
    data = load_camvid(made_camvid, "train")
    plenty = list(training_batches(data, (32, 48), 2, stop_step=6).as_numpy_iterator())
    monkeypatch.setattr(cache, "available_memory", lambda: 60_000)  # a frame has 31 KB
    with caplog.at_level(logging.WARNING):
        scarce = list(training_batches(data, (32, 48), 2, stop_step=6).as_numpy_iterator())
    assert ["camvid: 1 of 6 decoded" in record.getMessage() for record in caplog.records] == [True]
    for batch, expected in zip(scarce, plenty, strict=True):
        for part, wanted in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize(("kept", "reads"), [(True, {1}), (False, {2})])
def test_all_phases_of_a_training_share_their_frames(made_camvid, kept, reads):
    data, counted = load_camvid(made_camvid, "train"), Counter()

    class Watched(SimpleNamespace):
        name = "watched"

        def __len__(self):
            return len(data)

        def __getitem__(self, index):
            counted[index] += 1
            return data[index]

    recipe = SimpleNamespace(**{**vars(TINY), "cache": kept})
    assert len(list(phased_batches(Watched(), recipe, steps=3))) == 6
    assert set(counted.values()) == reads


# How much memory there is


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def version_2(folder, limit, used, cached=0):
    return {
        f"sys/fs/cgroup{folder}/memory.max": f"{limit}\n",
        f"sys/fs/cgroup{folder}/memory.current": f"{used}\n",
        f"sys/fs/cgroup{folder}/memory.stat": f"anon 5\ninactive_file {cached}\n",
    }


def version_1(folder, limit, used, cached=0):
    return {
        f"sys/fs/cgroup/memory{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"sys/fs/cgroup/memory{folder}/memory.usage_in_bytes": f"{used}\n",
        f"sys/fs/cgroup/memory{folder}/memory.stat": f"cache 7\ntotal_inactive_file {cached}\n",
    }


ALL = 4000 * 1000 * 1024


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("", {}, ALL),
        ("0::/\n", version_2("", 900 * MB, 300 * MB), 600 * MB),
        ("0::/\n", version_2("", 900 * MB, 300 * MB, cached=100 * MB), 700 * MB),
        ("0::/\n", version_2("", 900 * MB, 950 * MB), 0),
        ("0::/a/b\n", version_2("/a/b", "max", 300 * MB), ALL),
        # The group above has the limit.
        (
            "0::/a/b\n",
            version_2("/a/b", "max", 300 * MB) | version_2("/a", 500 * MB, 400 * MB),
            100 * MB,
        ),
        # The path is that of the host, of which the container sees nothing.
        ("0::/docker/1f\n", version_2("", 900 * MB, 300 * MB), 600 * MB),
        ("3:memory:/job\n2:cpu:/\n0::/\n", version_1("/job", 800 * MB, 100 * MB), 700 * MB),
        ("3:cpu,memory:/docker/1f\n", version_1("", 800 * MB, 300 * MB, 50 * MB), 550 * MB),
        ("3:memory:/\n", version_1("", 2**63 - 4096, 300 * MB), ALL),
        ("2:cpu:/job\n", version_1("/job", 800 * MB, 100 * MB), ALL),
    ],
)
def test_the_tightest_limit_counts(tmp_path, cgroup, files, expected):
    meminfo = "MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\nHugePages_Total: 0\n"
    write(tmp_path, {"proc/meminfo": meminfo, "proc/self/cgroup": cgroup, **files})
    assert available_memory(tmp_path) == expected


def test_a_system_that_tells_nothing_sets_no_limit(tmp_path):
    assert available_memory(tmp_path) == math.inf


def test_this_machine():
    with open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal"))
    assert 0 < available_memory() < 1024 * total
