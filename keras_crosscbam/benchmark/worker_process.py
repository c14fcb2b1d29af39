"""Runs a contender in a separate process, which is stopped between its turns.

Measured on two cores with ONNX Runtime and OpenVINO, compared with each network running alone:
threads of a runtime keep spinning for about 30 ms after its last call and take cores from the next
contender. In one process, and in several processes, the first call of a turn took 6..20 % longer
than the others. When idle processes were stopped it did not, and the ratios equaled those of the
networks running alone within the accuracy of the measurement (1 %). In one process OpenVINO was
2..3 % too slow. Separate processes also allow measuring the memory of each contender, and continue
if another one crashes.
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
"""Exceptions that are raised again in this process; others are raised as RuntimeError."""


class Worker:
    """A `Contender` in another process: the same methods, called over a pipe.

        >>> from keras_crosscbam.benchmark.contender import Task
        >>> from keras_crosscbam.benchmark.worker_process import Worker
        >>> worker = Worker("network.onnx", Task("street.jpg"))  # doctest: +SKIP
        >>> worker.load()["size"]  # doctest: +SKIP
        [512, 1024]

    The process starts immediately, so that several can import their libraries at the same time.

    Args:
        model: a path, or a specification such as `"openvino:network.onnx"`.
        task: a `Task`.

    Raises:
        ValueError, ImportError, RuntimeError: in its methods, the exception of the contender; a
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
        """Kills the process if it is running."""
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
        """Returns how the process ended, with the last lines of its stderr."""
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._log.seek(0)
        said = self._log.read().strip().splitlines()[-3:]
        return f"its process ended {how}" + (f" ({' / '.join(said)})" if said else "")


def serve():
    """Runs in the other process: calls the method in each input line and prints its result."""
    _end_with_parent()
    # Output of libraries goes to stderr, because stdout is used for the results.
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
        except Exception as error:  # raised again in the parent process
            failure = type(error).__name__, str(error)
        print(json.dumps([result, failure]), file=answers)


def _end_with_parent():
    """Requests a kill signal from Linux when the parent ends, because a stopped process stays."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
