"""Checkpoints and logs: what was kept is what comes back, whatever happens to the files."""

import contextlib
import csv
import errno
import logging
import math
import os
import resource
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_crosscbam.training.atomic import unwritable
from keras_crosscbam.training.callbacks import EpochLog
from keras_crosscbam.training.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def model():
    """One layer and its optimizer's momenta, 0.3 MB in a file."""
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4000)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return [keras.ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


def fill(model, number):
    """Gives a model a state that one number tells."""
    for variable in (*model.variables, *model.optimizer.variables):
        variable.assign(np.full(variable.shape, number, variable.dtype))


def saved(folder, model, *steps, keep=2):
    """Checkpoints of a model whose state is the number of the step."""
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        fill(model, step)
        checkpoints.save(model, step)
    return checkpoints


@contextlib.contextmanager
def files_up_to(size):
    """Within this context writing to a file fails behind so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_holds_the_weights_and_the_optimizer(model, tmp_path):
    rng = np.random.default_rng(0)
    for variable in (*model.variables, *model.optimizer.variables):
        variable.assign(np.asarray(100 * rng.normal(size=variable.shape), variable.dtype))
    expected = state(model)
    checkpoints = Checkpoints(tmp_path / "made" / "on demand")
    checkpoints.save(model, 160_000)
    fill(model, 0)
    step, file = checkpoints.newest()
    assert step == 160_000
    model.load_weights(file)
    for actual, array in zip(state(model), expected, strict=True):
        np.testing.assert_array_equal(actual, array)


def test_there_is_none_before_the_first(tmp_path):
    assert Checkpoints(tmp_path).newest() == (0, None)
    assert Checkpoints(tmp_path / "not there").newest() == (0, None)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(model, tmp_path, keep):
    checkpoints = saved(tmp_path, model, 9, 10, 99, 1000, keep=keep)
    kept = [int(name.split("-")[1]) for name in names(tmp_path)]
    assert kept == [9, 10, 99, 1000][-keep:]
    assert checkpoints.newest()[0] == 1000


def test_a_step_that_is_done_again_replaces_the_first(model, tmp_path):
    """After a damaged checkpoint the training comes by its step once more."""
    saved(tmp_path, model, 3, 6)
    _, damaged = Checkpoints(tmp_path).newest()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    fill(model, 6.5)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, 6)
    step, file = checkpoints.newest()
    assert step == 6
    assert not damaged.exists()
    assert len(names(tmp_path)) == 2
    model.load_weights(file)
    assert set(np.unique(model.get_weights()[0])) == {6.5}


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    """A folder with the checkpoints of steps 3 and 6, and the file of the latter."""
    folder = tmp_path_factory.mktemp("two")
    return folder, saved(folder, model, 3, 6).newest()[1]


def damage(two, folder, change):
    """A copy of that folder with the newest file changed."""
    source, newest = two
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    content = bytearray(newest.read_bytes())
    (folder / newest.name).write_bytes(change(content))
    return Checkpoints(folder)


def assert_back_at_three(checkpoints, model):
    step, file = checkpoints.newest()
    assert step == 3
    model.load_weights(file)
    assert set(np.unique(model.get_weights()[0])) == {3}


@settings(deadline=None, max_examples=15)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(two, model, tmp_path_factory, where, bit):
    def flip(content):
        content[int(where * len(content))] ^= 1 << bit
        return content

    assert_back_at_three(damage(two, tmp_path_factory.mktemp("flipped"), flip), model)


@settings(deadline=None, max_examples=10)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_passed_over(two, model, tmp_path_factory, share):
    checkpoints = damage(
        two, tmp_path_factory.mktemp("short"), lambda content: content[: int(share * len(content))]
    )
    assert_back_at_three(checkpoints, model)


def test_a_damaged_file_is_named(two, tmp_path, caplog):
    checkpoints = damage(two, tmp_path / "copy", lambda content: content[:-1])
    with caplog.at_level(logging.WARNING):
        checkpoints.newest()
    assert (
        f"{tmp_path / 'copy' / two[1].name} is damaged: using the previous checkpoint"
        in caplog.text
    )


def test_damage_everywhere_starts_anew(two, tmp_path):
    folder = shutil.copytree(two[0], tmp_path / "copy")
    for file in folder.iterdir():
        file.write_bytes(b"")
    assert Checkpoints(folder).newest() == (0, None)


@pytest.mark.parametrize(
    "name",
    [
        "unfinished.weights.h5",
        "step-000000009.weights.h5",
        "step-9-0123456789abcdef.weights.h5",
        "step-000000009-0123456789ABCDEF.weights.h5",
        "step-000000009-{digest}.weights.h5.part",
        "copy of step-000000009-{digest}.weights.h5",
        "step-notes.txt",
    ],
)
def test_files_of_other_names_are_neither_read_nor_removed(model, two, tmp_path, name):
    folder = shutil.copytree(two[0], tmp_path / "copy")
    digest = two[1].name.split("-")[2].split(".")[0]
    foreign = folder / name.format(digest=digest)
    foreign.write_bytes(two[1].read_bytes())
    checkpoints = Checkpoints(folder)
    assert checkpoints.newest() == (6, folder / two[1].name)
    if not name.startswith("unfinished"):
        checkpoints.save(model, 12)
        assert foreign.exists()


def test_what_a_killed_process_left_unfinished_is_overwritten(model, tmp_path):
    (tmp_path / "unfinished.weights.h5").write_bytes(b"half a fi")
    checkpoints = saved(tmp_path, model, 3)
    assert checkpoints.newest()[0] == 3
    assert len(names(tmp_path)) == 1


# HDF5 tries once more when it lets go of the file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [4096, 100_000])
def test_a_file_that_may_not_grow_leaves_what_was_there(model, two, tmp_path, size):
    folder = shutil.copytree(two[0], tmp_path / "copy")
    before = names(folder)
    checkpoints = Checkpoints(folder)
    fill(model, 9)
    with files_up_to(size), pytest.raises(RuntimeError) as raised:
        checkpoints.save(model, 9)
    assert str(raised.value) == (
        f"{folder}: the checkpoint of step 9 cannot be written (File too large). Fix this "
        "and run the same command again: it resumes from the last checkpoint."
    )
    assert names(folder) == before
    assert checkpoints.newest() == (6, folder / two[1].name)
    # With space again, the very same process goes on.
    checkpoints.save(model, 9)
    step, file = checkpoints.newest()
    assert step == 9
    model.load_weights(file)
    assert set(np.unique(model.get_weights()[0])) == {9}


def on_full_disk(path):
    """A file that every byte is too much for."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    path.symlink_to("/dev/full")
    return path


def test_space_is_asked_for_where_the_disk_is_full(model, two, tmp_path):
    folder = shutil.copytree(two[0], tmp_path / "copy")
    before = names(folder)
    on_full_disk(folder / "unfinished.weights.h5")
    with pytest.raises(RuntimeError) as raised:
        Checkpoints(folder).save(model, 9)
    assert str(raised.value) == (
        f"{folder}: the checkpoint of step 9 cannot be written (No space left on device). Free "
        "some disk space and run the same command again: it resumes from the last checkpoint."
    )
    assert names(folder) == before


def test_the_log_asks_for_space_too(tmp_path):
    on_full_disk(tmp_path / "unfinished-log.csv")
    with pytest.raises(RuntimeError, match=r"log\.csv cannot be written \(No space .*Free some"):
        EpochLog(tmp_path / "log.csv").add({"epoch": 1})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), f"({os.strerror(errno.ENOSPC)}). Free some disk space"),
        (OSError(errno.EDQUOT, "x"), f"({os.strerror(errno.EDQUOT)}). Free some disk space and"),
        (
            RuntimeError("x\n, errno = 28, y"),
            f"({os.strerror(errno.ENOSPC)}). Free some disk space and",
        ),
        (OSError(errno.EACCES, "x"), f"({os.strerror(errno.EACCES)}). Fix this and"),
        (OSError(errno.EROFS, "x"), f"({os.strerror(errno.EROFS)}). Fix this and"),
        (OSError(errno.ENOENT, "x"), f"({os.strerror(errno.ENOENT)}). Fix this and"),
        (RuntimeError("some\n  words"), "(some words). Fix this and"),
    ],
)
def test_only_a_full_disk_needs_space(error, said):
    assert str(unwritable("log.csv", error)).startswith(f"log.csv cannot be written {said}")


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(
        RuntimeError, match="checkpoints: the checkpoint of step 1 cannot be written"
    ) as raised:
        Checkpoints(tmp_path / "checkpoints").save(model, 1)
    assert "space" not in str(raised.value)


# The log

names_ = st.sampled_from(["loss", "val_mean_iou", "val_iou_Sky, blue", 'val_iou_"Car"', "speed"])
numbers = st.floats(-1e30, 1e30) | st.just(math.nan) | st.just(math.inf)


def same(rows, others):
    assert [row.keys() for row in rows] == [row.keys() for row in others]
    for row, other in zip(rows, others, strict=True):
        for name, value in row.items():
            np.testing.assert_allclose(value, other[name], rtol=1e-6, equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(names_, numbers), max_size=6))
def test_rows_come_back_with_their_holes(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    log, expected = EpochLog(path), []
    for epoch, row in enumerate(rows, start=1):
        log.add({"epoch": epoch, **row})
        expected.append({"epoch": epoch, **row})
        same(log.rows, expected)
        same(EpochLog(path).rows, expected)
    assert path.exists() == bool(rows)
    assert len(names(path.parent)) == bool(rows)


def test_columns_are_added_where_a_later_row_has_more(tmp_path):
    """Scores of the validation stand in the rows of some epochs only."""
    log = EpochLog(tmp_path / "log.csv")
    log.add({"epoch": 1, "loss": 0.5})
    log.add({"epoch": 2, "loss": np.float32(0.25), "val_mean_iou": 0.125})
    with log.path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["epoch", "loss", "val_mean_iou"], ["1", "0.5", ""], ["2", "0.25", "0.125"]]


@pytest.mark.parametrize("epochs", [0, 2, 3, 7])
def test_epochs_that_are_run_again_are_dropped(tmp_path, epochs):
    log = EpochLog(tmp_path / "log.csv")
    for epoch in (1, 2, 3):
        log.add({"epoch": epoch, "loss": epoch / 10})
    again = EpochLog(log.path, epochs)
    kept = [epoch for epoch in (1, 2, 3) if epoch <= epochs]
    assert [row["epoch"] for row in again.rows] == kept
    again.add({"epoch": 4, "loss": 0.4})
    assert [row["epoch"] for row in EpochLog(log.path).rows] == [*kept, 4]


def test_steps_keep_all_their_digits(tmp_path):
    log = EpochLog(tmp_path / "log.csv")
    log.add({"epoch": 160, "step": 2_880_000})
    assert EpochLog(log.path).rows == [{"epoch": 160, "step": 2_880_000}]
