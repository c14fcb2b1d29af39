"""One process at a time in the folder of a training, and no lock that outlives it."""

import errno
import fcntl
import logging
import os
import subprocess
import sys

import pytest
from training_program import TINY

from keras_crosscbam.training.distribution import Workers
from keras_crosscbam.training.lock import only_process
from keras_crosscbam.training.resumable import open_run

HOLDER = """
import pathlib, sys
from keras_crosscbam.training.lock import only_process

with only_process(pathlib.Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


class Second(Workers):
    """A worker that does not write."""

    index, count = 1, 2


@pytest.fixture
def holder(tmp_path):
    """Another process that is in the folder `run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "inside\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_kept_out_until_the_first_is_killed(holder, tmp_path):
    folder = tmp_path / "run"
    message = f"{folder}: process {holder.pid} on .* is training in this folder. .* remove {folder}"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=message), open_run(folder, TINY, 3, {}, Workers()):
            pass
    # The other workers of the training that is going on write nothing, and are let in.
    with open_run(folder, TINY, 3, {}, Second()) as run:
        assert run.step == 0
    # Another folder is free.
    with open_run(tmp_path / "other", TINY, 3, {}, Workers()):
        pass
    holder.kill()
    holder.wait()
    assert (folder / "lock").exists()
    with open_run(folder, TINY, 3, {}, Workers()):
        assert (folder / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_the_end_and_an_error_let_the_next_one_in(tmp_path):
    class Stop(Exception):  # noqa: N818
        pass

    for _ in range(3):
        with pytest.raises(Stop), only_process(tmp_path):
            raise Stop


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING), only_process(tmp_path):
        assert "this file system has no locks (No locks available)" in caplog.text


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with (
        pytest.raises(RuntimeError, match=r"run cannot be written \(File exists\). Fix this"),
        only_process(tmp_path / "run"),
    ):
        pass
