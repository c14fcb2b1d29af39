"""A contender in a process of its own, which stands still while it is not its turn.

Measured on two cores with ONNX Runtime and OpenVINO, beside each network running alone: threads of
one runtime go on spinning for some 30 ms after its last call and take cores from the next one. In
one process, and as well in several, the first call of a turn took 6..20 % longer than the others.
With idle processes stopped it did not, and the ratios came out as those of the networks alone, as
far as could be told (1 %); in one process OpenVINO came out 2..3 % too slow. Processes of their
own also tell the memory of each, and survive the crash of another.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict

from keras_crosscbam.benchmark.contender import Contender, Task

FAILURES = {kind.__name__: kind for kind in (ValueError, ImportError)}
"""What a failure becomes again on this side; anything else becomes a RuntimeError."""


class Worker:
    """The near end of a process that holds a `Contender`: the same methods, called over a pipe.

        >>> from keras_crosscbam.benchmark.contender import Task
        >>> from keras_crosscbam.benchmark.worker_process import Worker
        >>> worker = Worker("network.onnx", Task("street.jpg"))  # doctest: +SKIP
        >>> worker.load()["size"]  # doctest: +SKIP
        [512, 1024]

    The process starts at once, so that several can import their libraries at the same time.

    Args:
        model: a path, or a specification such as `"openvino:network.onnx"`.
        task: a `Task`.

    Raises:
        ValueError, ImportError, RuntimeError: by its methods, what the contender raised; a
            RuntimeError also if the process ends.
    """

    def __init__(self, model, task):
        self._model, self._task = os.fspath(model), task
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if task.threads is not None:
            environment["OMP_NUM_THREADS"] = str(task.threads)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )

    def load(self):
        return self._call("load", self._model, asdict(self._task))

    def warm_up(self, scope, turn_seconds):
        return self._call("warm_up", scope, turn_seconds)

    def turn(self, scope, calls):
        return self._call("turn", scope, calls)

    def protocol(self, name, limit):
        return self._call("protocol", name, limit)

    def usage(self):
        return self._call("usage")

    def close(self):
        """Ends the process, if it has not ended."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()

    def _call(self, method, *arguments):
        self._signal("SIGCONT")
        try:
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self._model}: {self._ending()}")
        self._signal("SIGSTOP")
        result, failure = json.loads(answer)
        if failure:
            kind, message = failure
            raise FAILURES.get(kind, RuntimeError)(message)
        return result

    def _signal(self, name):
        if hasattr(signal, name):  # Windows has no such signals, and no stopped processes
            self._process.send_signal(getattr(signal, name))

    def _ending(self):
        """How the process ended, with the last that it said."""
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._log.seek(0)
        said = self._log.read().strip().splitlines()[-3:]
        return f"its process ended {how}" + (f" ({' / '.join(said)})" if said else "")


def serve():
    """The far end: answers each line, a method and its arguments, with its result or failure."""
    _end_with_parent()
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    contender = None
    for line in sys.stdin:
        method, arguments = json.loads(line)
        result, failure = None, None
        try:
            if method == "load":
                model, task = arguments
                contender, arguments = Contender(model, Task(**task)), ()
            result = getattr(contender, method)(*arguments)
        except Exception as error:  # the near end raises it again
            failure = type(error).__name__, str(error)
        print(json.dumps([result, failure]), file=answers)


def _end_with_parent():
    """A stopped process would outlive the one that could wake it: Linux is asked to end it then."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
