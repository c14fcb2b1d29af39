"""Reads the conditions of a benchmark: processor, clocks, other work and library versions."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

# Variables that may change the speed; the report lists those that are set.
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
    """Returns the constant properties of the machine, as a dict of JSON values.

    >>> from keras_crosscbam.benchmark.machine import machine
    >>> sorted(machine())
    ['cores', 'cpu', 'environment', 'gpus', 'memory', 'python', 'system']

    `cores` is the number of logical processors, `memory` is in bytes or None if unknown, and `gpus`
    has a dict of nvidia-smi's output for each GPU.
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
    """Returns the properties of the machine that may change, as a dict of JSON values.

    `load` is the load average of the last minute, `cpu_mhz` the slowest and the fastest clock of
    the processor's cores, `governor` the name of the frequency governor, and `gpus` the clocks in
    MHz, temperature, utilization and memory from nvidia-smi. Unknown values are None or empty.
    """
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cpu_mhz": _clocks(),
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "gpus": _nvidia_smi(GPU_STATE),
    }


def busy_seconds():
    """Returns the processor time of all processes since the start of the machine, None if unknown.

    For a virtual machine it includes the time that the host used for other guests.
    """
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    counts = stat.read_text().split(maxsplit=9)[1:9]
    user, nice, system, _, _, *interrupts_and_steal = map(int, counts)
    return (user + nice + system + sum(interrupts_and_steal)) / os.sysconf("SC_CLK_TCK")


def memory(field):
    """Returns the memory of this process in bytes: current `"VmRSS"`, or peak `"VmHWM"`.

    It is None without /proc. `getrusage` is not used, because its peak is inherited from the parent
    process.
    """
    return _kilobytes("/proc/self/status", field)


def reset_peak():
    """Resets the peak of `memory("VmHWM")`, if the system supports it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def versions():
    """Returns a dict from library name to version, for libraries that are imported."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in LIBRARIES}
    return {name: version for name, version in found.items() if version}


class OtherWork:
    """Measures the processor use of other programs during a benchmark.

    >>> from keras_crosscbam.benchmark.machine import OtherWork
    >>> others = OtherWork()
    >>> others.cores(own_seconds=0.0) >= 0
    True
    """

    def __init__(self):
        self._started, self._busy = time.perf_counter(), busy_seconds()

    def cores(self, own_seconds):
        """Returns the average number of cores used by other programs, None if unknown.

        Args:
            own_seconds: processor time of the benchmark itself.
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
    """Returns a field of a Linux file of lines "NAME: NUMBER kB", in bytes."""
    if not Path(path).is_file():
        return None
    fields = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return 1024 * int(fields[field].split()[0])


def _nvidia_smi(fields):
    """Returns a list with a dict for each GPU."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode:
        return []
    rows = [line.split(", ") for line in answer.stdout.strip().splitlines()]
    return [dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)]
