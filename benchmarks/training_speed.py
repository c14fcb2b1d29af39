"""Compares the training speed of Cross-CBAM in Keras and in plain PyTorch on the CPU.

    $ python benchmarks/training_speed.py --size 256x320 --batch 8 --json speed.json

Each contender runs in a separate process and does the same training steps (forward, loss, backward,
AdamW) on the same batch in memory. Only one contender runs at a time, in rounds of shuffled order,
so a slowdown of the machine affects all of them equally. `benchmarks/README.md` explains the
figures.
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from contenders import CONTENDERS, random_batch

# Variables that may change the speed; the report lists those that are set.
ENVIRONMENT = (
    "LD_PRELOAD",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "OMP_WAIT_POLICY",
    "XLA_FLAGS",
)


def work(args):
    """Runs a contender's process: reads numbers of steps, and writes lines of JSON."""
    # Output of libraries goes to stderr, because stdout is used for the results.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = CONTENDERS[args.worker]
    batch = random_batch(args.size, args.batch)
    _, run, versions = contender.prepare(args.backbone, *batch)
    print(json.dumps({"versions": versions}), file=answers)
    for line in sys.stdin:
        # The first step is slower, because caches and possibly memory are lost between turns.
        run(1)
        started = time.perf_counter()
        loss = run(int(line))
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "loss": loss}), file=answers)


class WorkerError(RuntimeError):
    """Raised if a contender's process ends, or its loss is not finite."""


class Worker:
    """The process of a contender, controlled by the parent process.

    Args:
        name: one of `CONTENDERS`.
        args: the parsed arguments of the program.

    Raises:
        WorkerError: in its methods, if the process ends.
    """

    def __init__(self, name, args):
        self.name = name
        framework = CONTENDERS[name].framework
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow" if framework == "pytorch" else framework,
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
            "OMP_NUM_THREADS": str(args.threads),
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
        }
        size = "x".join(map(str, args.size))
        options = ["--size", size, "--batch", str(args.batch), "--backbone", args.backbone]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def wait_until_ready(self):
        """Waits until the network is built."""
        self.versions = self._answer()["versions"]

    def run(self, steps):
        """Runs a number of training steps and returns the seconds and the mean loss."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        if not math.isfinite(answer["loss"]):
            raise WorkerError(f"{self.name}: its loss is {answer['loss']}")
        return answer["seconds"], answer["loss"]

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.process.kill()
        self.process.wait()


def start(args):
    """Starts and warms up the contenders, one at a time.

    Returns:
        Two dicts by contender: the workers, and the errors of contenders that failed.
    """
    workers, failed = {}, {}
    for name in args.contenders:
        worker = Worker(name, args)
        try:
            worker.wait_until_ready()
            seconds, _ = worker.run(args.warmup)
        except WorkerError as error:
            worker.close()
            failed[name] = str(error)
            print(f"{error}; left out", file=sys.stderr)
        else:
            workers[name] = worker
            print(f"{name}: {args.warmup} steps of warm-up in {seconds:.1f} s", file=sys.stderr)
    return workers, failed


def measure(workers, rounds, steps):
    """Returns the seconds of each round and the last loss, two dicts by contender.

    Args:
        workers: a dict from name to `Worker`.
        rounds: number of turns of each contender.
        steps: number of training steps in a turn.
    """
    seconds, losses = {name: [] for name in workers}, {}
    shuffler = random.Random(0)
    for index in range(rounds):
        for name in shuffler.sample(list(workers), len(workers)):
            turn, losses[name] = workers[name].run(steps)
            seconds[name].append(turn)
        print(f"round {index + 1} of {rounds} done", file=sys.stderr)
    return seconds, losses


def choose_peer(seconds):
    """Returns the fastest plain PyTorch contender by the median, or the fastest of all."""
    candidates = [name for name in seconds if name.startswith("pytorch-")] or list(seconds)
    return min(candidates, key=lambda name: statistics.median(seconds[name]))


def summarize(seconds, images, peer):
    """Computes images per second, and the speed relative to a peer in the same rounds.

    Args:
        seconds: dict from contender to the list of the rounds' seconds.
        images: number of images in a round.
        peer: the contender to compare with.

    Returns:
        A dict by contender: `{"images_per_second": {"median", "min", "max"}, "ratio": {"median",
        "lower_quartile", "upper_quartile"}}`; a ratio above 1 means faster than the peer.
    """
    summary = {}
    for name, turns in seconds.items():
        rates = [images / turn for turn in turns]
        ratios = [other / turn for other, turn in zip(seconds[peer], turns, strict=True)]
        lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        summary[name] = {
            "images_per_second": {
                "median": statistics.median(rates),
                "min": min(rates),
                "max": max(rates),
            },
            "ratio": {"median": median, "lower_quartile": lower, "upper_quartile": upper},
        }
    return summary


def print_report(report):
    setting, machine, peer = report["setting"], report["machine"], report["peer"]
    print(f"\n{machine['cpu']}, {setting['threads']} threads; {machine['system']}")
    versions = {k: v for c in report["contenders"].values() for k, v in c["versions"].items()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    for name, value in machine["environment"].items():
        print(f"{name}={value}")
    print(
        f"Cross-CBAM on {setting['backbone']}, batch {setting['batch']} of {setting['size']}, "
        f"{setting['rounds']} rounds of {setting['steps']} steps\n"
    )
    print(f"{'contender':<40}{'images/s [min..max]':<26}times {peer} (quartiles)")
    ranked = sorted(
        report["contenders"].items(), key=lambda item: -item[1]["images_per_second"]["median"]
    )
    for name, result in ranked:
        rate, ratio = result["images_per_second"], result["ratio"]
        rates = f"{rate['median']:.2f} [{rate['min']:.2f}..{rate['max']:.2f}]"
        quartiles = f"({ratio['lower_quartile']:.3f}..{ratio['upper_quartile']:.3f})"
        print(f"{name:<40}{rates:<26}{ratio['median']:.3f} {quartiles}")
    for reason in report["failed"].values():
        print(f"left out: {reason}")


def cpu_name():
    """Returns the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="256x320", help="HEIGHTxWIDTH of the crops")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--backbone", choices=("stdc1", "stdc2"), default="stdc1")
    parser.add_argument("--rounds", type=int, default=7, help="at least 2")
    parser.add_argument("--steps", type=int, default=4, help="training steps in a round")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first round")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of every contender")
    parser.add_argument(
        "--contenders",
        help=f"comma-separated, of {', '.join(CONTENDERS)}; default: all but compiled PyTorch",
    )
    parser.add_argument("--peer", help="contender to compare with; default: the fastest PyTorch")
    parser.add_argument("--json", type=Path, help="file to write the report to")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.size = tuple(map(int, args.size.split("x")))
    if args.contenders is None:
        args.contenders = [name for name, c in CONTENDERS.items() if c.installed and c.default]
    else:
        args.contenders = args.contenders.split(",")
    if unknown := set(args.contenders) - set(CONTENDERS):
        parser.error(f"--contenders must be among {', '.join(CONTENDERS)}. Received: {unknown}")
    if args.peer not in (None, *args.contenders):
        parser.error(f"--peer must be one of the contenders. Received: {args.peer}")
    if args.rounds < 2:
        parser.error(f"--rounds must be at least 2. Received: {args.rounds}")
    return args


def cores():
    """Returns the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def main(argv=None):
    args = parse_arguments(argv)
    if args.worker:
        work(args)
        return 0
    if hasattr(os, "sched_setaffinity"):
        # The workers inherit the affinity, for thread pools without an environment variable.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    workers, failed = start(args)
    try:
        if not workers or args.peer in failed:
            raise SystemExit("No contender or peer can run. Choose other ones.")
        seconds, losses = measure(workers, args.rounds, args.steps)
    finally:
        for worker in workers.values():
            worker.close()
    peer = args.peer or choose_peer(seconds)
    summary = summarize(seconds, args.batch * args.steps, peer)
    report = {
        "setting": {
            "size": "x".join(map(str, args.size)),
            **{k: getattr(args, k) for k in ("batch", "backbone", "rounds", "steps", "threads")},
        },
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "system": f"{platform.platform()}, Python {platform.python_version()}",
            "environment": {k: os.environ[k] for k in ENVIRONMENT if k in os.environ},
        },
        "peer": peer,
        "failed": failed,
        "contenders": {
            name: {
                "versions": worker.versions,
                "loss": losses[name],
                "seconds": seconds[name],
                **summary[name],
            }
            for name, worker in workers.items()
        },
    }
    print_report(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
