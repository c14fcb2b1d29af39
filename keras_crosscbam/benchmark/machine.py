"""What a timing depends on besides the network: processor, clocks, other work, versions."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

# What may change the speed, and therefore stands in the report where it is set.
ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "LD_PRELOAD",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)

LIBRARIES = (
    "ai_edge_litert",
    "jax",
    "keras",
    "keras_crosscbam",
    "numpy",
    "onnxruntime",
    "openvino",
    "PIL",
    "tensorflow",
    "tensorrt",
    "torch",
)

GPU_FACTS = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm")
GPU_STATE = ("clocks.sm", "clocks.mem", "temperature.gpu", "utilization.gpu", "memory.used")


def machine():
    """What stays the same during a benchmark, as a dict that JSON can hold.

    >>> from keras_crosscbam.benchmark.machine import machine
    >>> sorted(machine())
    ['cores', 'cpu', 'environment', 'gpus', 'memory', 'python', 'system']

    `cores` counts the machine's logical processors, `memory` is in bytes, or None where the system
    does not say, `gpus` has a dict of nvidia-smi's answers for each card.
    """
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory": _kilobytes("/proc/meminfo", "MemTotal"),
        "gpus": _nvidia_smi(GPU_FACTS),
        "system": platform.platform(),
        "python": platform.python_version(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def state():
    """What may change during a benchmark, as a dict that JSON can hold.

    `load` is the load average of the last minute, `cpu_mhz` the slowest and the fastest clock of
    the processor's cores, `governor` what sets these clocks, `gpus` clocks in MHz, temperature,
    utilisation and memory by nvidia-smi; None or empty where the system does not say.
    """
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cpu_mhz": _clocks(),
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "gpus": _nvidia_smi(GPU_STATE),
    }


def busy_seconds():
    """Processor time that the whole machine has spent since its start, None where unknown.

    Time that a virtual machine's host spent on others is included.
    """
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    counts = stat.read_text().split(maxsplit=9)[1:9]
    user, nice, system, _, _, *interrupts_and_steal = map(int, counts)
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def memory(field):
    """Memory of this process in bytes: `"VmRSS"`, resident now, or `"VmHWM"`, at its peak.

    None where there is no /proc. `getrusage` would not do: what it calls the peak is inherited
    from the process that started this one.
    """
    return _kilobytes("/proc/self/status", field)


def reset_peak():
    """Lets `memory("VmHWM")` count from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def versions():
    """Version of each of the libraries that this process has imported, by name."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in LIBRARIES}
    return {name: version for name, version in found.items() if version}


class OtherWork:
    """How much other programs compute while one measures.

    >>> from keras_crosscbam.benchmark.machine import OtherWork
    >>> others = OtherWork()
    >>> others.cores(own_seconds=0.0) >= 0
    True
    """

    def __init__(self):
        self._started, self._busy = time.perf_counter(), busy_seconds()

    def cores(self, own_seconds):
        """Cores that others have kept busy since, on average; None where the system is silent.

        `own_seconds` is the processor time that was one's own.
        """
        if self._busy is None:
            return None
        spent = busy_seconds() - self._busy - own_seconds
        return max(spent / (time.perf_counter() - self._started), 0.0)


def _cpu_name():
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _clocks():
    clocks = [float(line.split(":")[1]) for line in _cpuinfo() if line.startswith("cpu MHz")]
    return [min(clocks), max(clocks)] if clocks else None


def _cpuinfo():
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.is_file() else []


def _kilobytes(path, field):
    """A field of one of Linux' files of "NAME: NUMBER kB", in bytes."""
    if not Path(path).is_file():
        return None
    fields = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return 1024 * int(fields[field].split()[0])


def _nvidia_smi(fields):
    """A dict for each card; an empty list without any."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode:
        return []
    rows = [line.split(", ") for line in answer.stdout.strip().splitlines()]
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]
