"""How fast Cross-CBAM trains in Keras, beside the same network in plain PyTorch, on the CPU.

    $ python benchmarks/training_speed.py --size 256x320 --batch 8 --json speed.json

Every contender lives in a process of its own and takes the same full training steps (forward,
loss, backward, AdamW) on the same batch in memory. Only one works at a time, in rounds of shuffled
order, so that whatever else slows the machine down meets all of them alike. `benchmarks/README.md`
says how to read the figures.
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

# What may change the speed, and therefore stands in the report.
ENVIRONMENT = (
    "LD_PRELOAD",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "OMP_WAIT_POLICY",
    "XLA_FLAGS",
)


def work(args):
    """A contender's process: answers each line, a number of steps, with a line of JSON."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = CONTENDERS[args.worker]
    batch = random_batch(args.size, args.batch)
    _, run, versions = contender.prepare(args.backbone, *batch)
    print(json.dumps({"versions": versions}), file=answers)
    for line in sys.stdin:
        # What waited for its turn has lost caches, and perhaps memory to the system.
        run(1)
        started = time.perf_counter()
        loss = run(int(line))
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "loss": loss}), file=answers)


class WorkerError(RuntimeError):
    """A contender that ended, or whose loss became NaN."""


class Worker:
    """The parent's end of a contender's process.

    Args:
        name: one of `CONTENDERS`.
        args: the parsed arguments of the program.

    Raises:
        WorkerError: by its methods, if the process ends instead of answering.
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
        """Seconds and mean loss of so many training steps."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        if not math.isfinite(answer["loss"]):
            raise WorkerError(f"{self.name}: its loss became {answer['loss']}")
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
    """Starts and warms up one contender after the other.

    Returns:
        Two dicts by contender: the workers, and the reasons of those that failed.
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
    """Seconds of each round, and the last loss, by contender.

    Args:
        workers: a dict of `Worker`.
        rounds: how often each contender has its turn.
        steps: training steps a turn.
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
    """The plain PyTorch contender with the shortest median round, or the fastest of all."""
    candidates = [name for name in seconds if name.startswith("pytorch-")] or list(seconds)
    return min(candidates, key=lambda name: statistics.median(seconds[name]))


def summarize(seconds, images, peer):
    """Images per second, and the speed as a multiple of the peer's, round by round.

    Args:
        seconds: a list of the rounds' seconds by contender, in the same order of rounds.
        images: number of images a round.
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
    """The processor as the system names it."""
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
    parser.add_argument("--steps", type=int, default=4, help="training steps a round")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first round")
    parser.add_argument("--threads", type=int, default=cores(), help="for every contender")
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
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def main(argv=None):
    args = parse_arguments(argv)
    if args.worker:
        work(args)
        return 0
    if hasattr(os, "sched_setaffinity"):
        # The workers inherit this; it binds the thread pools that read no environment variable.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    workers, failed = start(args)
    try:
        if not workers or args.peer in failed:
            raise SystemExit("Nothing to compare with; choose other contenders or another peer.")
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
