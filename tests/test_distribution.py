"""Training on several devices and processes gives what one device gives."""

import json
import os
import socket
import time

import pytest
from trained import (
    arrays_of,
    assert_same_arrays,
    distance,
    finish,
    log_of,
    newest_checkpoint,
    start,
)

# Without dropout, whose masks depend on how a batch is shared. Losses, BatchNormalization and
# augmentation are all in. Trained weights and SGD, as chaos is small there: from random weights
# and with Adam any other order of summing leads elsewhere within a few steps.
SAME = (
    "architecture={}",
    "dropout_rate=0.0",
    "weights=camvid",
    "optimizer=sgd",
    "learning_rate=0.01",
    "batch_size=4",
)
# Relative, in the Euclidean norm. Fused and synchronized normalization alone round 1e-3 apart.
TOLERANCE = 2e-3


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_worker(index, ports, *arguments):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    return start(*arguments, TF_CONFIG=json.dumps(config))


def assert_same_training(out, expected):
    # The first step's momenta are its gradients, and show what the weights would hide.
    first = [next(folder.glob("checkpoints/step-000000001-*")) for folder in (out, expected)]
    assert distance(*first, "optimizer") < TOLERANCE
    assert distance(newest_checkpoint(out), newest_checkpoint(expected), "layers") < TOLERANCE
    for row, wanted in zip(log_of(out), log_of(expected), strict=True):
        assert row["step"] == wanted["step"]
        assert row["loss"] == pytest.approx(wanted["loss"], rel=TOLERANCE)
        assert row["val_mean_iou"] == pytest.approx(wanted["val_mean_iou"], abs=2e-3)


@pytest.fixture(scope="module")
def alone(made_camvid, tmp_path_factory):
    """The training on one device."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    finish(start(made_camvid, out, *SAME))
    return out


@pytest.mark.slow
def test_two_workers_train_as_one(alone, made_camvid, tmp_path):
    ports = free_ports(2)
    finish(*(start_worker(i, ports, made_camvid, tmp_path, *SAME) for i in range(2)))
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
def test_workers_keep_equal_weights(made_camvid, tmp_path):
    """With dropout and Adam too: each worker writes its own copy at the end."""
    ports, copies = free_ports(2), [tmp_path / f"worker{i}.weights.h5" for i in range(2)]
    finish(
        *(
            start_worker(i, ports, made_camvid, tmp_path / "run", f"copy={copies[i]}")
            for i in range(2)
        )
    )
    assert arrays_of(copies[0])
    assert_same_arrays(*copies)


@pytest.mark.slow
def test_two_devices_of_one_process_train_as_one(alone, made_camvid, tmp_path):
    finish(start(made_camvid, tmp_path, *SAME, LOGICAL_CPUS="2"))
    assert_same_training(tmp_path, alone)


@pytest.mark.slow
def test_two_devices_and_two_workers_learn_from_a_teacher_as_one(made_camvid, tmp_path):
    taught = (*SAME, "teacher=camvid", "teacher_variant=M", "temperature=2")
    ports = free_ports(2)
    finish(
        start(made_camvid, tmp_path / "one", *taught),
        start(made_camvid, tmp_path / "devices", *taught, LOGICAL_CPUS="2"),
    )
    finish(*(start_worker(i, ports, made_camvid, tmp_path / "workers", *taught) for i in range(2)))
    one, devices, workers = (tmp_path / name for name in ("one", "devices", "workers"))
    assert_same_training(workers, devices)
    # Synchronized and fused batch normalization round in different ways, which shows in the
    # gradients. A loss that is shared out wrongly changes them by tens of per cent.
    first = [next(out.glob("checkpoints/step-000000001-*")) for out in (devices, one)]
    assert distance(*first, "optimizer") < 1e-2
    row, wanted = (log_of(out)[0] for out in (devices, one))
    assert wanted["distilled_loss"] > 0.1
    for name in ("loss", "main_loss", "aux_loss", "distilled_loss"):
        assert row[name] == pytest.approx(wanted[name], rel=1e-5)


@pytest.mark.slow
def test_two_jax_devices_train_as_one(made_camvid, tmp_path):
    jax, flags = {"KERAS_BACKEND": "jax"}, os.environ.get("XLA_FLAGS", "")
    two = {**jax, "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=2"}
    finish(
        start(made_camvid, tmp_path / "one", *SAME, **jax),
        start(made_camvid, tmp_path / "two", *SAME, **two),
    )
    assert_same_training(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_the_training_goes_on(made_camvid, tmp_path):
    """The other worker notices, starts anew by itself, and waits; both resume."""
    out, ports = tmp_path / "run", free_ports(2)
    settings = ["phases=8x32x32", "steps_per_epoch=2", "validation_freq=8"]

    def start_command(index):
        return start_worker(index, ports, "command", made_camvid, out, *settings)

    survivor, victim = start_command(0), start_command(1)
    while len(list(out.glob("checkpoints/step-*"))) < 2:
        assert survivor.poll() is None, survivor.stderr.read()
        time.sleep(0.1)
    victim.kill()
    victim.wait()
    returned = start_command(1)
    errors = [process.communicate()[1] for process in (survivor, returned)]
    assert survivor.returncode == 0, errors[0]
    assert returned.returncode == 0, errors[1]
    assert "another worker of this training has ended" in errors[0]
    assert [row["epoch"] for row in log_of(out)] == list(range(1, 9))
