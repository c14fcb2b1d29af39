"""Nothing that can go wrong costs a training more than its last epoch."""

import random
import signal
import time
from dataclasses import replace

import pytest
from trained import assert_same_end, finish, run, start
from training_program import POINTS, TINY

from keras_crosscbam.training import Phase


def test_a_loss_that_is_no_number_stops_the_run(made_camvid, tmp_path):
    hot = replace(
        TINY, optimizer="sgd", learning_rate=1e30, warmup_steps=0, phases=(Phase(1, (64, 64)),)
    )
    with pytest.raises(RuntimeError, match=r"The loss became (nan|inf) at step [23], at a") as info:
        run(made_camvid, tmp_path, hot)
    assert "learning rate of" in str(info.value)
    assert str(info.value).count(".png") == 2
    assert not list(tmp_path.glob("checkpoints/*"))


# The whole network, and forty epochs of two steps, so that there is something to cut into.
LONG = ("architecture={}", "phases=40x32x32", "steps_per_epoch=2", "validation_freq=3", "seed=9")


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
