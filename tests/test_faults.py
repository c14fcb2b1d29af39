"""Nothing that can go wrong costs a training more than its last epoch."""

import random
import shutil
import signal
import time
from dataclasses import replace

import pytest
from trained import assert_same_arrays, finish, log_of, newest_checkpoint, run, start
from training_program import POINTS, TINY

from keras_crosscbam.training import Phase


def assert_same_end(out, expected):
    """The same log, the same weights to the last bit, and nothing half-written."""
    assert [row["step"] for row in log_of(out)] == [row["step"] for row in log_of(expected)]
    for row, wanted in zip(log_of(out), log_of(expected), strict=True):
        assert {k: v for k, v in row.items() if k != "images_per_second"} == {
            k: v for k, v in wanted.items() if k != "images_per_second"
        }
    assert_same_arrays(newest_checkpoint(out), newest_checkpoint(expected))
    assert_same_arrays(out / "best.weights.h5", expected / "best.weights.h5")
    assert not list(out.glob("**/unfinished*"))


def test_a_run_killed_while_it_wrote_a_checkpoint_resumes(
    undisturbed, killed, made_camvid, tmp_path
):
    resumed = shutil.copytree(killed, tmp_path / "resumed")
    assert list(resumed.glob("checkpoints/unfinished*"))
    run(made_camvid, resumed)
    assert_same_end(resumed, undisturbed)


def test_a_damaged_checkpoint_is_passed_over(undisturbed, made_camvid, tmp_path, caplog):
    resumed = shutil.copytree(undisturbed, tmp_path / "resumed")
    newest = newest_checkpoint(resumed)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run(made_camvid, resumed)
    assert f"{newest.name} is damaged" in caplog.text
    assert_same_end(resumed, undisturbed)


def test_a_loss_that_is_no_number_stops_the_run(made_camvid, tmp_path):
    hot = replace(TINY, learning_rate=1e30, warmup_steps=0, phases=(Phase(1, (64, 64)),))
    with pytest.raises(RuntimeError, match=r"The loss became (nan|inf) at step [23], at a") as info:
        run(made_camvid, tmp_path, hot)
    assert "learning rate of" in str(info.value)
    assert str(info.value).count(".png") == 2
    assert not list(tmp_path.glob("checkpoints/*"))


# Forty epochs of two steps, so that there is something to cut into.
LONG = ("phases=40x32x32", "steps_per_epoch=2", "validation_freq=3", "seed=9")


@pytest.fixture(scope="module")
def long_run(made_camvid, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "long"
    finish(start(made_camvid, out, *LONG))
    return out


@pytest.mark.slow
def test_a_run_killed_at_every_point_and_at_random_moments_ends_the_same(
    long_run, made_camvid, tmp_path
):
    """One run, killed more than twenty times and once out of space, always started again."""
    out, rng, kills, last = tmp_path / "run", random.Random(3), 0, 0
    points = [*POINTS, *[None] * 10]
    for point in points:
        process = start(made_camvid, out, *LONG, *filter(None, [point]))
        if point is None:
            process.stdout.readline()  # its first step is done
            time.sleep(rng.uniform(0, 4))
            process.kill()
        error = process.communicate()[1]
        if point == "full disk":
            assert process.returncode == 1
            assert "cannot be written" in error
            assert "run the same command again" in error
        elif process.returncode == -signal.SIGKILL:
            kills += 1
        else:
            assert process.returncode == 0, error
        steps = [int(path.name[5:14]) for path in out.glob("checkpoints/step-*")]
        assert max(steps, default=0) >= last, "a checkpoint was lost"
        last = max(steps, default=0)
        print(f"{point or 'random moment'}: exit status {process.returncode}, step {last}")
    finish(start(made_camvid, out, *LONG))
    assert_same_end(out, long_run)
    assert kills >= 20
